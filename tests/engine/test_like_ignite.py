"""An engine that carries what is ours behaves as Ignite's own, and all handlers serve any engine.

Ignite's own tests on such engines are run by ``ignite_suite.py``, which needs the network.
"""

# Ignite types what an engine's state holds more narrowly than it is.
# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false
# pyright: reportIndexIssue=false, reportOptionalSubscript=false, reportArgumentType=false

from __future__ import annotations

import io
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from ignite.engine import Engine, Events
from ignite.metrics import Accuracy, RunningAverage
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader

from fireworks import (
    Checkpointer,
    Experiment,
    ExperimentLogger,
    Message,
    TensorBoardLogger,
    create_table,
    create_trainer,
)
from fireworks.database import TableSource
from fireworks.engine import (
    DataProfiler,
    EarlyStopping,
    FireworksEvents,
    ModelSummary,
    PredictionWriter,
    ProgressBar,
    SystemMonitor,
    TerminateOnNan,
    TimeLimit,
    WeightStatistics,
)
from fireworks.errors import LossNotFinite
from tests.engine.ignite_suite import carry_ours

EVENTS = [each for each in Events if each is not Events.EXCEPTION_RAISED]


def stop_epoch(engine: Engine) -> None:
    engine.terminate_epoch()


def stop(engine: Engine) -> None:
    engine.terminate()


def pause(engine: Engine) -> None:
    engine.interrupt()


def fail(engine: Engine) -> None:
    raise ZeroDivisionError("as it happens")


def nothing(engine: Engine) -> None:
    pass


def forgive(engine: Engine, error: Exception) -> None:
    pass


def trace(ours: bool, act: Callable[[Engine], None], event: Any, **options: Any) -> list[Any]:
    """Everything that can be seen of some runs of an engine."""
    seen: list[Any] = []
    engine = Engine(lambda engine, batch: batch)
    forgiving = options.pop("forgiving", False)
    if forgiving:
        engine.add_event_handler(Events.EXCEPTION_RAISED, forgive)
    if ours:
        carry_ours(engine)

    def note(engine: Engine, event: Any) -> None:
        state = engine.state
        seen.append((str(event), state.iteration, state.epoch, state.output))

    for each in EVENTS:
        engine.add_event_handler(each, note, each)
    engine.add_event_handler(event, act)
    data = options.pop("data", list(range(5)))
    for _ in range(2):
        try:
            seen.append(engine.run(data, **options).metrics)
        except Exception as error:
            seen.append(repr(error))
        seen.append(dict(engine.state_dict()))
    return seen


@pytest.mark.parametrize(
    "options",
    [
        {"max_epochs": 3},
        {"max_iters": 7},
        {"max_epochs": 3, "epoch_length": 3},
        {"max_epochs": 2, "epoch_length": 8},
        {"max_epochs": 2, "epoch_length": 4, "data": None},
        {"max_epochs": 2, "forgiving": True},
    ],
    ids=str,
)
@pytest.mark.parametrize(
    "event",
    [
        Events.ITERATION_COMPLETED(once=4),
        Events.EPOCH_STARTED(every=2),
        Events.GET_BATCH_STARTED(once=3),
    ],
    ids=["an iteration", "an epoch", "a batch"],
)
@pytest.mark.parametrize("act", [nothing, stop, stop_epoch, pause, fail])
def test_an_engine_with_ours_does_what_ignites_does(act, event, options):
    assert trace(True, act, event, **options) == trace(False, act, event, **options)


def messages(batch_size: int = 5) -> list[Message]:
    generator = torch.Generator().manual_seed(0)
    rows = Message(
        {
            "x": torch.randn(20, 3, generator=generator),
            "label": torch.arange(20) % 2,
            "id": np.arange(20),
        }
    )
    return [rows[i : i + batch_size] for i in range(0, 20, batch_size)]


def dicts() -> list[Any]:
    return [each.tensors() for each in messages()]


