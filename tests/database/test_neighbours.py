"""Processes that read and write one table at the same time."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from .neighbours import SCENARIOS

ROOT = Path(__file__).parents[2]


@pytest.mark.timeout(300)  # seconds, where nothing else keeps the machine busy
def test_processes_that_share_tables(database, tmp_path):
    """Each scenario holds; one process runs them all, for its start takes the longest."""
    url = database.render_as_string(hide_password=False)
    done = subprocess.run(
        [sys.executable, "-m", "tests.database.neighbours", url, str(tmp_path)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    report = json.loads(done.stdout.splitlines()[-1])
    assert report == dict.fromkeys([each.__name__ for each in SCENARIOS]), (
        "\n".join(filter(None, report.values())) + done.stderr[-3000:]
    )
