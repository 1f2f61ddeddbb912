"""The examples run, and do what they say."""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from fireworks import load_experiment
from tests.database.conftest import database  # noqa: F401

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
    with closing(sqlite3.connect(folder / "experiment.sqlite")) as connection:
        (rows,) = connection.execute(
            "SELECT count(*) FROM metric WHERE name = 'valid/accuracy'"
        ).fetchone()
    assert rows == 144
    for trial in range(12):
        events = EventAccumulator(str(folder / "tensorboard" / f"trial-{trial:04}")).Reload()
        assert len(events.Scalars("valid/accuracy")) == 12


def run_text_from_database(folder: Path, url: sa.URL, *options: str) -> str:
    command = [sys.executable, EXAMPLES / "text_from_database.py", "--url"]
    done = subprocess.run(
        [*command, url.render_as_string(hide_password=False), *options],
        cwd=folder,
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.timeout(300)
def test_text_from_any_database_and_guesses_back_into_it(database, tmp_path):  # noqa: F811
    options = ["--most", "20", "--epochs", "1"]
    printed = run_text_from_database(tmp_path, database, *options)
    assert "Wrote 280 texts of 14 kinds" in printed
    assert "Wrote 56 guesses" in printed
    if database.get_backend_name() == "sqlite":
        printed = run_text_from_database(tmp_path, database, *options)
        assert "Wrote 280 texts" not in printed  # they are there already
    engine = sa.create_engine(database, poolclass=sa.NullPool)
    with engine.connect() as connection:
        assert connection.scalar(sa.text("SELECT count(*) FROM guesses")) == 56
        unknown = sa.text("SELECT count(*) FROM guesses WHERE id NOT IN (SELECT id FROM texts)")
        assert connection.scalar(unknown) == 0


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_text_from_database_beats_what_is_easy_to_beat(tmp_path):
    printed = run_text_from_database(tmp_path, sa.make_url(f"sqlite:///{tmp_path}/names.sqlite"))
    accuracies = [float(each) for each in re.findall(r": ([\d.]+)$", printed, re.M)]
    majority, bag, lstm = accuracies
    assert majority < bag < lstm
