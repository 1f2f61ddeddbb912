"""What a run measures reaches the experiment and TensorBoard, and both agree."""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from typing import Any

import pytest
import torch
from ignite.engine import Engine, Events
from ignite.metrics import Accuracy, RunningAverage
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn
from torch.nn.functional import cross_entropy

from fireworks import (
    Experiment,
    ExperimentLogger,
    Message,
    TensorBoardLogger,
    create_evaluator,
    create_trainer,
    load_experiment,
)
from fireworks.engine import event_named, register_events
from fireworks.engine.failures import on_failure
from fireworks.errors import LossNotFinite, WrongValue
from fireworks.sources import BatchingSource, MessageSource

ROWS = Message({"x": torch.randn(40, 3), "label": torch.arange(40) % 2})


def engines() -> tuple[Engine, Engine]:
    torch.manual_seed(0)
    network = nn.Linear(3, 2)
    columns: Any = {"inputs": "x", "target": "label"}
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    trainer = create_trainer(network, optimizer, cross_entropy, **columns)
    evaluator = create_evaluator(network, metrics={"accuracy": Accuracy()}, **columns)
    trainer.add_event_handler(
        Events.EPOCH_COMPLETED, lambda: evaluator.run(MessageSource(ROWS) >> BatchingSource(40))
    )
    return trainer, evaluator


def events(folder) -> dict[str, list[tuple[int, float]]]:
    accumulator = EventAccumulator(str(folder), size_guidance={"scalars": 0}).Reload()
    return {
        name: [(each.step, each.value) for each in accumulator.Scalars(name)]
        for name in accumulator.Tags()["scalars"]
    }


def logged(path) -> dict[str, list[tuple[int, float]]]:
    frame = load_experiment(path).metrics()
    return {
        str(name): list(zip(rows["step"].tolist(), rows["value"].tolist(), strict=True))
        for name, rows in frame.groupby("name")
    }


def test_both_loggers_write_the_same_scalars(tmp_path):
    trainer, evaluator = engines()
    RunningAverage(output_transform=lambda output: output["loss"]).attach(trainer, "average")
    with Experiment("run", root=tmp_path) as experiment:
        ExperimentLogger(experiment).attach(trainer, evaluator)
        TensorBoardLogger(experiment).attach(trainer, evaluator)
        trainer.run(MessageSource(ROWS) >> BatchingSource(10), max_epochs=3)
    table = logged(experiment.path)
    assert {name: [step for step, _ in rows] for name, rows in table.items()} == {
        "train/loss": list(range(1, 13)),
        "train/average": [4, 8, 12],
        "valid/accuracy": [4, 8, 12],
    }
    assert table["valid/accuracy"][-1][1] == evaluator.state.metrics["accuracy"]
    drawn = events(experiment.tensorboard)
    assert {name: [step for step, _ in rows] for name, rows in drawn.items()} == {
        name: [step for step, _ in rows] for name, rows in table.items()
    }
    for name, rows in table.items():
        assert [value for _, value in drawn[name]] == pytest.approx(
            [value for _, value in rows], rel=1e-6
        )


def test_every_and_names(tmp_path):
    trainer, evaluator = engines()
    with Experiment("run", root=tmp_path) as experiment:
        ExperimentLogger(experiment).attach(trainer, every=4, test=evaluator)
        trainer.run(MessageSource(ROWS) >> BatchingSource(10), max_epochs=2)
    table = logged(experiment.path)
    assert [step for step, _ in table["train/loss"]] == [4, 8]
    assert [step for step, _ in table["test/accuracy"]] == [4, 8]


@pytest.mark.parametrize(
    "output", [3.5, torch.tensor(3.5), {"loss": 3.5, "other": "text"}], ids=str
)
def test_a_plain_engine_of_the_users_own(tmp_path, output):
    engine = Engine(lambda engine, batch: output)
    with Experiment("run", root=tmp_path) as experiment:
        ExperimentLogger(experiment).attach(engine)
        engine.run([1, 2])
    assert logged(experiment.path) == {"train/loss": [(1, 3.5), (2, 3.5)]}


