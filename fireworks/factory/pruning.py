"""Prune decisions by Optuna's pruners.

Imported only where Optuna is there.
"""

from __future__ import annotations

import copy
from collections.abc import Container, Mapping
from typing import Any, final

from optuna.pruners import BasePruner
from optuna.storages import InMemoryStorage
from optuna.trial import FrozenTrial, TrialState, create_trial

from fireworks.errors import WrongValue
from fireworks.factory.goal import Goal
from fireworks.factory.ledger import make_study
from fireworks.factory.records import TrialRecord
from fireworks.factory.samplers import make_pruner
from fireworks.factory.study import study_state


@final
class _Window(InMemoryStorage):
    """Holds all trials, and shows of them what the decision about one of them may see."""

    def __init__(self) -> None:
        super().__init__()
        self.deciding = 0
        self.told: dict[int, int] = {}
        self._blank: list[FrozenTrial] = []

    def begin_trial(self, study_id: int, told: int, system_attrs: Mapping[str, Any]) -> int:
        """Add a running trial; returns its id."""
        trial = self.create_new_trial(study_id, create_trial(state=TrialState.RUNNING))
        # Every change makes another object: this one stays as it is, and without what the pruner
        # notes later, or noted in an earlier process: decisions that may not see it do not.
        self._blank.append(self.get_trial(trial))
        self.told[trial] = told
        for key, value in system_attrs.items():
            self.set_trial_system_attr(trial, key, value)
        return trial

    def reset_trial(self, trial: int) -> None:
        """Make a running trial as it was when it began."""
        self._set_trial(trial, self._blank[trial])

    def get_all_trials(
        self,
        study_id: int,
        deepcopy: bool = True,
        states: Container[TrialState] | None = None,
    ) -> list[FrozenTrial]:
        """The trials that had been told when the deciding one was proposed, and that one."""
        trials = super().get_all_trials(study_id, deepcopy=False)
        told = self.told[self.deciding]
        shown = [
            *trials[:told],
            *self._blank[told : self.deciding],
            trials[self.deciding],
        ]
        if states is not None:
            shown = [each for each in shown if each.state in states]
        return copy.deepcopy(shown) if deepcopy else shown


@final
class Pruning:
    """Has an Optuna pruner decide on reports, from exactly the trials that it may know.

    A trial is judged by those that had been told when it was proposed: so a decision does not
    depend on what other trials have done in the meantime.

    Args:
        pruner: One of Optuna's, or the name of one.
        goal: What the sweep is after.

    Raises:
        WrongType: It is no pruner.
        WrongValue: There is no pruner of that name, or there are several objectives.
        MissingDependency: A package that it needs is not installed.
    """

    def __init__(self, pruner: object, goal: Goal) -> None:
        self._pruner: BasePruner = make_pruner(pruner)
        if len(goal.objectives) > 1:
            raise WrongValue(
                "a pruner compares trials by one value: with several objectives "
                f"({goal}) there is no pruning"
            )
        self._goal = goal
        self.begin()

    def begin(self) -> None:
        """Forget all trials."""
        self._storage = _Window()
        self._study = make_study(self._goal, self._storage)
        self._id = self._storage.get_study_id_from_name(self._study.study_name)
        # Some estimate a resource from the first trials they see, and keep it.
        self._pruners: dict[int, BasePruner] = {}

    def begin_trial(
        self, number: int, told: int, attributes: Mapping[str, Any] | None = None
    ) -> None:
        """Add the next trial.

        Args:
            number: The trial.
            told: What the decisions about it may see: the trials below this number.
            attributes: What the pruner keeps with it, where it ran in an earlier process.
        """
        trial = self._storage.begin_trial(self._id, told, attributes or {})
        assert trial == number

    def restart_trial(self, number: int, reports: Mapping[int, float]) -> None:
        """Go back to what a trial had reported up to the checkpoint that it goes on from."""
        self._pruners.pop(number, None)
        self._storage.reset_trial(number)
        for step, value in reports.items():
            self.decide(number, step, value)

    def decide(self, number: int, step: int, value: float) -> bool:
        """Whether to end the trial, now that it has reported a value."""
        if number not in self._pruners:
            self._pruners[number] = copy.deepcopy(self._pruner)
        self._storage.set_trial_intermediate_value(number, step, value)
        self._storage.deciding = number
        pruned = self._pruners[number].prune(self._study, self._storage.get_trial(number))
        return bool(pruned)  # NumPy's, from some pruners

    def tell(self, record: TrialRecord) -> dict[str, Any]:
        """Take a finished trial into account for those proposed from now on.

        Returns:
            What the pruner keeps with it: where successive halving notes the rungs it reached.
        """
        trial = record.number
        self._pruners.pop(trial, None)
        for step, value in record.reports.items():
            self._storage.set_trial_intermediate_value(trial, step, value)
        values = None if record.values is None else list(record.values)
        self._storage.set_trial_state_values(trial, study_state(record.state), values)
        return dict(self._storage.get_trial(trial).system_attrs)
