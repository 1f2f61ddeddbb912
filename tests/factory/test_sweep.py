"""What a sweep does with trials that succeed, fail, crash, report and are interrupted."""

from __future__ import annotations

import ctypes
import functools
import json
import logging
import os
import random
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pandas as pd
import pytest
import torch

from fireworks.errors import SweepFailed, WrongType, WrongValue
from fireworks.experiment import Experiment, load_experiment
from fireworks.factory import (
    EndSearch,
    Factory,
    FactoryEvents,
    ForkServer,
    Grid,
    Trial,
    TrialRecord,
    Warm,
)

Make = Callable[..., Factory]


def identity(trial: Trial) -> dict[str, float]:
    return {"accuracy": trial.params["x"]}


def test_a_sweep_finds_and_records_the_best(make: Make, experiment: Experiment) -> None:
    def train(trial: Trial) -> dict[str, Any]:
        print("to stdout", trial.number)
        print("to stderr", trial.number, file=sys.stderr)
        for step in range(3):
            trial.experiment.log({"train/loss": 1.0 / (step + 1)}, step=step)
        return {"accuracy": torch.tensor(trial.params["x"]), "size": np.int64(7)}

    factory = make(train)
    factory.run(trials=5)

    trials = factory.trials
    assert trials["state"].tolist() == ["completed"] * 5
    assert factory.best_trial is not None and factory.best is not None
    assert factory.best_trial.value == pytest.approx(trials["x"].max())
    assert factory.best["accuracy"] == trials["accuracy"].max()
    assert factory.best["size"] == 7
    folder = experiment.path / "trials" / "3" / "attempt-1"
    assert (folder / "stdout.txt").read_text() == "to stdout 3\n"
    assert "to stderr 3" in (folder / "stderr.txt").read_text()
    counted = experiment.sql("SELECT trial, count(*) AS n FROM metric GROUP BY trial")
    assert counted["trial"].tolist() == list(range(5)) and counted["n"].tolist() == [3] * 5
    recorded = experiment.sql("SELECT state, result, seed FROM trials ORDER BY number")
    assert recorded["state"].tolist() == ["completed"] * 5
    assert [json.loads(each)["accuracy"] for each in recorded["result"]] == pytest.approx(
        trials["x"].tolist()
    )
    attempts = experiment.sql("SELECT * FROM attempts")
    assert set(attempts["exit_code"]) == {0} and min(attempts["peak_memory"]) > 1e7
    assert min(attempts["pid"]) > 1 and len(set(attempts["pid"])) == 5


def test_every_way_to_fail_ends_that_trial_alone(make: Make, experiment: Experiment) -> None:
    def train(trial: Trial) -> Any:
        match trial.number:
            case 1:
                raise ValueError("boom [x]")
            case 2:
                os._exit(3)
            case 3:
                os.kill(os.getpid(), signal.SIGKILL)
            case 4:
                ctypes.string_at(0)
            case 5:
                return {"acuracy": 1.0}
            case 6:
                return {"accuracy": float("nan")}
            case 7:
                return 0.5
            case 8:
                sys.exit("no thanks")
            case 9:
                return {"accuracy": [1, 2]}
            case _:
                return {"accuracy": 1.0, "matrix": torch.eye(2)}

    factory = make(train)
    factory.run(trials=11)

    trials = factory.trials
    assert trials["state"].tolist() == ["completed", *["failed"] * 9, "completed"]
    reasons = dict(zip(trials["trial"], trials["reason"], strict=True))
    assert reasons[1] == "ValueError: boom [x]"
    assert "exit code 3" in reasons[2]
    assert "signal 9 (SIGKILL)" in reasons[3]
    assert "signal 11 (SIGSEGV)" in reasons[4]
    assert "no 'accuracy'" in reasons[5] and "'acuracy'" in reasons[5]
    assert "nan" in reasons[6] and "finite" in reasons[6]
    assert "must return a dict" in reasons[7] and "0.5 (float)" in reasons[7]
    assert reasons[8] == "SystemExit: no thanks"
    assert "no number" in reasons[9]
    stderr = experiment.path / "trials" / "1" / "attempt-1" / "stderr.txt"
    assert 'raise ValueError("boom [x]")' in stderr.read_text()
    recorded = experiment.sql("SELECT trial, state, exit_code, signal, reason FROM attempts")
    rows = recorded.astype(object).where(recorded.notna(), None).set_index("trial").to_dict("index")
    assert (rows[2]["exit_code"], rows[2]["signal"]) == (3, None)
    assert (rows[3]["exit_code"], rows[3]["signal"]) == (None, 9)
    assert (rows[4]["exit_code"], rows[4]["signal"]) == (None, 11)
    assert {number: row["reason"] for number, row in rows.items() if row["reason"]} == {
        number: reason for number, reason in reasons.items() if isinstance(reason, str)
    }