@pytest.mark.parametrize("batches", [messages, dicts])
def test_every_handler_serves_an_engine_and_a_loader_of_the_users_own(tmp_path, batches):
    torch.manual_seed(0)
    model = nn.Linear(3, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

    def step(engine: Engine, batch: Any) -> float:
        optimizer.zero_grad()
        loss = cross_entropy(model(batch["x"]), batch["label"])
        loss.backward()
        optimizer.step()
        return loss.item()

    @torch.no_grad()
    def evaluate(engine: Engine, batch: Any) -> tuple[torch.Tensor, torch.Tensor]:
        return model(batch["x"]), batch["label"]

    def predictions(batch: Any, output: Any) -> dict[str, Any]:
        return {"id": np.asarray(batch["id"]), "label": output[0].argmax(1).numpy()}

    trainer, evaluator = Engine(step), Engine(evaluate)
    Accuracy().attach(evaluator, "accuracy")
    RunningAverage(output_transform=lambda loss: loss).attach(trainer, "average")
    data = DataLoader(batches(), batch_size=None)
    trainer.add_event_handler(Events.EPOCH_COMPLETED, lambda: evaluator.run(data))
    path = tmp_path / "predictions.sqlite"
    table = create_table("predictions", Message({"id": [0], "label": [0]}), path)
    bar = io.StringIO()
    with Experiment("run", root=tmp_path) as experiment:
        ExperimentLogger(experiment).attach(trainer, evaluator)
        TensorBoardLogger(experiment).attach(trainer, evaluator)
        saver = Checkpointer(experiment, objects={"model": model, "optimizer": optimizer})
        saver.attach(trainer, evaluator, every=3, best="accuracy")
        profiler = DataProfiler(experiment).attach(trainer)
        ProgressBar(bar).attach(trainer)
        SystemMonitor(experiment, seconds=1e-9).attach(trainer)
        WeightStatistics(model, experiment).attach(trainer, every=4)
        summary = ModelSummary(model).attach(trainer)
        PredictionWriter(table, path, predictions).attach(evaluator)
        saved = []
        trainer.add_event_handler(
            FireworksEvents.CHECKPOINT_SAVED, lambda: saved.append(trainer.state.checkpoint)
        )
        EarlyStopping(5, lambda engine: engine.state.metrics["accuracy"], trainer).attach(evaluator)
        trainer.add_event_handler(Events.ITERATION_COMPLETED, TerminateOnNan())
        trainer.run(data, max_epochs=2)
        logged = experiment.metrics(wide=True)
    assert logged["step"].tolist() == list(range(1, 9))
    assert {"train/loss", "train/average", "valid/accuracy", "data/waiting", "weights"} < set(
        logged.columns
    )
    assert saver.last is not None and saver.best is not None and saved
    assert len(profiler.epochs) == 2
    assert bar.getvalue().count("epoch") == 2
    assert [each.output for each in summary.layers] == [(5, 2)]
    assert len(TableSource("predictions", path).read_all()) == 20


def test_handlers_of_ignite_stop_our_trainers():
    def trainer(**options: Any) -> Engine:
        model = nn.Linear(3, 2)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        return create_trainer(
            model, optimizer, cross_entropy, inputs="x", target="label", device="cpu", **options
        )

    broken = messages()
    broken[2]["x"] = torch.full((5, 3), torch.nan)
    engine = trainer(check_loss=False)
    engine.add_event_handler(Events.ITERATION_COMPLETED, TerminateOnNan())
    engine.run(broken, max_epochs=2)
    assert engine.state.iteration == 3
    with pytest.raises(LossNotFinite):
        trainer().run(broken)
    engine = trainer()
    engine.add_event_handler(Events.ITERATION_COMPLETED, lambda: time.sleep(0.3))
    engine.add_event_handler(Events.ITERATION_COMPLETED, TimeLimit(1))
    engine.run(messages(), max_epochs=1_000)
    assert engine.state.iteration <= 5
