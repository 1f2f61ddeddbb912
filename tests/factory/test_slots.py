"""Where trials run: how many at once, and on which GPUs."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest
import torch

from fireworks.errors import SweepFailed, WrongType, WrongValue
from fireworks.factory import Factory, Trial
from fireworks.factory.slots import Slots, visible_gpus

Make = Callable[..., Factory]


def taken(slots: Slots, count: int) -> list[Any]:
    return [slots.take() for _ in range(count)]


@pytest.mark.parametrize(
    ("workers", "share", "devices", "places"),
    [
        (2, None, [], [None, None]),
        (2, 0, ["0"], [[], []]),
        (2, 1, ["0", "1", "2"], [["0"], ["1"]]),
        (4, 0.5, ["a", "b"], [["a"], ["b"], ["a"], ["b"]]),
        (3, 0.3, ["0"], [["0"]] * 3),
        (10, 0.1, ["0"], [["0"]] * 10),
        (2, 2, ["0", "1", "2", "3"], [["0", "1"], ["2", "3"]]),
    ],
)
def test_places(workers: int, share: float, devices: list[str], places: list[Any]) -> None:
    slots = Slots(workers, share, devices)
    assert taken(slots, workers) == places
    for place in reversed(places):
        slots.give_back(place)
    assert taken(slots, workers) == places


@pytest.mark.parametrize(
    ("workers", "share", "devices", "message"),
    [
        (2, 1, [], r"workers=2 with gpus_per_trial=1 need 2 GPUs; there is none. Leave"),
        (2, 1, ["0"], r"need 2 GPUs; there is one. Use workers=1, or a smaller gpus_per_trial"),
        (5, 0.5, ["0", "1"], r"need 3 GPUs; there are 2. Use workers=4"),
        (2, 2, ["0", "1", "2"], r"need 4 GPUs; there are 3. Use workers=1"),
        (1, 4, ["0", "1"], r"need 4 GPUs; there are 2. Leave"),
        (1, -1, ["0"], "must be 0, a fraction"),
        (1, 1.5, ["0"], "must be 0, a fraction"),
        (1, float("nan"), ["0"], "must be 0, a fraction"),
        (1, float("inf"), ["0"], "must be 0, a fraction"),
        (1, "all", ["0"], "must be a number of GPUs, not 'all'"),
        (1, True, ["0"], "must be a number of GPUs, not True"),
    ],
)
def test_gpus_that_are_not_there(
    workers: int, share: Any, devices: list[str], message: str
) -> None:
    with pytest.raises((WrongType, WrongValue), match=message):
        Slots(workers, share, devices)


def test_the_gpus_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    count = torch.cuda.device_count()
    assert len(visible_gpus()) == count
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert visible_gpus() == []
    assert not torch.cuda.is_initialized()


def test_a_factory_refuses_what_is_not_there_at_once(make: Make) -> None:
    more = torch.cuda.device_count() + 1
    with pytest.raises(WrongValue, match="GPUs; there"):
        make(lambda trial: {"accuracy": 1}, workers=more, gpus_per_trial=1)
    with pytest.raises(WrongValue, match="workers must be at least 1"):
        make(lambda trial: {"accuracy": 1}, workers=0)
    with pytest.raises(WrongValue, match="no isolation 'wram'. Did you mean 'warm'"):
        make(lambda trial: {"accuracy": 1}, isolation="wram")


def test_trials_without_gpus_see_none(make: Make) -> None:
    def train(trial: Trial) -> dict[str, float]:
        import torch

        assert os.environ["CUDA_VISIBLE_DEVICES"] == ""
        return {"accuracy": torch.cuda.device_count()}

    factory = make(train, gpus_per_trial=0)
    factory.run(trials=3)
    assert factory.trials["accuracy"].tolist() == [0, 0, 0]


@pytest.mark.parametrize("isolation", ["fork-server", "spawn"])
def test_other_systems(make: Make, isolation: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "win32")
    with pytest.raises(SweepFailed, match=r"Windows. Run it inside WSL 2"):
        make(lambda trial: {"accuracy": 1}, isolation=isolation)
    monkeypatch.setattr("sys.platform", "darwin")
    if isolation == "fork-server":
        with pytest.raises(SweepFailed, match="needs Linux.*Use isolation='spawn'"):
            make(lambda trial: {"accuracy": 1}, isolation=isolation)
    else:
        make(lambda trial: {"accuracy": 1}, isolation=isolation)
        make(lambda trial: {"accuracy": 1})


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_two_trials_share_a_gpu(make: Make) -> None:
    def train(trial: Trial) -> dict[str, float]:
        import torch

        value = torch.ones(3, device="cuda").sum().item()
        return {"accuracy": value, "seen": torch.cuda.device_count()}

    factory = make(train, gpus_per_trial=0.5, workers=2)
    factory.run(trials=4)
    assert factory.trials["accuracy"].tolist() == [3.0] * 4
    assert set(factory.trials["seen"]) == {1}
