"""``trial.attach``: a trainer and an evaluator that log, report and are pruned."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import optuna
import pytest
import torch
from ignite.metrics import Accuracy
from torch import nn

from fireworks.errors import SweepFailed
from fireworks.experiment import Experiment
from fireworks.factory import Factory, Trial

Make = Callable[..., Factory]


def train(trial: Trial) -> dict[str, Any]:
    from fireworks.engine import create_evaluator, create_trainer

    x = torch.randn(64, 2)
    batches = [{"x": x, "label": (x[:, 0] > 0).long()}] * 4
    model = nn.Linear(2, 2)
    if hopeless := trial.number % 2 == 1:
        nn.init.zeros_(model.weight)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0 if hopeless else 1.0)
    loss = nn.functional.cross_entropy
    trainer = create_trainer(model, optimizer, loss, inputs=["x"], target="label")
    evaluator = create_evaluator(
        model, metrics={"accuracy": Accuracy()}, inputs=["x"], target="label"
    )
    trial.attach(trainer, evaluator, data=batches, report=trial.params.get("report", "accuracy"))
    trainer.run(batches, max_epochs=3)
    return evaluator.state.metrics


def test_metrics_are_logged_and_reported(make: Make, experiment: Experiment) -> None:
    factory = make(train)
    factory.run(trials=1)
    assert factory.best is not None and factory.best["accuracy"] > 0.9
    assert list(factory.records[0].reports) == [1, 2, 3]
    assert factory.records[0].reports[3] == factory.best["accuracy"]
    rows = experiment.sql("SELECT name, step FROM metric WHERE trial = 0 ORDER BY name, step")
    assert rows.loc[rows["name"] == "train/loss", "step"].tolist() == list(range(1, 13))
    assert rows.loc[rows["name"] == "valid/accuracy", "step"].tolist() == [4, 8, 12]
    assert len(list((experiment.path / "tensorboard").rglob("*tfevents*"))) == 1


def test_a_pruned_trial_keeps_what_it_logged(make: Make, experiment: Experiment) -> None:
    factory = make(train, pruner=optuna.pruners.ThresholdPruner(lower=0.7))
    factory.run(trials=2)
    assert factory.trials["state"].tolist() == ["completed", "pruned"]
    assert list(factory.records[1].reports) == [1]
    rows = experiment.sql("SELECT name, step FROM metric WHERE trial = 1 ORDER BY name, step")
    assert rows["step"].tolist() == [1, 2, 3, 4, 4]


def test_a_metric_that_the_evaluator_lacks_is_named(make: Make) -> None:
    factory = make(train, propose=lambda trial: {"report": "acuracy"})
    with pytest.raises(SweepFailed, match="no metric 'acuracy'. Did you mean 'accuracy'?"):
        factory.run(trials=1)


def train_and_fail_once(trial: Trial) -> dict[str, Any]:
    from ignite.engine import Events

    from fireworks.engine import create_evaluator, create_trainer

    x = torch.randn(64, 2)
    batches = [{"x": x, "label": (x[:, 0] > 0).long()}] * 4
    model = nn.Linear(2, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    loss = nn.functional.cross_entropy
    trainer = create_trainer(model, optimizer, loss, inputs=["x"], target="label")
    evaluator = create_evaluator(
        model, metrics={"accuracy": Accuracy()}, inputs=["x"], target="label"
    )
    first: list[int] = []

    @trainer.on(Events.ITERATION_STARTED)
    def fail() -> None:
        first.append(trainer.state.iteration)
        if trial.attempt == 1 and trainer.state.iteration == 11 and trial.params["fail"]:
            raise ConnectionError("the first attempt")

    trial.attach(trainer, evaluator, data=batches, report="accuracy")
    trainer.run(batches, max_epochs=4)
    return {**evaluator.state.metrics, "first": first[0], "weight": model.weight.sum().item()}


def test_a_retry_goes_on_from_the_checkpoint(make: Make, experiment: Experiment) -> None:
    factory = make(train_and_fail_once, propose=lambda trial: {"fail": True}, retries=1)
    factory.run(trials=1)
    (record,) = factory.records
    assert record.attempts == 2
    assert record.result is not None
    assert record.result["first"] == 9  # behind the checkpoint of the second epoch
    rows = experiment.sql("SELECT name, step FROM metric WHERE trial = 0 ORDER BY name, step")
    assert rows.loc[rows["name"] == "train/loss", "step"].tolist() == list(range(1, 17))
    assert rows.loc[rows["name"] == "valid/accuracy", "step"].tolist() == [4, 8, 12, 16]
    with Experiment("undisturbed", root=experiment.path.parent) as other:
        undisturbed = make(
            train_and_fail_once, propose=lambda trial: {"fail": False}, experiment=other
        )
        undisturbed.run(trials=1)
    assert undisturbed.records[0].result is not None
    assert undisturbed.records[0].result["weight"] == record.result["weight"]
