"""A run that was killed and goes on is, bit for bit, the run that was never disturbed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).with_name("killed_training.py")


@pytest.mark.slow
@pytest.mark.timeout(300)  # a minute where the cores are busy
def test_killed_at_random_steps_and_resumed_equals_undisturbed(tmp_path):
    """33 runs, three of each kind: weights, optimizer, average, metrics and order of rows."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(PROGRAM), str(tmp_path), "3", "2"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert len(report) == 33
    assert [line for line in report if not line.endswith(": equal")] == []
