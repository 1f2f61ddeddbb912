"""Readers and writers that are killed at random moments and go on, each row once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
KILLS = 10
"""Of each of five pipelines, on each of three databases."""


@pytest.mark.slow
@pytest.mark.timeout(400)  # a few seconds, where nothing else keeps the machine busy
def test_no_row_is_lost_or_doubled_by_kill_9(database, tmp_path):
    url = database.render_as_string(hide_password=False)
    program = [sys.executable, "-m", "tests.database.killed_pipelines"]
    done = subprocess.run(
        [*program, url, str(tmp_path), str(KILLS), "1"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=380,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    report = json.loads(done.stdout.splitlines()[-1])
    assert report["problems"] == [], done.stderr[-3000:]
    assert all(count >= KILLS for count in report["killed"].values()), report
