"""Readers and writers that are killed at random moments and go on, each row once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
READERS = {"pages": 17, "cursor": 17, "shuffled": 17}
WRITERS = {"writer": 25, "writer of transactions": 25}
"""How often each pipeline is killed, on each of three databases: fifty readers, fifty writers."""


@pytest.mark.slow
@pytest.mark.timeout(400)  # seconds, where nothing else keeps the machine busy
def test_no_row_is_lost_or_doubled_by_kill_9(database, tmp_path):
    url = database.render_as_string(hide_password=False)
    kills = READERS | WRITERS
    program = [sys.executable, "-m", "tests.database.killed_pipelines"]
    done = subprocess.run(
        [*program, url, str(tmp_path), json.dumps(kills), "1"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=380,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    for name, report in json.loads(done.stdout.splitlines()[-1]).items():
        assert report["problems"] == [], done.stderr[-3000:]
        assert report["killed"] >= kills[name]