def test_a_child_killed_from_outside_fails_alone(make: Make) -> None:
    def train(trial: Trial) -> dict[str, float]:
        if trial.number == 1:
            trial.report(0, float(os.getpid()))
            time.sleep(60)
        return {"accuracy": 1.0}

    factory = make(train)
    factory.add_event_handler(
        FactoryEvents.DECIDED,
        lambda factory: os.kill(int(factory.trial.reports[0]), signal.SIGKILL),
    )
    factory.run(trials=4)
    assert factory.trials["state"].tolist() == ["completed", "failed", "completed", "completed"]
    assert "SIGKILL" in str(factory.records[1].reason)


def test_without_a_completed_trial_the_sweep_fails_and_says_why(make: Make) -> None:
    def train(trial: Trial) -> dict[str, float]:
        raise ValueError(f"no data for {trial.number}")

    factory = make(train, experiment="failing")
    with pytest.raises(SweepFailed, match=r"of 3 completed.*ValueError: no data for 0.*stderr.txt"):
        factory.run(trials=3)
    with load_experiment(factory.experiment.path) as loaded:
        assert loaded.status == "failed"


def test_a_misnamed_objective_does_not_waste_the_sweep(make: Make) -> None:
    factory = make(identity, maximize="acuracy")
    with pytest.raises(SweepFailed, match=r"returned no 'acuracy'.*returned 'accuracy'"):
        factory.run(trials=50)
    assert len(factory.records) <= 4


def test_a_failed_trial_is_tried_again_with_the_same_parameters(
    make: Make, experiment: Experiment, tmp_path: Path
) -> None:
    def train(trial: Trial) -> dict[str, float]:
        (tmp_path / f"{trial.number}-{trial.attempt}").write_text(
            json.dumps([trial.params["x"], trial.seed, random.random()])
        )
        trial.experiment.log({"loss": trial.attempt}, step=trial.attempt)
        trial.report(0, 1.0)
        if trial.number == 1 and trial.attempt < 3:
            os._exit(1)
        return {"accuracy": 1.0}

    factory = make(train, retries=2)
    retried: list[int] = []
    factory.add_event_handler(
        FactoryEvents.TRIAL_RETRIED, lambda factory: retried.append(factory.trial.number)
    )
    factory.run(trials=3)
    assert factory.trials["attempts"].tolist() == [1, 3, 1] and retried == [1, 1]
    contents = [(tmp_path / f"1-{attempt}").read_text() for attempt in (1, 2, 3)]
    assert len(set(contents)) == 1
    kept = experiment.sql("SELECT step, value FROM metric WHERE trial = 1")
    assert kept["value"].tolist() == [3.0]
    states = experiment.sql("SELECT state FROM attempts WHERE trial = 1 ORDER BY number")
    assert states["state"].tolist() == ["failed", "failed", "completed"]


def test_events_come_in_order_with_ignites_filters(make: Make) -> None:
    def train(trial: Trial) -> dict[str, float]:
        trial.report(0, 0.5)
        if trial.number == 2:
            raise ValueError
        return {"accuracy": 1.0}

    factory = make(train, workers=1)
    seen: list[Any] = []
    for event in FactoryEvents:
        factory.add_event_handler(event, lambda name: seen.append(name), event.value)

    @factory.on(FactoryEvents.TRIAL_COMPLETED(every=2))
    def second(factory: Factory) -> None:
        seen.append(("every 2", factory.trial.number))

    @factory.on(FactoryEvents.TRIAL_STARTED(once=3), "with", more="words")
    def third(factory: Factory, text: str, more: str) -> None:
        seen.append((text, more, factory.trial.number))

    factory.run(trials=4)
    one = ["proposed", "trial_started", "trial_reported", "decided", "trial_completed"]
    failed = [*one[:2], ("with", "words", 2), *one[2:4], "trial_failed"]
    expected = ["started", *one, *one, ("every 2", 1), *failed, *one, "completed"]
    assert seen == expected
    with pytest.raises(TypeError):
        factory.add_event_handler(FactoryEvents.STARTED, lambda a, b, c: None)


