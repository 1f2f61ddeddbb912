"""Optuna's samplers and pruners by their names."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any, cast

from fireworks.errors import WrongType, WrongValue, suggest
from fireworks.optional import require

if TYPE_CHECKING:
    from optuna.pruners import BasePruner
    from optuna.samplers import BaseSampler

    from fireworks.factory.goal import Goal
    from fireworks.factory.pruning import Pruning

_SAMPLERS = {
    "tpe": "TPESampler",
    "random": "RandomSampler",
    "cma-es": "CmaEsSampler",
    "gp": "GPSampler",
    "nsga-ii": "NSGAIISampler",
    "nsga-iii": "NSGAIIISampler",
    "qmc": "QMCSampler",
    "brute-force": "BruteForceSampler",
}
_NEEDS = {"cma-es": ["cmaes"], "gp": ["scipy"], "qmc": ["scipy"]}
_PRUNERS = {
    "median": "MedianPruner",
    "successive-halving": "SuccessiveHalvingPruner",
    "hyperband": "HyperbandPruner",
    "wilcoxon": "WilcoxonPruner",
}


def check_sampler(sampler: object) -> None:
    """Check that it is one of Optuna's samplers, the name of one, or None.

    Raises:
        WrongType: It is something else.
        WrongValue: There is no sampler of that name; the nearest is offered.
        MissingDependency: A package that it needs is not installed.
    """
    if isinstance(sampler, str):
        _check_name("sampler", sampler, _SAMPLERS)
        for package in _NEEDS.get(sampler, []):
            require(package, extra="samplers", purpose=f"sampler={sampler!r}")
    elif sampler is not None and not isinstance(sampler, _optuna().samplers.BaseSampler):
        raise WrongType(
            f"sampler must be one of optuna.samplers, or one of {_listed(_SAMPLERS)}; "
            f"got {sampler!r}"
        )


def make_sampler(sampler: BaseSampler | str | None, seed: int) -> BaseSampler:
    """The sampler that is meant: by a name it is seeded, None is TPE."""
    if sampler is not None and not isinstance(sampler, str):
        return sampler
    optuna = _optuna()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return getattr(optuna.samplers, _SAMPLERS[sampler or "tpe"])(seed=seed % 2**32)


def make_pruning(pruner: object, goal: Goal) -> Pruning | None:
    """What decides on reports with a pruner, or None without one; raises as `Pruning`."""
    if pruner is None:
        return None
    _optuna()
    from fireworks.factory.pruning import Pruning

    return Pruning(pruner, goal)


def make_pruner(pruner: object) -> BasePruner:
    """The pruner that is meant: one of Optuna's, or the name of one.

    Raises:
        WrongType: It is something else.
        WrongValue: There is no pruner of that name; the nearest is offered.
        MissingDependency: A package that it needs is not installed.
    """
    optuna = _optuna()
    if isinstance(pruner, optuna.pruners.BasePruner):
        return cast("BasePruner", pruner)
    if not isinstance(pruner, str):
        raise WrongType(
            f"pruner must be one of optuna.pruners, or one of {_listed(_PRUNERS)}; got {pruner!r}"
        )
    _check_name("pruner", pruner, _PRUNERS)
    if pruner == "wilcoxon":
        require("scipy", extra="samplers", purpose="pruner='wilcoxon'")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return getattr(optuna.pruners, _PRUNERS[pruner])()


def _optuna() -> Any:
    return require("optuna", extra="factory", purpose="Proposing parameters")


def _check_name(what: str, name: str, known: dict[str, str]) -> None:
    if name not in known:
        raise WrongValue(
            f"there is no {what} {name!r}; there are {_listed(known)}, and the objects of "
            f"optuna.{what}s.{suggest(name, known)}"
        )


def _listed(known: dict[str, str]) -> str:
    return ", ".join(repr(each) for each in known)
