"""The record of a sweep, and what an attempt may and may not write."""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fireworks.errors import ExperimentInUse, ExperimentReadOnly, WrongType, WrongValue
from fireworks.experiment import Experiment, SweepRecord, load_experiment, open_attempt
from fireworks.record.index import read_index


@pytest.fixture
def sweep(experiment: Experiment) -> SweepRecord:
    experiment.sweep.set_objective([("accuracy", "maximize")])
    for number in range(3):
        experiment.sweep.add_trial(number, seed=100 + number, params={"lr": 0.1 * number})
    return experiment.sweep


def test_a_sweep_from_its_first_to_its_last_row(experiment: Experiment, sweep: SweepRecord) -> None:
    attempt = sweep.start_attempt(1, host="here")
    sweep.set_process(1, attempt, 4321)
    sweep.report(1, attempt, 1, 0.5)
    sweep.report(1, attempt, 2, math.nan)
    sweep.event("decided", trial=1, attempt=attempt, data={"keep": True})
    sweep.event("started")
    sweep.finish_attempt(
        1, attempt, state="completed", result={"accuracy": 0.9}, exit_code=0, peak_memory=2**30
    )
    frame = experiment.trials
    assert frame["trial"].tolist() == [0, 1, 2]
    assert frame["state"].tolist() == ["queued", "completed", "queued"]
    row = frame.iloc[1]
    assert (row["attempt"], row["seed"], row["pid"]) == (1, 101, 4321)
    assert (row["host"], row["exit_code"], row["peak_memory"]) == ("here", 0, 2**30)
    assert (row["params.lr"], row["result.accuracy"]) == (0.1, 0.9)
    assert row["ended"] >= row["started"]
    assert experiment.sql("SELECT step, value FROM reports")["value"].isna().tolist() == [
        False,
        True,
    ]
    events = (
        experiment.sql("SELECT kind, trial, attempt, data FROM events").fillna("").values.tolist()
    )
    assert events == [["decided", 1, 1, '{"keep":true}'], ["started", -1, 0, ""]]


def test_the_index_follows_the_sweep(experiment: Experiment, sweep: SweepRecord) -> None:
    for trial, accuracy in [(0, 0.8), (1, 0.95), (2, math.nan)]:
        attempt = sweep.start_attempt(trial, host="here")
        sweep.finish_attempt(trial, attempt, state="completed", result={"accuracy": accuracy})
    sweep.write_index()  # by itself it is at most half a second behind
    index = read_index(experiment.path)
    assert index.trials == {"completed": 3}
    assert index.objective == [["accuracy", "maximize"]]
    assert index.best == {"trial": 1, "params": {"lr": 0.1}, "result": {"accuracy": 0.95}}


def test_an_attempt_logs_to_its_trial(experiment: Experiment, sweep: SweepRecord) -> None:
    attempt = sweep.start_attempt(2, host="here")
    with open_attempt(experiment.path, 2, attempt) as trial:
        assert (trial.trial, trial.attempt, trial.id) == (2, 1, experiment.id)
        assert trial.params == {"lr": 0.2}
        assert trial.tensorboard == experiment.path / "tensorboard" / "trial-0002"
        assert trial.tensorboard.is_dir()
        assert len(trial.metrics()) == len(trial.metrics(wide=True)) == 0
        trial.log(loss=0.5, step=3)
        assert trial.metrics()["value"].tolist() == [0.5]
        experiment.log(loss=0.1, step=3)
        assert trial.metrics()["value"].tolist() == [0.5]
        with trial.file("note.txt", "w") as stream:
            stream.write("of trial 2")
        assert trial.file("note.txt") == experiment.path / "files/trial-0002/note.txt"
    assert experiment.status == "running"
    rows = experiment.sql("SELECT trial, value FROM metric ORDER BY trial").values.tolist()
    assert rows == [[-1, 0.1], [2, 0.5]]
    assert experiment.sql("SELECT attempt FROM metrics ORDER BY attempt")["attempt"].tolist() == [
        0,
        1,
    ]
    for asked in (2, np.int64(2), [2], range(2, 3)):
        assert experiment.metrics(trials=asked)["trial"].tolist() == [2]  # pyright: ignore
    assert experiment.metrics(trials=[-1, 2])["trial"].tolist() == [-1, 2]
    assert len(experiment.metrics(trials=0)) == 0  # it has logged nothing yet


def finish(sweep: SweepRecord, attempt: int) -> None:
    sweep.finish_attempt(0, attempt, state="stopped", reason="time limit")


def next_attempt(sweep: SweepRecord, attempt: int) -> None:
    sweep.requeue(0)
    sweep.start_attempt(0, host="here")