def test_a_handler_that_raises_ends_the_sweep_tidily(make: Make, experiment: Experiment) -> None:
    def train(trial: Trial) -> dict[str, float]:
        time.sleep(60 if trial.number else 0)
        return {"accuracy": 1.0}

    factory = make(train)

    @factory.on(FactoryEvents.TRIAL_COMPLETED)
    def fail(factory: Factory) -> None:
        raise KeyError("a mistake in a handler")

    with pytest.raises(KeyError, match="a mistake"):
        factory.run(trials=5)
    assert factory.trials["state"].tolist() == ["completed", "stopped"]
    assert experiment.sql("SELECT state FROM trials")["state"].tolist() == ["completed", "stopped"]


def test_ctrl_c_once_lets_the_running_trials_finish(make: Make) -> None:
    def train(trial: Trial) -> dict[str, float]:
        time.sleep(0.2)
        return {"accuracy": 1.0}

    factory = make(train)
    factory.add_event_handler(
        FactoryEvents.TRIAL_COMPLETED(once=1), lambda: os.kill(os.getpid(), signal.SIGINT)
    )
    interrupted: list[int] = []
    factory.add_event_handler(FactoryEvents.INTERRUPTED, lambda: interrupted.append(1))
    handler = signal.getsignal(signal.SIGINT)
    factory.run(trials=50)
    assert interrupted == [1] and len(factory.records) <= 4
    assert set(factory.trials["state"]) == {"completed"}
    assert signal.getsignal(signal.SIGINT) is handler
    factory.run(trials=6)
    assert len(factory.records) == 6


def test_ctrl_c_twice_stops_them(make: Make, experiment: Experiment) -> None:
    def train(trial: Trial) -> dict[str, float]:
        if trial.number == 1:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)  # has to be killed
        trial.report(0, 1)
        time.sleep(60)
        return {"accuracy": 1.0}

    factory = make(train, grace=0.3)

    @factory.on(FactoryEvents.DECIDED(once=2))
    @factory.on(FactoryEvents.INTERRUPTED)
    def interrupt() -> None:
        os.kill(os.getpid(), signal.SIGINT)

    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        factory.run(trials=50)
    assert time.monotonic() - began < 10
    attempts = experiment.sql("SELECT state, reason, signal FROM attempts ORDER BY trial")
    assert attempts["state"].tolist() == ["stopped", "stopped"]
    assert attempts["signal"].tolist() == [signal.SIGTERM, signal.SIGKILL]
    assert "Ctrl-C" in attempts["reason"][0]


def test_ctrl_c_twice_at_once_stops_them(make: Make) -> None:
    def train(trial: Trial) -> dict[str, float]:
        trial.report(0, 1)
        time.sleep(60)
        return {"accuracy": 1.0}

    factory = make(train, workers=1)

    @factory.on(FactoryEvents.DECIDED)
    def interrupt() -> None:
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        factory.run(trials=50)
    assert factory.trials["state"].tolist() == ["stopped"]


def test_a_trial_over_its_time_limit_fails(make: Make) -> None:
    def train(trial: Trial) -> dict[str, float]:
        if trial.number == 1:
            ctypes.PyDLL(None).sleep(60)
        return {"accuracy": 1.0}

    factory = make(train, time_limit=1.0, grace=0.1)
    began = time.monotonic()
    factory.run(trials=4)
    assert time.monotonic() - began < 10
    assert factory.trials["state"].tolist() == ["completed", "failed", "completed", "completed"]
    assert factory.records[1].reason == "over its time limit of 1 s"


def test_any_callable_can_be_train(make: Make) -> None:
    scale = 2.0

    class Model:
        def fit(self, trial: Trial) -> dict[str, float]:
            return {"accuracy": trial.params["x"] * scale}

    def with_options(trial: Trial, scale: float) -> dict[str, float]:
        return {"accuracy": trial.params["x"] * scale}

    for train in (
        lambda trial: {"accuracy": trial.params["x"] * scale},
        Model().fit,
        functools.partial(with_options, scale=2.0),
    ):
        factory = make(train, experiment="other")
        with factory:
            factory.run(trials=1)
        assert factory.best is not None
        assert factory.best["accuracy"] == pytest.approx(2 * factory.best["x"])


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_a_name_makes_an_experiment(make: Make, tmp_path: Path) -> None:
    factory = make(identity, experiment="named")
    with pytest.raises(WrongValue, match="run creates"):
        _ = factory.experiment
    factory.run(trials=2)
    assert factory.experiment.path == tmp_path / "runs" / "named-0001"
    with load_experiment(tmp_path / "runs" / "named-0001") as loaded:
        assert len(loaded.trials) == 2


