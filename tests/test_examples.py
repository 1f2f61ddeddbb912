"""The examples run, and do what they say."""

from __future__ import annotations

import re
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from fireworks import load_experiment

EXAMPLES = Path(__file__).parents[1] / "examples"


def test_digits_from_the_database_to_the_table_of_trials(tmp_path):
    shutil.copy(EXAMPLES / "digits.py", tmp_path)
    done = subprocess.run(
        [sys.executable, "digits.py"], cwd=tmp_path, capture_output=True, text=True, timeout=100
    )
    assert done.returncode == 0, done.stderr
    assert "Wrote 1797 digits to runs/digits.sqlite" in done.stdout
    assert float(re.search(r"Best accuracy .*: ([\d.]+)", done.stdout)[1]) >= 0.96
    assert "Everything it produced is in runs/digits-0001" in done.stdout
    assert done.stdout.count("fireworks ") >= 3

    folder = tmp_path / "runs" / "digits-0001"
    experiment = load_experiment(folder)
    assert experiment.trials["state"].tolist() == ["completed"] * 12
    metrics = experiment.metrics()
    epochs = metrics[metrics["name"] == "valid/accuracy"].groupby("trial").size()
    assert epochs.tolist() == [12] * 12
    norms = metrics[metrics["name"] == "weights/norm"].groupby("trial").size()
    assert norms.tolist() == [12] * 12
    with closing(sqlite3.connect(folder / "experiment.sqlite")) as database:
        (rows,) = database.execute(
            "SELECT count(*) FROM metric WHERE name = 'valid/accuracy'"
        ).fetchone()
    assert rows == 144
    for trial in range(12):
        events = EventAccumulator(str(folder / "tensorboard" / f"trial-{trial:04}")).Reload()
        assert len(events.Scalars("valid/accuracy")) == 12
