import json
import math
import sqlite3
from pathlib import Path

import pytest

from fireworks.errors import ExperimentNotFound, WrongValue
from fireworks.experiment import Experiment, compare, load_experiment, open_attempt


@pytest.fixture
def runs(tmp_path: Path) -> list[Path]:
    made: list[Path] = []
    for lr, optimizer in [(0.1, "sgd"), (0.01, "sgd")]:
        parameters = {"lr": lr, "optimizer": optimizer, "seed": 1}
        with Experiment("plain", root=tmp_path, parameters=parameters) as experiment:
            if lr == 0.1:
                experiment.params["momentum"] = 0.9
            for step in range(4):
                experiment.log({"loss": lr * (4 - step), "accuracy": 0.5 - lr * step}, step=step)
            experiment.log(loss=math.nan, step=4)
            if lr == 0.01:
                experiment.log(extra=1.0, step=0)
            made.append(experiment.path)
    return made


def test_parameters_that_differ(runs: list[Path]) -> None:
    frame = compare(runs).params
    assert frame.columns.tolist() == ["plain-0001", "plain-0002"]
    assert frame.index.tolist() == ["lr", "momentum"]
    assert frame.loc["lr"].tolist() == [0.1, 0.01]
    assert frame.loc["momentum", "plain-0001"] == 0.9
    assert math.isnan(frame.loc["momentum", "plain-0002"])


def test_last_and_best_metrics(runs: list[Path]) -> None:
    frame = compare(runs).metrics.set_index(["experiment", "name"])
    loss = frame.loc[("plain-0001", "loss")]
    assert math.isnan(loss["last"])
    assert (loss["last_step"], loss["best_step"], loss["direction"]) == (4, 3, "minimize")
    assert loss["best"] == pytest.approx(0.1)
    accuracy = frame.loc[("plain-0002", "accuracy")]
    assert (accuracy["best"], accuracy["best_step"]) == (0.5, 0)
    assert accuracy["last"] == pytest.approx(0.47)
    assert accuracy["direction"] == "maximize"


def test_curves_on_one_axis(runs: list[Path]) -> None:
    frame = compare(runs).curves
    assert frame.columns.tolist() == ["name", "step", "plain-0001", "plain-0002"]
    accuracy = frame[frame["name"] == "accuracy"]
    assert accuracy["step"].tolist() == [0, 1, 2, 3]
    assert accuracy["plain-0001"].tolist() == pytest.approx([0.5, 0.4, 0.3, 0.2])
    extra = frame[frame["name"] == "extra"]
    assert extra["plain-0001"].isna().tolist() == [True]


def test_the_tidy_frame(runs: list[Path]) -> None:
    frame = compare(runs).frame
    assert frame.columns.tolist() == ["experiment", "trial", "kind", "name", "value"]
    assert set(frame["kind"]) == {"param", "last", "best", "mean"}
    chosen = frame[(frame["kind"] == "best") & (frame["name"] == "loss")]
    assert chosen["value"].tolist() == pytest.approx([0.1, 0.01])


def test_the_environment_differs_where_it_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths: list[Path] = []
    for value in ("one", "two"):
        monkeypatch.setenv("FLAVOUR", value)
        with Experiment("env", root=tmp_path) as experiment:
            paths.append(experiment.path)
    frame = compare(paths).environment
    assert frame.loc["environment.FLAVOUR"].tolist() == ["one", "two"]
    assert "python" not in frame.index


def test_sweeps_are_compared_by_their_best_trials(tmp_path: Path) -> None:
    for scale in (1.0, 0.5):
        with Experiment("sweep", root=tmp_path, parameters={"data": "digits"}) as experiment:
            sweep = experiment.sweep
            sweep.set_objective([("accuracy", "maximize")])
            for trial, accuracy in enumerate([0.5, 0.9, 0.7]):
                sweep.add_trial(trial, seed=0, params={"lr": scale * trial})
                attempt = sweep.start_attempt(trial, host="here")
                with open_attempt(experiment.path, trial, attempt) as writer:
                    writer.log({"valid/accuracy": accuracy * scale}, step=1)
                sweep.finish_attempt(
                    trial, attempt, state="completed", result={"accuracy": accuracy * scale}
                )
    comparison = compare([tmp_path / "sweep-0001", load_experiment(tmp_path / "sweep-0002")])
    assert comparison.runs["trial"].tolist() == [1, 1]
    assert comparison.params.index.tolist() == ["lr"]
    assert comparison.params.loc["lr"].tolist() == [1.0, 0.5]
    assert comparison.metrics["best"].tolist() == [0.9, 0.45]
    assert comparison.curves["sweep-0002"].tolist() == [0.45]


def test_equal_runs_and_equal_names(runs: list[Path], tmp_path: Path) -> None:
    comparison = compare([runs[0], runs[0]])
    assert len(comparison.params) == 0
    assert comparison.runs["experiment"].is_unique
    with Experiment("plain", root=tmp_path / "other") as experiment:
        experiment.log(loss=1.0)
        frame = compare([runs[0], experiment]).metrics
    assert frame["experiment"].nunique() == 2  # pyright: ignore[reportGeneralTypeIssues]


def test_runs_without_metrics(tmp_path: Path) -> None:
    for _ in range(2):
        Experiment("empty", root=tmp_path).close()
    comparison = compare([tmp_path / "empty-0001", tmp_path / "empty-0002"])
    assert len(comparison.curves) == len(comparison.metrics) == len(comparison.params) == 0
    assert "0 parameters differ" in repr(comparison)


def test_bad_questions(runs: list[Path]) -> None:
    with pytest.raises(WrongValue, match="at least two"):
        compare(runs[:1])
    with pytest.raises(ExperimentNotFound, match="Did you mean"):
        compare([runs[0], runs[0].with_name("plain-001")])


def test_the_code_and_means(tmp_path: Path) -> None:
    paths = []
    for name, diff in [("a", "+1"), ("b", "+2")]:
        with Experiment(name, root=tmp_path) as experiment:
            experiment.log_many({"step": [0, 1, 2], "loss": [3.0, 1.0, float("nan")]})
        paths.append(experiment.path)
        connection = sqlite3.connect(experiment.path / "experiment.sqlite")
        git = {"commit": "c", "branch": "main", "dirty": True, "diff": diff}
        connection.execute("UPDATE metadata SET value = ? WHERE key = 'git'", (json.dumps(git),))
        connection.commit()
        connection.close()
    both = compare(paths)
    assert both.code["diff"].tolist() == ["+1", "+2"]
    assert both.metrics["mean"].tolist() == [2.0, 2.0]
    assert "git.diff" in both.environment.index
    assert "git.commit" not in both.environment.index
