"""``fireworks.toml``: what it says, and what it is told where it makes no sense."""

from __future__ import annotations

from pathlib import Path

import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from fireworks.errors import FilesNotFound, WrongType, WrongValue
from fireworks.factory import Halving
from fireworks.factory.config import SweepConfig, read_config

WHOLE = """
[sweep]
source = "digits.py"
trials = 50
name = "tuned"
root = "elsewhere"
maximize = ["accuracy"]
minimize = "latency"
constraints = ["size <= 3"]
workers = 4
time_limit = 60
sampler = "tpe"

[space]
lr = { low = 1e-4, high = 0.1, log = true }
hidden = { low = 16, high = 256, step = 16 }
optimizer = ["sgd", "adam"]

[halving]
max_epochs = 27
"""


def test_a_whole_file(tmp_path: Path) -> None:
    (tmp_path / "fireworks.toml").write_text(WHOLE)
    config = read_config(tmp_path / "fireworks.toml")
    assert config == SweepConfig(
        WHOLE,
        source="digits.py",
        trials=50,
        name="tuned",
        root="elsewhere",
        options={
            "maximize": ["accuracy"],
            "minimize": "latency",
            "constraints": ["size <= 3"],
            "workers": 4,
            "time_limit": 60,
            "sampler": "tpe",
            "scheduler": Halving(max_epochs=27),
        },
        space={
            "lr": FloatDistribution(1e-4, 0.1, log=True),
            "hidden": IntDistribution(16, 256, step=16),
            "optimizer": CategoricalDistribution(["sgd", "adam"]),
        },
    )


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("[sweep", WrongValue, "is no TOML: Expected"),
        ("[swep]", WrongValue, r"no \[swep\].*Did you mean 'sweep'"),
        ("sweep = 3", WrongType, r"must be a table: \[sweep\]"),
        ("[sweep]\ntrails = 3", WrongValue, "no key 'trails'.*Did you mean 'trials'"),
        ("[sweep]\ntrials = '3'", WrongType, "trials must be a whole number, not '3'"),
        ("[sweep]\ntrials = true", WrongType, "trials must be a whole number"),
        ("[sweep]\nmaximize = 3", WrongType, "maximize must be a string or a list of strings"),
        ("[sweep]\ntime_limit = 'long'", WrongType, "time_limit must be a number"),
        ("[halving]\nepochs = 3", WrongValue, "no key 'epochs'"),
        ("[halving]\nfactor = 1", WrongValue, "factor of at least 2"),
        ("[space]\nlr = 3", WrongType, r"\[space\] lr must be a list of choices, or a range"),
        ("[space]\nlr = []", WrongValue, "lr has no choices"),
        ("[space]\nlr = { low = 1 }", WrongValue, "lr has no 'high'"),
        ("[space]\nlr = { lo = 1, high = 2 }", WrongValue, "Did you mean 'low'"),
        ("[space]\nlr = { low = 3, high = 2 }", WrongValue, r"\[space\] lr: .*low"),
        ("[space]\nlr = { low = 'a', high = 2 }", WrongType, "low must be a number"),
    ],
)
def test_mistakes_are_named(
    tmp_path: Path, text: str, error: type[Exception], message: str
) -> None:
    (tmp_path / "fireworks.toml").write_text(text)
    with pytest.raises(error, match=message):
        read_config(tmp_path / "fireworks.toml")


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FilesNotFound, match="no file"):
        read_config(tmp_path / "fireworks.toml")
