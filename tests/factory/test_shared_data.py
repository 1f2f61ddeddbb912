"""Data that is written once and mapped by every trial."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fireworks import Message
from fireworks.errors import WrongType
from fireworks.factory import Factory, Trial

Make = Callable[..., Factory]
ROWS = 100_000


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def large() -> Message:
    x = torch.arange(ROWS * 100, dtype=torch.float32).reshape(ROWS, 100)  # 40 MB
    return Message({"x": x, "name": np.array(["a", "b"] * (ROWS // 2))})


@pytest.mark.parametrize("memory_limit", [None, 30_000_000])
def test_trials_share_what_they_do_not_load(make: Make, memory_limit: int | None) -> None:
    def train(trial: Trial) -> dict[str, float]:
        from fireworks.factory.linux import anonymous_memory

        before = anonymous_memory(os.getpid())
        x = trial.data["x"]
        found = float(x[7, 3]), float(x[:, 0].sum())
        x[7] = -1.0  # seen by this trial alone
        assert float(x[7, 3]) == -1.0 and trial.data["name"][1] == "b"
        taken = anonymous_memory(os.getpid()) - before
        return {"accuracy": found[0], "sum": found[1], "taken": taken}

    data = large()
    factory = make(train, data=data, memory_limit=memory_limit)
    factory.run(trials=4)
    assert factory.trials["accuracy"].tolist() == [703.0] * 4
    expected = [float(data["x"][:, 0].sum())] * 4
    assert factory.trials["sum"].tolist() == pytest.approx(expected)
    assert all(each < 10e6 for each in factory.trials["taken"])  # of 40 MB
    assert float(data["x"][7, 3]) == 703.0
    assert not list(factory.experiment.path.glob(".shared*"))
    factory.run(trials=5)
    assert len(factory.records) == 5


def test_several_by_name_and_none(make: Make) -> None:
    def train(trial: Trial) -> dict[str, float]:
        return {"accuracy": len(trial.data["train"]) + len(trial.data["valid"])}

    parts = {"train": Message({"x": [1, 2, 3]}), "valid": Message({"x": [4]})}
    factory = make(train, data=parts)
    factory.run(trials=1)
    assert factory.trials["accuracy"].tolist() == [4.0]

    def needs(trial: Trial) -> dict[str, float]:
        return {"accuracy": 1.0} if trial.number else {"accuracy": len(trial.data)}

    factory = make(needs, experiment="without")
    factory.run(trials=2)
    assert "the sweep has no data" in str(factory.records[0].reason)


@pytest.mark.parametrize("data", [[1, 2], {"train": [1]}, "data.arrow"])
def test_what_is_no_message_is_refused(make: Make, data: Any) -> None:
    with pytest.raises(WrongType, match="data must be a Message or a dict of Messages"):
        make(lambda trial: {"accuracy": 1}, data=data)
