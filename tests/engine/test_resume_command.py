"""``fireworks resume``: which run it goes on with, and when it refuses."""

from __future__ import annotations

import sqlite3

import pytest

from fireworks import Experiment, load_experiment
from fireworks.cli.resume import resume_run
from fireworks.errors import ExperimentInUse, ExperimentNotFound, WrongValue
from fireworks.record.layout import RESUME_VARIABLE


def stopped(root) -> Experiment:
    experiment = Experiment("run", root=root)
    experiment.log(loss=0.5, step=3)
    experiment.close("stopped")
    return experiment


def test_the_script_opens_the_run_once(tmp_path, monkeypatch):
    path = stopped(tmp_path).path
    monkeypatch.setenv(RESUME_VARIABLE, str(path))
    with Experiment("other", root=tmp_path) as other:
        assert other.id == "other-0001"
    with Experiment("run", root=tmp_path) as again:
        assert again.path == path
        assert load_experiment(path).status == "running"
        assert again.metrics("loss")["step"].tolist() == [3]
        again.log(loss=0.4, step=4)
    assert load_experiment(path).status == "completed"
    with Experiment("run", root=tmp_path) as new:
        assert new.id == "run-0002"


def test_a_run_that_somebody_owns_is_refused(tmp_path, monkeypatch):
    with Experiment("run", root=tmp_path) as experiment:
        with pytest.raises(ExperimentInUse, match="is running: process"):
            resume_run("run-0001", tmp_path)
        monkeypatch.setenv(RESUME_VARIABLE, str(experiment.path))
        with pytest.raises(ExperimentInUse, match="in use by process"):
            Experiment("run", root=tmp_path)


def test_what_cannot_be_gone_on_with(tmp_path):
    with pytest.raises(ExperimentNotFound, match="'run-0007'"):
        resume_run("run-0007", tmp_path)
    Experiment("run", root=tmp_path).close()
    with pytest.raises(WrongValue, match="is complete"):
        resume_run("run-0001", tmp_path)
    path = stopped(tmp_path).path
    connection = sqlite3.connect(path / "experiment.sqlite")
    connection.execute(
        "UPDATE metadata SET value = ? WHERE key = 'command'",
        ('["python", "train.py", "--token", "***"]',),
    )
    connection.commit()
    connection.close()
    with pytest.raises(WrongValue, match="secrets are left out"):
        resume_run("run-0002", tmp_path)
    with Experiment("sweep", root=tmp_path) as sweep:
        sweep.sweep.add_trial(0, seed=1, params={})
        sweep.close("stopped")
    with pytest.raises(WrongValue, match="--trials is for what `fireworks sweep` began"):
        resume_run("sweep-0001", tmp_path, trials=5)
    with pytest.raises(WrongValue, match="is no sweep"):
        resume_run("run-0002", tmp_path, force=True)