@pytest.mark.parametrize(
    ("end", "message"),
    [
        (finish, "trial 0 is stopped"),
        (lambda sweep, attempt: sweep.requeue(0), "trial 0 is queued"),
        (next_attempt, "its current attempt is 2"),
    ],
)
def test_an_attempt_that_is_over_is_refused_for_good(
    experiment: Experiment,
    sweep: SweepRecord,
    end: Callable[[SweepRecord, int], None],
    message: str,
    tmp_path: Path,
) -> None:
    attempt = sweep.start_attempt(0, host="here")
    trial = open_attempt(experiment.path, 0, attempt)
    trial.log(loss=0.5, step=0)
    trial.flush()
    end(sweep, attempt)
    (tmp_path / "weights").write_text("x")
    trial.log(loss=0.25, step=1)
    with pytest.raises(ExperimentInUse, match=message):
        trial.flush()
    for refused in (
        lambda: trial.log(loss=0.1, step=2),
        lambda: trial.log(loss=0.1, step=2),
        lambda: trial.flush(),
        lambda: trial.log_many({"step": [3], "loss": [1.0]}),
        lambda: trial.notes.append("late"),
        lambda: trial.file("late.txt", "w"),
        lambda: trial.artifact(tmp_path / "weights"),
        lambda: trial.close(),
    ):
        with pytest.raises(ExperimentInUse, match=message):
            refused()
    with pytest.raises(ExperimentInUse, match=message):
        open_attempt(experiment.path, 0, attempt)
    assert 0.25 not in experiment.metrics()["value"].tolist()
    assert len(experiment.notes) == 0


def test_a_refused_attempt_says_so_in_the_next_log(
    experiment: Experiment, sweep: SweepRecord
) -> None:
    attempt = sweep.start_attempt(0, host="here")
    trial = open_attempt(experiment.path, 0, attempt)
    sweep.finish_attempt(0, attempt, state="failed")
    with pytest.raises(ExperimentInUse, match="may not write"):
        for step in range(10_000_000):  # the background writer is refused within 100 ms
            trial.log(loss=0.5, step=step)
    with pytest.raises(ExperimentInUse):
        trial.close()


@pytest.mark.parametrize(("trial", "attempt"), [(0, 1), (0, 0), (99, 1)])
def test_an_attempt_that_never_began_is_refused(
    experiment: Experiment, sweep: SweepRecord, trial: int, attempt: int
) -> None:
    with pytest.raises(ExperimentInUse, match=f"Attempt {attempt} at trial {trial} may not write"):
        open_attempt(experiment.path, trial, attempt)


def test_a_new_attempt_leaves_no_rows_of_the_old_one(
    experiment: Experiment, sweep: SweepRecord, tmp_path: Path
) -> None:
    (tmp_path / "weights").write_text("x")
    for trial in (0, 1):
        attempt = sweep.start_attempt(trial, host="here")
        sweep.report(trial, attempt, 1, 0.5)
        with open_attempt(experiment.path, trial, attempt) as writer:
            writer.log(loss=0.5, step=9)
            writer.artifact(tmp_path / "weights")
    sweep.requeue(0)
    second = sweep.start_attempt(0, host="here")
    assert second == 2
    for table in ("metrics", "latest", "reports", "artifacts"):
        assert len(experiment.sql(f"SELECT * FROM {table}")) == 1, table
    with open_attempt(experiment.path, 0, second) as writer:
        writer.log(loss=0.25, step=1)
    latest = experiment.sql("SELECT step, value FROM latest ORDER BY step").values.tolist()
    assert latest == [[1, 0.25], [9, 0.5]]
    states = experiment.sql("SELECT number, state, reason FROM attempts WHERE trial = 0")
    assert states["state"].tolist() == ["failed", "running"]


def test_what_an_attempt_may_not_do(experiment: Experiment, sweep: SweepRecord) -> None:
    attempt = sweep.start_attempt(0, host="here")
    with open_attempt(experiment.path, 0, attempt) as trial:
        with pytest.raises(ExperimentReadOnly, match="Only the process that owns"):
            trial.params["lr"] = 1
        with pytest.raises(ExperimentReadOnly, match="Only the process that owns"):
            trial.tags = ["x"]
        with pytest.raises(ExperimentReadOnly, match="Only the process that owns"):
            trial.sweep  # noqa: B018
    sweep.finish_attempt(0, attempt, state="completed")
    assert trial.params == {"lr": 0.0}


def test_mistakes_of_the_parent_are_refused(experiment: Experiment, sweep: SweepRecord) -> None:
    with pytest.raises(WrongValue, match="There is a trial 0 already"):
        sweep.add_trial(0, seed=1, params={})
    with pytest.raises(WrongType, match="The parameter 'f' must be JSON"):
        sweep.add_trial(7, seed=1, params={"f": print})
    with pytest.raises(WrongValue, match="There is no trial 9"):
        sweep.start_attempt(9, host="here")
    attempt = sweep.start_attempt(0, host="here")
    with pytest.raises(WrongValue, match="Trial 0 is running"):
        sweep.start_attempt(0, host="here")
    with pytest.raises(WrongValue, match="cannot end as 'done'"):
        sweep.finish_attempt(0, attempt, state="done")
    with pytest.raises(ExperimentInUse):
        sweep.report(0, attempt + 1, 1, 0.5)
    sweep.finish_attempt(0, attempt, state="completed")
    with pytest.raises(ExperimentInUse, match="trial 0 is completed"):
        sweep.finish_attempt(0, attempt, state="failed")
    with pytest.raises(WrongValue, match="'maximize' or 'minimize'"):
        sweep.set_objective([("accuracy", "up")])
    assert [each["state"] for _, each in experiment.trials.iterrows()] == [
        "completed",
        "queued",
        "queued",
    ]


def test_only_the_owner_has_a_sweep(experiment: Experiment) -> None:
    with pytest.raises(ExperimentReadOnly, match="opened for reading"):
        load_experiment(experiment.path).sweep  # noqa: B018


def test_an_experiment_without_trials_has_an_empty_table(experiment: Experiment) -> None:
    assert len(experiment.trials) == 0
    assert "state" in experiment.trials.columns
