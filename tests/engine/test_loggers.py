"""What a run measures reaches the experiment and TensorBoard, and both agree."""

from __future__ import annotations

import subprocess
import sys

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
from fireworks.errors import WrongValue
from fireworks.sources import BatchingSource, MessageSource

ROWS = Message({"x": torch.randn(40, 3), "label": torch.arange(40) % 2})


def engines() -> tuple[Engine, Engine]:
    torch.manual_seed(0)
    network = nn.Linear(3, 2)
    columns = {"inputs": "x", "target": "label"}
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
