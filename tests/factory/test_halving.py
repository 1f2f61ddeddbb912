"""Successive halving: who is paused, promoted and pruned; and that it pays."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from statistics import median
from typing import Any

import pytest
import torch
from ignite.metrics import Accuracy
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from torch import nn

from fireworks.errors import WrongType, WrongValue
from fireworks.experiment import Experiment
from fireworks.factory import Factory, FactoryEvents, Halving, Random, Trial, TrialRecord
from fireworks.factory.goal import Objective
from fireworks.factory.halving import Brackets

sys.path.insert(0, str(Path(__file__).parent))
from in_thread import InThread

Make = Callable[..., Factory]


def test_rungs_and_brackets() -> None:
    assert Halving().rungs == [1, 3] and Halving().bracket_size == 9
    assert Halving(2, 16, 2).rungs == [2, 4, 8] and Halving(2, 16, 2).bracket_size == 8
    assert Halving(1, 10, 3).rungs == [1, 3, 9]
    assert Halving(5, 6, 4).rungs == [5] and Halving(5, 6, 4).bracket_size == 4


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"min_epochs": 0}, WrongValue, "at least 1"),
        ({"factor": 1}, WrongValue, "factor of at least 2"),
        ({"min_epochs": 9}, WrongValue, "must be more than min_epochs=9"),
        ({"max_epochs": 2.5}, WrongType, "max_epochs must be an int"),
    ],
)
def test_numbers_that_make_no_sense(options: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        Halving(**options)


def paused(number: int, value: float) -> TrialRecord:
    record = TrialRecord(number, {}, 1, Path(), "paused")
    record.reports = {1: value}
    return record


def test_a_bracket_is_decided_on_when_all_of_it_are_there() -> None:
    brackets = Brackets(Halving(1, 4, 2), Objective("loss", "minimize"))  # rungs 1, 2
    trials: list[TrialRecord] = []
    for number, value in enumerate([0.5, math.nan, 0.25, 0.75]):
        assert brackets.horizon() == 0
        brackets.add(number)
        assert brackets.pauses(number, 1) and not brackets.pauses(number, 0)
        trials.append(paused(number, value))
        assert bool(brackets.decide(trials)) == (number == 3)
        if number < 3:
            continue
    brackets = Brackets(Halving(1, 4, 2), Objective("loss", "minimize"))
    for number in range(4):
        brackets.add(number)
    trials[3].state = "running"
    assert brackets.decide(trials) == []
    trials[3].state = "failed"
    (decision,) = brackets.decide(trials)
    assert [each.number for each in decision.promoted] == [2, 0]
    assert [each.number for each in decision.pruned] == [1]
    assert decision.state == {"bracket/0": [1, 0, 1, 0]}
    assert not brackets.pauses(2, 1) and brackets.pauses(2, 2)
    # The second bracket's proposals know nothing yet, the third's the first bracket.
    assert brackets.horizon() == 0
    for number in range(4, 8):
        brackets.add(number)
    assert brackets.horizon() == 4


def test_a_partial_bracket_is_decided_on_at_the_end() -> None:
    brackets = Brackets(Halving(1, 4, 2), Objective("loss", "minimize"))
    trials = [paused(0, 0.5), paused(1, 0.25)]
    for each in trials:
        brackets.add(each.number)
    assert brackets.decide(trials) == []
    assert brackets.close() == {"bracket/0": [0, 0]} and brackets.close() == {}
    (decision,) = brackets.decide(trials)
    assert [each.number for each in decision.promoted] == [1]
    brackets.add(2)
    again = Brackets(Halving(1, 4, 2), Objective("loss", "minimize"))
    again.recall([*trials, paused(2, 1.0)], decision.state)
    for number in range(3):
        assert again.pauses(number, 1) == brackets.pauses(number, 1)
    assert again.horizon() == brackets.horizon()


def train(trial: Trial) -> dict[str, Any]:
    from ignite.engine import Events

    from fireworks.engine import create_evaluator, create_trainer

    torch.manual_seed(trial.seed)
    x = torch.randn(32, 2)
    batches = [{"x": x, "label": (x[:, 0] > 0).long()}] * 2
    model = nn.Linear(2, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=trial.params["lr"])
    columns: Any = {"inputs": ["x"], "target": "label"}
    trainer = create_trainer(model, optimizer, nn.functional.cross_entropy, **columns)
    evaluator = create_evaluator(model, metrics={"accuracy": Accuracy()}, **columns)
    trainer.add_event_handler(Events.EPOCH_STARTED, lambda: print(trainer.state.epoch, flush=True))
    trial.attach(trainer, evaluator, data=batches, report="accuracy")
    trainer.run(batches, max_epochs=4)
    return evaluator.state.metrics


def test_trials_are_paused_and_go_on_from_their_checkpoints(
    make: Make, experiment: Experiment
) -> None:
    options: Any = {
        "propose": {"lr": FloatDistribution(1e-3, 1.0, log=True)},
        "scheduler": Halving(min_epochs=1, max_epochs=4, factor=2),
    }
    factory = make(train, **options)
    paused: list[int] = []
    factory.add_event_handler(
        FactoryEvents.TRIAL_PAUSED, lambda factory: paused.append(factory.trial.number)
    )
    factory.run(trials=6)  # a bracket of four, and one of two
    trials = factory.trials
    assert trials["state"].value_counts().to_dict() == {"pruned": 4, "completed": 2}
    for record in factory.records:
        epochs = [
            (record.path / f"attempt-{attempt}" / "stdout.txt").read_text().split()
            for attempt in range(1, record.attempts + 1)
        ]
        done = [int(each) for epoch in epochs for each in epoch]
        assert len(epochs[0]) == 1 and done == list(range(1, len(done) + 1))  # none twice
        assert sorted(record.reports) == done
        assert paused.count(record.number) == record.attempts - (record.state == "completed")
    states = experiment.sql("SELECT DISTINCT state FROM attempts ORDER BY state")["state"].tolist()
    assert states == ["completed", "paused"]
    best = factory.best_trial
    assert best is not None and best.reports[4] == best.value

    model = best.load_model()
    torch.manual_seed(best.seed)
    x = torch.randn(32, 2)
    accuracy = (model(x).argmax(1) == (x[:, 0] > 0).long()).float().mean().item()
    assert accuracy == pytest.approx(best.value) and not model.training

    for workers in (1, 4):
        other = make(train, workers=workers, ordered=2, experiment=f"w{workers}", **options)
        other.run(trials=6)
        assert other.trials.drop(columns="seconds").equals(trials.drop(columns="seconds"))


def digits() -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    from sklearn.datasets import load_digits

    found: Any = load_digits()
    x, y = torch.tensor(found.data / 16, dtype=torch.float32), torch.tensor(found.target)
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
    x, y = x[order], y[order]
    return {"x": x[:1000], "label": y[:1000]}, {"x": x[1000:], "label": y[1000:]}


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_halving_finds_as_much_as_random_search_in_half_of_its_epochs(tmp_path: Path) -> None:
    from fireworks.engine import create_evaluator, create_trainer

    torch.set_num_threads(1)
    rows, valid = digits()

    def train(trial: Trial) -> dict[str, Any]:
        params = trial.params
        torch.manual_seed(trial.seed)
        activation = {"relu": nn.ReLU, "tanh": nn.Tanh}[params["activation"]]
        model = nn.Sequential(
            nn.Linear(64, params["hidden"]), activation(), nn.Linear(params["hidden"], 10)
        )
        optimizer = torch.optim.SGD(
            model.parameters(), lr=params["lr"], momentum=params["momentum"]
        )
        columns: Any = {"inputs": ["x"], "target": "label"}
        trainer = create_trainer(model, optimizer, nn.functional.cross_entropy, **columns)
        evaluator = create_evaluator(model, metrics={"accuracy": Accuracy()}, **columns)
        size = params["batch"]
        batches = [
            {name: each[at : at + size] for name, each in rows.items()}
            for at in range(0, len(rows["x"]), size)
        ]
        trial.attach(trainer, evaluator, data=[valid], report="accuracy", checkpoint=pauses)
        trainer.run(batches, max_epochs=9)
        return evaluator.state.metrics

    space = {
        "lr": FloatDistribution(1e-4, 3.0, log=True),
        "momentum": FloatDistribution(0, 0.99),
        "hidden": IntDistribution(4, 64, log=True),
        "activation": CategoricalDistribution(["relu", "tanh"]),
        "batch": CategoricalDistribution([100, 250, 500]),
    }

    pauses = False

    def search(seed: int, trials: int, scheduler: Halving | None) -> tuple[float, int]:
        nonlocal pauses
        pauses = scheduler is not None
        with (
            Experiment("digits", root=tmp_path) as experiment,
            closing(InThread(train)) as backend,
        ):
            factory = Factory(
                train,
                propose=Random(space),
                maximize="accuracy",
                experiment=experiment,
                seed=seed,
                workers=1,
                scheduler=scheduler,
                backend=backend,
            )
            factory.run(trials=trials)
            epochs = int(experiment.sql("SELECT count(*) AS n FROM reports")["n"][0])
        best = factory.best_trial
        assert best is not None and best.value is not None
        return best.value, epochs

    random = [search(seed, 18, None) for seed in range(10)]
    halving = [search(seed, 27, Halving(1, 9, 3)) for seed in range(100, 110)]
    accuracy, epochs = (median(each) for each in zip(*random, strict=True))
    found, spent = (median(each) for each in zip(*halving, strict=True))
    print(f"random {accuracy:.4f} in {epochs} epochs, halving {found:.4f} in {spent}")
    assert epochs == 18 * 9 and spent <= epochs / 2
    assert found >= accuracy