def test_an_engine_that_gives_no_loss(tmp_path):
    engine = Engine(lambda engine, batch: torch.ones(3))
    with Experiment("run", root=tmp_path) as experiment:
        ExperimentLogger(experiment).attach(engine)
        engine.run([1, 2])
    assert logged(experiment.path) == {}


def test_what_was_logged_before_an_exception_is_there(tmp_path):
    trainer, evaluator = engines()
    experiment = Experiment("run", root=tmp_path)
    ExperimentLogger(experiment).attach(trainer, evaluator)

    @trainer.on(Events.ITERATION_COMPLETED(once=7))
    def fail() -> None:
        raise ZeroDivisionError("as it happens")

    with pytest.raises(ZeroDivisionError, match="as it happens"), experiment:
        trainer.run(MessageSource(ROWS) >> BatchingSource(10), max_epochs=3)
    assert len(logged(experiment.path)["train/loss"]) == 7


def test_events_before_an_exception_reach_the_disk_when_the_interpreter_ends(tmp_path):
    program = f"""
from ignite.engine import Engine
from fireworks import Experiment, TensorBoardLogger

def step(engine, batch):
    if engine.state.iteration == 8:
        raise ZeroDivisionError("as it happens")
    return 0.5

experiment = Experiment("run", root={str(tmp_path)!r})
engine = Engine(step)
TensorBoardLogger(experiment).attach(engine)
engine.run(range(10))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert "ZeroDivisionError: as it happens" in done.stderr
    assert events(tmp_path / "run-0001" / "tensorboard") == {
        "train/loss": [(step, 0.5) for step in range(1, 8)]
    }


def test_tensorboard_forgets_what_a_resumed_run_does_again(tmp_path):
    with Experiment("run", root=tmp_path) as experiment:
        for first, last in ((1, 10), (6, 8)):  # killed after 10, gone on with after 5
            logger = TensorBoardLogger(experiment)
            for step in range(first, last + 1):
                logger.log({"loss": float(10 * first + step), "matrix": torch.ones(2, 2)}, step)
            logger.close()
    assert events(experiment.tensorboard) == {
        "loss": [(step, 10 + step) for step in range(1, 6)]
        + [(step, 60 + step) for step in range(6, 9)]
    }


def test_tensorboard_events_are_written_in_order_while_training_goes_on(tmp_path):
    with Experiment("run", root=tmp_path) as experiment:
        logger = TensorBoardLogger(experiment)
        value = torch.zeros(())
        for step in range(12_000):  # more than the queue holds
            logger.log({"loss": value, "text": "no number"}, step)
            value += 1  # in place, as a loss that a user sums up
        deadline = time.monotonic() + 20
        while len(events(experiment.tensorboard).get("loss", [])) < 12_000:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        assert events(experiment.tensorboard)["loss"] == [(i, float(i)) for i in range(12_000)]
        logger.close()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_events_that_cannot_be_written_stop_the_run(tmp_path):
    with Experiment("run", root=tmp_path) as experiment:
        logger = TensorBoardLogger(experiment)
        logger.log({"loss": 1.0}, 1)
        logger.flush()
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1, limits[1]))  # as a full disk
        try:
            with pytest.raises(OSError, match="File too large"):
                for step in range(2, 10_000):
                    logger.log({"loss": 1.0}, step)
                    time.sleep(0.01)
            with pytest.raises(OSError, match="File too large"):
                logger.flush()
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        logger.close()


def test_every_must_be_positive(tmp_path):
    trainer, evaluator = engines()
    with (
        Experiment("run", root=tmp_path) as experiment,
        pytest.raises(WrongValue, match="at least 1"),
    ):
        ExperimentLogger(experiment).attach(trainer, evaluator, every=0)


def test_a_missing_tensorboard_names_the_extra(tmp_path):
    program = f"""