def test_run_goes_on_where_it_stopped(make: Make) -> None:
    whole, parts = make(identity, experiment="a"), make(identity, experiment="b")
    whole.run(trials=8)
    with parts:
        parts.run(trials=3)
        parts.run(trials=3)
        parts.run(trials=8)
    assert whole.trials["x"].tolist() == parts.trials["x"].tolist()


def test_a_trial_has_its_seed_and_threads(make: Make) -> None:
    def train(trial: Trial) -> dict[str, float]:
        return {
            "accuracy": 1.0,
            "seed": trial.seed,
            "python": random.random(),
            "numpy": float(np.random.rand()),
            "torch": float(torch.rand(())),
            "threads": torch.get_num_threads(),
        }

    frames: list[pd.DataFrame] = []
    for workers in (1, 2):
        factory = make(train, workers=workers, cpus_per_trial=2, experiment=f"w{workers}")
        factory.run(trials=3)
        frames.append(factory.trials.drop(columns="seconds"))
    frames[0]["x"] = frames[1]["x"] = 0
    pd.testing.assert_frame_equal(frames[0], frames[1])
    assert len(set(frames[0]["seed"])) == 3 and max(frames[0]["seed"]) < 2**32
    assert len(set(frames[0]["torch"])) == 3 and set(frames[0]["threads"]) == {2}


def test_reports_are_recorded_and_checked(make: Make, experiment: Experiment) -> None:
    def train(trial: Trial) -> dict[str, float]:
        trial.report(1, 0.25)
        trial.report(3, torch.tensor(0.5))  # pyright: ignore[reportArgumentType]
        assert not trial.should_prune()
        wrong: list[tuple[Any, Any]] = [(3, 1.0), (-1, 1.0), (0.5, 1.0), (4, "high"), (4, None)]
        raised: list[str] = []
        for step, value in wrong:
            try:
                trial.report(step, value)
            except (WrongType, WrongValue) as error:
                raised.append(str(error))
        if os.fork() == 0:
            try:
                trial.report(9, 1.0)
            except WrongValue:
                os._exit(9)
            os._exit(0)
        other = os.waitstatus_to_exitcode(os.wait()[1])
        return {"accuracy": 1.0, "raised": len(raised), "other": other}

    factory = make(train)
    factory.run(trials=1)
    reports = experiment.sql("SELECT step, value FROM reports ORDER BY step")
    assert reports["step"].tolist() == [1, 3] and reports["value"].tolist() == [0.25, 0.5]
    assert factory.records[0].reports == {1: 0.25, 3: 0.5}
    assert factory.best is not None
    assert (factory.best["raised"], factory.best["other"]) == (5, 9)


@pytest.mark.parametrize("kind", [optuna.pruners.ThresholdPruner(lower=0.5), "optuna's own"])
def test_a_pruned_trial_is_pruned(make: Make, kind: Any) -> None:
    def train(trial: Trial) -> dict[str, float]:
        if kind == "optuna's own" and trial.number % 2:
            raise optuna.TrialPruned
        for step in range(3):
            trial.report(step, 0.1 if trial.number % 2 and step == 1 else 0.9)
        return {"accuracy": 0.9}

    factory = make(train, pruner=None if kind == "optuna's own" else kind)
    pruned: list[TrialRecord] = []
    factory.add_event_handler(
        FactoryEvents.TRIAL_PRUNED, lambda factory: pruned.append(factory.trial)
    )
    factory.run(trials=4)
    assert factory.trials["state"].tolist() == ["completed", "pruned"] * 2
    assert [each.number for each in pruned] == [1, 3]
    if kind != "optuna's own":
        assert pruned[0].reports == {0: 0.9, 1: 0.1}


def test_a_flood_of_output_does_not_block(make: Make, experiment: Experiment) -> None:
    def train(trial: Trial) -> dict[str, float]:
        line = "x" * 999 + "\n"
        for _ in range(50_000):
            sys.stdout.write(line)
        return {"accuracy": 1.0}

    make(train).run(trials=1)
    assert (experiment.path / "trials/0/attempt-1/stdout.txt").stat().st_size == 50_000_000


