"""A sweep whose process is killed, by SIGKILL, at every point there is, and goes on exactly."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

KINDS = (
    "tpe",
    "random",
    "nsga-ii",
    "cma-es",
    "qmc",
    "gp",
    "optuna's grid",
    "grid",
    "own random",
    "blackboard",
    "halving",
)


def crash(folder: Path, *arguments: str) -> dict[str, Any]:
    # A process of its own: it forks, and what pytest has running must not be forked.
    program = Path(__file__).with_name("crashing.py")
    done = subprocess.run(
        [sys.executable, str(program), str(folder), *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_crash_between_any_two_transactions_changes_nothing(kind: str, tmp_path: Path) -> None:
    found = crash(tmp_path, kind)
    assert found["differences"] == []
    assert found["kills"] > 30


@pytest.mark.slow
def test_thirty_crashes_at_random_moments_change_nothing(tmp_path: Path) -> None:
    found = crash(tmp_path, "--often", "30")
    assert found["differences"] == []
    assert found["left"] < 60, "nothing was done between the crashes"


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_crashes_of_a_sweep_with_processes_leave_none_of_them(tmp_path: Path) -> None:
    found = crash(tmp_path, "--processes", "5")
    assert found["differences"] == []
    assert max(found["running"]) > 1, "there was no trial when it was killed"