import sys
sys.modules["tensorboard"] = None
from fireworks import Experiment, TensorBoardLogger
with Experiment("run", root={str(tmp_path)!r}) as experiment:
    TensorBoardLogger(experiment)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 1
    assert "MissingDependency" in done.stderr
    assert "pip install 'fireworks-ml[tensorboard]'" in done.stderr


def test_a_batch_whose_loss_is_not_finite_is_kept_and_the_log_is_flushed(tmp_path):
    trainer, evaluator = engines()
    bad = Message({"x": torch.full((4, 3), torch.inf), "label": [0, 1, 0, 1], "id": [7, 8, 9, 10]})
    with Experiment("run", root=tmp_path) as experiment:
        ExperimentLogger(experiment).attach(trainer, evaluator)
        assert experiment.failed_batch is None
        with pytest.raises(LossNotFinite) as caught:
            trainer.run([ROWS[:4], ROWS[4:8], bad, ROWS[8:12]])
        assert len(load_experiment(experiment.path).metrics("train/loss")) == 2
    assert "experiment.failed_batch" in caught.value.__notes__[0]
    kept = load_experiment(experiment.path).failed_batch
    assert kept is not None
    assert kept["id"].tolist() == [7, 8, 9, 10]


def test_a_handler_that_raises_stops_the_run_once_and_is_named(tmp_path):
    trainer, evaluator = engines()
    told = []
    with Experiment("run", root=tmp_path) as experiment:
        logger = ExperimentLogger(experiment).attach(trainer, evaluator)
        on_failure(trainer, lambda engine, error: told.append(error))

        @trainer.on(Events.ITERATION_COMPLETED(every=3))
        def check_something(engine):
            raise ZeroDivisionError("as it happens")

        with pytest.raises(ZeroDivisionError) as caught:
            trainer.run(MessageSource(ROWS) >> BatchingSource(10), max_epochs=3)
        assert len(load_experiment(experiment.path).metrics("train/loss")) == 3
        assert logger is not None
    assert len(told) == 1
    assert trainer.state.epoch == 1
    (note,) = caught.value.__notes__
    assert "check_something of Events.ITERATION_COMPLETED, at iteration 3, epoch 1" in note


def test_a_handler_of_the_users_own_may_let_the_run_go_on(tmp_path):
    trainer, evaluator = engines()
    with Experiment("run", root=tmp_path) as experiment:
        ExperimentLogger(experiment).attach(trainer, evaluator)
        trainer.add_event_handler(Events.EXCEPTION_RAISED, lambda engine, error: None)

        @trainer.on(Events.ITERATION_COMPLETED(once=3))
        def fail():
            raise ZeroDivisionError

        trainer.run(MessageSource(ROWS) >> BatchingSource(10), max_epochs=2)
    assert trainer.state.epoch == 2


def test_metrics_logged_is_an_event(tmp_path):
    trainer, evaluator = engines()
    register_events(trainer)
    seen = []
    trainer.add_event_handler(
        event_named("metrics_logged"), lambda: seen.append(trainer.state.iteration)
    )
    with Experiment("run", root=tmp_path) as experiment:
        ExperimentLogger(experiment).attach(trainer, evaluator)
        trainer.run(MessageSource(ROWS) >> BatchingSource(10), max_epochs=2)
    assert seen == [4, 8]


def test_events_by_name():
    assert event_named("EPOCH_COMPLETED") is Events.EPOCH_COMPLETED
    count = []
    engine = Engine(lambda engine, batch: None)
    engine.add_event_handler(event_named("iteration_completed(every=3)"), lambda: count.append(1))
    engine.run(range(10))
    assert len(count) == 3
    with pytest.raises(WrongValue, match="Did you mean 'epoch_completed'"):
        event_named("epoch_complete")
    for text in ("epoch_completed(every=x)", "epoch_completed(often=3)", "started(every=0)"):
        with pytest.raises(WrongValue):
            event_named(text)
