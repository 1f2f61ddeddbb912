"""Trials from elsewhere and to elsewhere: those of an earlier sweep, and a study for Optuna."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from fireworks.errors import WrongValue
from fireworks.experiment import Experiment
from fireworks.experiment.stored_trials import StoredTrial, read_sweep
from fireworks.factory.goal import Goal
from fireworks.factory.records import FINISHED, EarlierTrial, State
from fireworks.optional import require

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution


def earlier_trials(path: str | os.PathLike[str]) -> list[EarlierTrial]:
    """The finished trials of a recorded sweep.

    Raises:
        ExperimentNotFound: There is no experiment at ``path``.
        WrongValue: It has no finished trial.
    """
    trials, state = read_sweep(path)
    found = [
        EarlierTrial(
            each.params, cast("State", each.state), each.result, distributions_of(state, each)
        )
        for each in trials
        if each.state in FINISHED
    ]
    if not found:
        raise WrongValue(f"{str(path)!r} has no finished trials to learn from")
    return found


def distributions_of(state: Mapping[str, Any], trial: StoredTrial) -> dict[str, str]:
    """Optuna's distributions of a recorded trial, as JSON by parameter; empty for others."""
    memory = (trial.memory or {}).get("proposer")
    params: dict[str, Any] = memory.get("params", {}) if isinstance(memory, dict) else {}
    return {name: state[f"proposer/distribution/{index}"] for name, (index, _) in params.items()}


def write_study(storage: Any, name: str, goal: Goal, experiment: Experiment) -> None:
    """Write an Optuna study of an experiment's trials; see ``Factory.export_study``."""
    optuna = require("optuna", extra="factory", purpose="export_study")
    trials, state = read_sweep(experiment.path)
    spaces = _inferred(trials)
    exported = [_frozen(optuna, each, goal, state, spaces) for each in trials]
    place = optuna.storages.get_storage(storage)
    try:
        study = optuna.create_study(
            study_name=name,
            storage=place,
            directions=[each.direction for each in goal.objectives],
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            study.set_metric_names([each.metric for each in goal.objectives])
        study.set_user_attr("experiment", experiment.id)
        study.add_trials([each for each in exported if each is not None])
    except optuna.exceptions.DuplicatedStudyError:
        raise WrongValue(
            f"there is a study {name!r} in {storage!r} already: give another name="
        ) from None
    finally:
        if isinstance(storage, str):  # opened here; Optuna itself would leave it open
            place.remove_session()
            if (engine := getattr(getattr(place, "_backend", place), "engine", None)) is not None:
                engine.dispose()


def _frozen(
    optuna: Any,
    trial: StoredTrial,
    goal: Goal,
    state: Mapping[str, Any],
    spaces: Mapping[str, BaseDistribution],
) -> Any:
    if trial.state not in FINISHED:
        return None
    known = {
        name: optuna.distributions.json_to_distribution(text)
        for name, text in distributions_of(state, trial).items()
    }
    distributions = {
        name: known.get(name, spaces.get(name))
        for name in trial.params
        if name in {**spaces, **known}
    }
    states = optuna.trial.TrialState
    completed = trial.state == "completed" and trial.result is not None
    constraints = {
        f"constraints:{each}": each.excess(trial.result or {})
        for each in (goal.constraints if completed else ())
    }
    return optuna.trial.create_trial(
        state={"completed": states.COMPLETE, "pruned": states.PRUNED}.get(trial.state, states.FAIL),
        values=list(goal.values(trial.result or {})) if completed else None,
        params={name: trial.params[name] for name in distributions},
        distributions=distributions,
        intermediate_values=trial.reports,
        system_attrs=constraints,
        user_attrs={
            "number": trial.number,
            "seed": trial.seed,
            **{name: value for name, value in trial.params.items() if name not in distributions},
            **{name: value for name, value in (trial.result or {}).items()},
        },
    )


def _inferred(trials: Sequence[StoredTrial]) -> dict[str, BaseDistribution]:
    """Distributions of what Optuna did not propose: the choices that were seen."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    seen: dict[str, list[Any]] = {}
    for trial in trials:
        for name, value in trial.params.items():
            seen.setdefault(name, []).append(value)
    found: dict[str, BaseDistribution] = {}
    for name, values in seen.items():
        kinds = {type(each) for each in values}
        if kinds <= {float, int} and kinds:
            kind = FloatDistribution if float in kinds else IntDistribution
            found[name] = kind(min(values), max(values))
        elif kinds <= {str, bool, int, float, type(None)}:
            found[name] = CategoricalDistribution(list(dict.fromkeys(values)))
    return found
