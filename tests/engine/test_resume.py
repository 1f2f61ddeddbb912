"""A run that was killed and goes on is, bit for bit, the run that was never disturbed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import make_url, text

from tests.servers import administrator

PROGRAM = Path(__file__).with_name("killed_training.py")


@pytest.mark.slow
@pytest.mark.timeout(300)  # a minute where the cores are busy
def test_killed_at_random_steps_and_resumed_equals_undisturbed(tmp_path, postgresql):
    """39 runs, three of each kind: weights, optimizer, average, metrics and order of rows."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(PROGRAM), str(tmp_path), "3", "2", postgresql.url],
        capture_output=True,
        text=True,
    )
    with administrator(make_url(postgresql.url)) as connection:
        connection.execute(text("DROP TABLE killed_training"))
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert len(report) == 39
    assert [line for line in report if not line.endswith(": equal")] == []
