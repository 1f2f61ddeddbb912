"""Every proposer: the same promises; and what is particular to each."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.distributions import (
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from fireworks.errors import WrongType, WrongValue
from fireworks.factory import EndSearch, Grid, Proposer, Random, TrialRecord
from fireworks.factory.goal import as_goal
from fireworks.factory.proposers import as_proposer
from fireworks.factory.pruning import Pruning

MAXIMIZE = as_goal("accuracy", None)
SPACE = {
    "lr": FloatDistribution(1e-4, 1e-1, log=True),
    "dropout": FloatDistribution(0, 0.5, step=0.25),
    "momentum": FloatDistribution(0.5, 1),
    "hidden": IntDistribution(16, 256, log=True),
    "layers": IntDistribution(1, 9, step=2),
    "optimizer": CategoricalDistribution(["sgd", "adam"]),
}


def space(trial: optuna.Trial) -> dict[str, Any]:
    params: dict[str, Any] = {"optimizer": trial.suggest_categorical("optimizer", ["sgd", "adam"])}
    if params["optimizer"] == "sgd":
        params["momentum"] = trial.suggest_float("momentum", 0.5, 1)
    return params | {"lr": trial.suggest_float("lr", 1e-4, 1e-1, log=True)}


def climb(params: Any, metrics: Any) -> dict[str, Any]:
    if not len(metrics):
        return {"x": 0.0}
    best = int(np.nanargmax(metrics["accuracy"].fillna(-1)))
    return {"x": float(params["x"].iloc[best]) + 1}


PROPOSERS: dict[str, Callable[[], Any]] = {
    "define by run": lambda: space,
    "distributions": lambda: SPACE,
    "grid": lambda: Grid({"x": list(range(10)), "y": ["a", "b"]}),
    "random": lambda: Random({**SPACE, "z": [1, 2, 3]}),
    "blackboard": lambda: climb,
}


def finish(number: int, params: Mapping[str, Any], state: Any = "completed") -> TrialRecord:
    value = (number * 7) % 5 / 5 if state == "completed" else None
    result = None if value is None else {"accuracy": value}
    reports = {0: 0.25, 1: 0.5}
    return TrialRecord(
        number,
        dict(params),
        1,
        Path(),
        state,
        result=result,
        values=None if value is None else (value,),
        reports=reports,
    )


def propose(proposer: Proposer, seed: int, trials: int, ordered: int) -> list[dict[str, Any]]:
    """Proposals as a sweep asks for them: each knows the results up to its number - ordered."""
    proposer.begin(MAXIMIZE, seed)
    proposed: list[dict[str, Any]] = []
    states = ["completed", "failed", "pruned", "completed", "stopped"]
    for number in range(trials):
        if number >= ordered:
            told = number - ordered
            proposer.tell(finish(told, proposed[told], states[told % 5]))
        proposed.append(dict(proposer.propose(number)))
    return proposed


@pytest.mark.parametrize("kind", PROPOSERS)
@pytest.mark.parametrize("ordered", [1, 3])
def test_the_same_seed_and_results_give_the_same_proposals(kind: str, ordered: int) -> None:
    first, again = (propose(as_proposer(PROPOSERS[kind]()), 3, 20, ordered) for _ in range(2))
    assert first == again
    assert json.loads(json.dumps(first)) == first
    if kind in ("define by run", "distributions", "random"):
        assert propose(as_proposer(PROPOSERS[kind]()), 4, 20, ordered) != first
        assert len({json.dumps(each) for each in first}) > 10


def test_a_grid_is_every_combination_once() -> None:
    grid = Grid({"a": [1, 2], "b": ["x", "y", "z"], "c": np.array([0.5])})
    assert len(grid) == 6
    proposed = [dict(grid.propose(number)) for number in range(6)]
    assert proposed[:4] == [
        {"a": 1, "b": "x", "c": 0.5},
        {"a": 1, "b": "y", "c": 0.5},
        {"a": 1, "b": "z", "c": 0.5},
        {"a": 2, "b": "x", "c": 0.5},
    ]
    assert list(proposed[0]) == ["a", "b", "c"] and type(proposed[0]["c"]) is float
    assert len({json.dumps(each) for each in proposed}) == 6
    with pytest.raises(EndSearch, match="all 6 combinations"):
        grid.propose(6)


def test_random_values_keep_to_their_distributions() -> None:
    proposer = Random(SPACE)
    proposer.begin(MAXIMIZE, 5)
    drawn = [proposer.propose(number) for number in range(3000)]
    for name, distribution in SPACE.items():
        # Optuna's own test of membership.
        assert all(
            distribution._contains(distribution.to_internal_repr(each[name])) for each in drawn
        )
    assert {each["layers"] for each in drawn} == {1, 3, 5, 7, 9}
    assert {each["dropout"] for each in drawn} == {0.0, 0.25, 0.5}
    assert min(each["hidden"] for each in drawn) == 16
    assert max(each["hidden"] for each in drawn) == 256
    # Uniform in the logarithm: half lies below the geometric mean.
    for name in ("lr", "hidden"):
        low, high = SPACE[name].low, SPACE[name].high
        below = np.mean([each[name] < math.sqrt(low * high) for each in drawn])
        assert 0.46 < below < 0.54


def test_a_search_gets_better_than_chance() -> None:
    proposer = as_proposer({"x": FloatDistribution(0, 1)})
    proposer.begin(MAXIMIZE, 0)
    seen: list[float] = []
    for number in range(60):
        x = proposer.propose(number)["x"]
        record = finish(number, {"x": x})
        record.values = (-abs(x - 0.7),)
        proposer.tell(record)
        seen.append(abs(x - 0.7))
    assert np.mean(seen[10:]) < 0.2  # 0.29 by chance


def test_the_blackboard_shows_what_was_tried() -> None:
    shown: list[tuple[Any, Any]] = []

    def look(params: Any, metrics: Any) -> dict[str, Any]:
        shown.append((params, metrics))
        return {"x": len(params)}

    assert [each["x"] for each in propose(as_proposer(look), 0, 4, 1)] == [0, 1, 2, 3]
    params, metrics = shown[-1]
    assert params["trial"].tolist() == [0, 1, 2] and params["x"].tolist() == [0, 1, 2]
    assert metrics["state"].tolist() == ["completed", "failed", "pruned"]
    assert np.isnan(metrics["accuracy"].to_numpy(float)).tolist() == [False, True, True]


def test_a_sampler_of_optunas_is_used() -> None:
    sampler = optuna.samplers.GridSampler({"x": [0.25, 0.5]}, seed=0)
    proposer = as_proposer({"x": FloatDistribution(0, 1)}, sampler)
    assert {each["x"] for each in propose(proposer, 0, 2, 1)} == {0.25, 0.5}


def test_prune_decisions_see_what_was_told_when_their_trial_was_proposed() -> None:
    pruning = Pruning(optuna.pruners.MedianPruner(n_startup_trials=1), MAXIMIZE)
    for number in range(3):
        pruning.begin_trial(number, 0)
    pruning.tell(finish(0, {}))
    assert not pruning.decide(2, 0, 0.0)
    pruning.begin_trial(3, 1)
    pruning.tell(finish(1, {}))
    assert pruning.decide(3, 0, 0.0) and not pruning.decide(3, 1, 0.6)
    assert not pruning.decide(2, 1, 0.0)


@pytest.mark.parametrize(
    "pruner",
    [
        optuna.pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=2),
        optuna.pruners.HyperbandPruner(min_resource=1, max_resource=8, reduction_factor=2),
        optuna.pruners.PercentilePruner(50.0, n_startup_trials=2),
    ],
)
def test_optunas_pruners_work_and_decide_alike_again(pruner: Any) -> None:
    def decisions() -> list[list[bool]]:
        pruning = Pruning(pruner, MAXIMIZE)
        found: list[list[bool]] = []
        for number in range(24):
            pruning.begin_trial(number, number)
            quality = (number * 7) % 10 / 10
            found.append([pruning.decide(number, step, quality) for step in range(8)])
            record = finish(number, {}, "pruned" if any(found[-1]) else "completed")
            record.reports = dict.fromkeys(range(8), quality)
            pruning.tell(record)
        return found

    first = decisions()
    assert first == decisions()
    pruned = [any(each) for each in first]
    assert any(pruned) and not all(pruned)


@pytest.mark.parametrize(
    ("build", "error", "message"),
    [
        (lambda: Grid({}), WrongValue, "at least one parameter"),
        (lambda: Grid({"x": []}), WrongValue, "'x' has no values"),
        (lambda: Grid({"x": "abc"}), WrongType, "'x' must be a list"),
        (lambda: Random({"x": 3}), WrongType, "'x' must be a list"),
        (lambda: Random({}), WrongValue, "at least one parameter"),
        (lambda: as_proposer({}), WrongType, "propose must be"),
        (lambda: as_proposer(None), WrongType, "propose must be"),
        (lambda: as_proposer(lambda a, b, c: {}), WrongType, "propose must be"),
        (lambda: as_proposer(climb, optuna.samplers.RandomSampler()), WrongValue, "sampler="),
        (lambda: as_proposer({"x": (0, 1)}), WrongType, "optuna.distributions"),
    ],
)
def test_what_makes_no_sense_is_refused(
    build: Callable[[], Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        build()
