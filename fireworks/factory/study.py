"""Proposals and prune decisions by Optuna, whose study is kept in memory."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, cast, final

from fireworks.errors import WrongType
from fireworks.factory.proposers import Proposer
from fireworks.factory.records import Objective, TrialRecord
from fireworks.optional import require

if TYPE_CHECKING:
    import optuna
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial, TrialState

# One name for every study: Hyperband's brackets depend on it.
_NAME = "sweep"


def _optuna() -> Any:
    return require("optuna", extra="factory", purpose="Proposing parameters")


@final
class StudyProposer(Proposer):
    """Asks an Optuna study.

    Args:
        space: A define-by-run function, which gets Optuna's trial and returns the parameters; or
            Optuna's distributions by name.
        sampler: An Optuna sampler; by default its TPE, seeded by the sweep.

    Raises:
        WrongType: The sampler or a distribution is none of Optuna's.
        MissingDependency: Optuna is not installed.
    """

    def __init__(
        self, space: Callable[[Any], Mapping[str, Any]] | dict[str, Any], sampler: object = None
    ) -> None:
        optuna = _optuna()
        if sampler is not None and not isinstance(sampler, optuna.samplers.BaseSampler):
            raise WrongType(f"sampler must be one of optuna.samplers, not {sampler!r}")
        for name, each in space.items() if isinstance(space, dict) else ():
            if not isinstance(each, optuna.distributions.BaseDistribution):
                raise WrongType(
                    f"the distribution of {name!r} must be one of optuna.distributions, not "
                    f"{each!r}. For lists of values there are Grid({{...}}) and Random({{...}})."
                )
        self._space = space
        self._sampler = cast("optuna.samplers.BaseSampler | None", sampler)
        self._asked: dict[int, optuna.Trial] = {}

    def begin(self, objective: Objective, seed: int) -> None:
        """Create the study."""
        optuna = _optuna()
        sampler = self._sampler or optuna.samplers.TPESampler(seed=seed % 2**32)
        self._study = _create_study(objective, sampler)

    def propose(self, number: int) -> Mapping[str, Any]:
        """Ask for the next parameters.

        Raises:
            WrongType: The function returns no dict.
        """
        if isinstance(self._space, dict):
            trial = self._study.ask(cast("dict[str, BaseDistribution]", self._space))
            self._asked[number] = trial
            return trial.params
        trial = self._asked[number] = self._study.ask()
        params = self._space(trial)
        if not isinstance(params, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise WrongType(
                f"{getattr(self._space, '__name__', 'propose')}(trial) must return a dict of "
                'parameters such as {"lr": trial.suggest_float("lr", 1e-4, 1e-1, log=True)}, '
                f"not {params!r}"
            )
        return params

    def tell(self, record: TrialRecord) -> None:
        """Tell the study how the trial ended."""
        trial = self._asked.pop(record.number)
        for step, value in record.reports.items():
            trial.report(value, step)
        self._study.tell(trial, values=record.value, state=_state(record))


@final
class Pruning:
    """Has an Optuna pruner decide on reports, from exactly the trials that it was told of.

    Each running trial has a study of its own, with the trials that had been told when it was
    proposed: so a decision does not depend on what other trials have done in the meantime.

    Args:
        pruner: One of Optuna's.
        objective: What the sweep is after.

    Raises:
        WrongType: It is no pruner.
        MissingDependency: Optuna is not installed.
    """

    def __init__(self, pruner: object, objective: Objective) -> None:
        optuna = _optuna()
        if not isinstance(pruner, optuna.pruners.BasePruner):
            raise WrongType(f"pruner must be one of optuna.pruners, not {pruner!r}")
        self._pruner = cast("optuna.pruners.BasePruner", pruner)
        self._objective = objective
        self._told: list[FrozenTrial] = []
        self._visible: dict[int, int] = {}
        self._running: dict[int, optuna.Trial] = {}

    def begin_trial(self, number: int) -> None:
        """Note what the decisions about a trial may see: all that was told until now."""
        self._visible[number] = len(self._told)

    def restart_trial(self, number: int) -> None:
        """Forget what a trial has reported: there will be another attempt."""
        self._running.pop(number, None)

    def decide(self, number: int, step: int, value: float) -> bool:
        """Whether to end the trial, now that it has reported a value."""
        if number not in self._running:
            self._running[number] = self._study_of(number)
        trial = self._running[number]
        trial.report(value, step)
        return bool(trial.should_prune())  # NumPy's, from some pruners

    def tell(self, record: TrialRecord) -> None:
        """Take a finished trial into account for those proposed from now on."""
        optuna = _optuna()
        trial = self._running.pop(record.number, None)
        self._told.append(
            optuna.trial.create_trial(
                state=_state(record),
                value=record.value,
                intermediate_values=dict(record.reports),
                # Where successive halving keeps the rungs that a trial has reached.
                system_attrs=_system_attributes(trial) if trial is not None else {},
            )
        )

    def _study_of(self, number: int) -> optuna.Trial:
        optuna = _optuna()
        never_asked = optuna.samplers.RandomSampler(seed=0)
        study = _create_study(self._objective, never_asked, copy.deepcopy(self._pruner))
        visible = self._visible[number]
        study.add_trials(self._told[:visible])
        for _ in range(visible, number):  # those that still run, so that the numbers agree
            study.add_trial(optuna.trial.create_trial(state=optuna.trial.TrialState.RUNNING))
        return study.ask()


def _create_study(
    objective: Objective,
    sampler: optuna.samplers.BaseSampler,
    pruner: optuna.pruners.BasePruner | None = None,
) -> optuna.Study:
    optuna = _optuna()
    # It would announce each new study on the terminal.
    announcer = logging.getLogger("optuna.storages._in_memory")
    disabled, announcer.disabled = announcer.disabled, True
    try:
        return optuna.create_study(
            study_name=_NAME,
            storage=optuna.storages.InMemoryStorage(),
            direction=objective.direction,
            sampler=sampler,
            pruner=pruner or optuna.pruners.NopPruner(),
        )
    finally:
        announcer.disabled = disabled


def _system_attributes(trial: optuna.Trial) -> dict[str, Any]:
    return dict(trial.study.get_trials(deepcopy=False)[trial.number].system_attrs)


def _state(record: TrialRecord) -> TrialState:
    states = _optuna().trial.TrialState
    return {"completed": states.COMPLETE, "pruned": states.PRUNED}.get(record.state, states.FAIL)