def test_threads_and_exit_handlers_do_not_keep_a_trial_alive(make: Make, tmp_path: Path) -> None:
    def train(trial: Trial) -> dict[str, float]:
        import atexit
        import tempfile
        import threading

        atexit.register((tmp_path / "handled").touch)
        folder = tempfile.TemporaryDirectory(dir=tmp_path, prefix="temporary-")
        trial.kept = folder  # pyright: ignore[reportAttributeAccessIssue]
        threading.Thread(target=time.sleep, args=(60,)).start()
        return {"accuracy": 1.0}

    began = time.monotonic()
    make(train).run(trials=1)
    assert time.monotonic() - began < 10
    assert (tmp_path / "handled").exists() and not list(tmp_path.glob("temporary-*"))


def test_the_search_ends_when_the_proposer_does(make: Make) -> None:
    factory = make(identity, propose=Grid({"x": [0.1, 0.9, 0.5]}))
    factory.run(trials=100)
    assert factory.trials["x"].tolist() == [0.1, 0.9, 0.5]
    with pytest.raises(SweepFailed, match="no trial of 0"):

        def nothing(params: Any, metrics: Any) -> dict[str, Any]:
            raise EndSearch("nothing to do")

        make(identity, propose=nothing, experiment="empty").run(trials=3)


@pytest.mark.parametrize(
    ("proposed", "message"),
    [(None, "must return a dict"), ({"x": object()}, "'x'"), ({1: 2}, "dict by name")],
)
def test_wrong_parameters_are_refused(make: Make, proposed: Any, message: str) -> None:
    with pytest.raises((WrongType, WrongValue), match=message):
        make(identity, propose=lambda trial: proposed).run(trials=2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"maximize": None}, "maximize= or minimize="),
        ({"minimize": ["a", "a"]}, "twice"),
        ({"workers": 0}, "workers must be at least 1"),
        ({"workers": 1.5}, "workers must be an int"),
        ({"retries": -1}, "retries"),
        ({"ordered": 0}, "ordered"),
        ({"time_limit": "1 h"}, "time_limit must be a number of seconds"),
        ({"grace": -1}, "grace must be at least 0"),
        ({"seed": -3}, "seed"),
        ({"propose": 3}, "propose must be"),
        ({"propose": {"x": [1, 2]}}, "Grid"),
        ({"sampler": "tpee"}, "Did you mean 'tpe'"),
        ({"sampler": 3}, "optuna.samplers"),
        ({"propose": Grid({"x": [1]}), "sampler": optuna.samplers.TPESampler()}, "sampler="),
        ({"pruner": "medium"}, "Did you mean 'median'"),
        ({"pruner": 3}, "optuna.pruners"),
        ({"scheduler": "halving"}, "Halving"),
        ({"maximize": ["a", "b"], "pruner": "median"}, "several objectives"),
        ({"constraints": ["size < 3"]}, "<= or >="),
    ],
)
def test_wrong_options_are_refused_at_once(make: Make, options: Any, message: str) -> None:
    with pytest.raises((WrongType, WrongValue), match=message):
        make(identity, **options)


def test_wrong_train_and_trials_are_refused(make: Make) -> None:
    with pytest.raises(WrongType, match="train must be a function"):
        make("train.py")
    with pytest.raises(WrongValue, match="trials must be at least 1"):
        make(identity).run(trials=0)


def test_progress_is_logged(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "fireworks.factory")
    make(identity).run(trials=2)
    assert len([each for each in caplog.messages if "completed" in each]) == 2
    assert "2/2 trials, best accuracy" in caplog.messages[-1]


def test_a_warm_process_stays_from_one_run_to_the_next(make: Make, server: ForkServer) -> None:
    def train(trial: Trial) -> dict[str, float]:
        return {"accuracy": trial.params["x"], "pid": os.getpid(), "attempt": trial.attempt}

    warm = Warm(server)
    factory = make(train, backend=warm, workers=1)
    factory.run(trials=2)
    factory.run(trials=4)
    results = [record.result or {} for record in factory.records]
    for pid in warm.waiting:
        os.kill(pid, signal.SIGKILL)
    while warm.waiting:
        warm.poll()
    assert len({each["pid"] for each in results}) == 1
    assert [each["attempt"] for each in results] == [1.0] * 4
