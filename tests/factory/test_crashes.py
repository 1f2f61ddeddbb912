"""A sweep whose process is killed, by SIGKILL, at every point there is, and goes on exactly."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

# Of proposers; each group in one process, which has imported all that they need once.
GROUPS = (
    ("tpe", "random"),
    ("nsga-ii", "cma-es"),
    ("qmc", "halving"),
    ("gp", "blackboard"),
    ("optuna's grid", "grid", "own random"),
)


def crash(folder: Path, *arguments: str) -> list[dict[str, Any]]:
    # A process of its own: it forks, and what pytest has running must not be forked.
    program = Path(__file__).with_name("crashing.py")
    done = subprocess.run(
        [sys.executable, str(program), str(folder), *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("kinds", GROUPS, ids=", ".join)
def test_a_crash_between_any_two_transactions_changes_nothing(
    kinds: tuple[str, ...], tmp_path: Path
) -> None:
    found = crash(tmp_path, *kinds)
    assert [each["kind"] for each in found] == list(kinds)
    for each in found:
        assert each["differences"] == [], each["kind"]
        assert each["kills"] > 30


@pytest.mark.slow
def test_thirty_crashes_at_random_moments_change_nothing(tmp_path: Path) -> None:
    (found,) = crash(tmp_path, "--often", "30")
    assert found["differences"] == []
    assert found["left"] < 60, "nothing was done between the crashes"


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_crashes_of_a_sweep_with_processes_leave_none_of_them(tmp_path: Path) -> None:
    (found,) = crash(tmp_path, "--processes", "5")
    assert found["differences"] == []
    assert max(found["running"]) > 1, "there was no trial when it was killed"
