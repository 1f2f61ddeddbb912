"""Two processes that train together are one that trains on the same batches."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from fireworks import load_experiment, resume
from fireworks.engine import PREEMPTED, read_state, trainer_parts
from fireworks.errors import StateMismatch

PROGRAM = Path(__file__).with_name("parallel_training.py")

sys.path.insert(0, str(PROGRAM.parent))
try:
    from parallel_training import build  # pyright: ignore[reportMissingImports]
finally:
    sys.path.pop(0)


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """A folder with a run that was not disturbed, and one that was stopped and gone on with."""
    root = tmp_path_factory.mktemp("parallel")
    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(PROGRAM), str(root)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "whole": [0, 0],
        "stopped": [PREEMPTED, PREEMPTED],
        "resumed": [0, 0],
    }, done.stderr
    return root


def weights(folder: Path) -> list[dict[str, torch.Tensor]]:
    return [torch.load(folder / f"rank-{rank}.pt") for rank in range(2)]


def test_two_processes_equal_one(trained):
    alone, batches = build(0, 1)
    alone.run(batches, max_epochs=3)
    ranks = weights(trained / "whole")
    for name, value in trainer_parts(alone)["model"].state_dict().items():
        assert torch.equal(ranks[0][name], ranks[1][name])
        torch.testing.assert_close(ranks[0][name], value)


def test_sigterm_to_one_of_them_stops_both_after_the_same_iteration(trained):
    stopped = [json.loads(each.read_bytes()) for each in (trained / "stopped").glob("step-*.json")]
    assert 4 <= max(each["iteration"] for each in stopped) < 18


def test_what_was_stopped_and_gone_on_with_equals_the_undisturbed(trained):
    for whole, stopped in zip(
        weights(trained / "whole"), weights(trained / "stopped"), strict=True
    ):
        assert all(torch.equal(value, stopped[name]) for name, value in whole.items())
    whole, stopped = (
        load_experiment(trained / name / "run-0001").metrics("train/loss")
        for name in ("whole", "stopped")
    )
    assert stopped["step"].tolist() == list(range(1, 19))
    assert stopped["value"].tolist() == whole["value"].tolist()


def test_one_process_cannot_go_on_from_two(trained):
    run = trained / "whole" / "run-0001"
    assert len(read_state(run / "checkpoints" / "step-0000015.pt")["random"]) == 2
    single, _ = build(0, 1)
    with (
        load_experiment(run, write=True) as experiment,
        pytest.raises(StateMismatch, match="of 2 processes; these are 1"),
    ):
        resume(single, experiment)
