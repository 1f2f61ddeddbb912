"""Optuna's study in memory, and what changed in it since it was last recorded.

Imported only where Optuna is there.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any, final

import optuna
from optuna.distributions import (
    BaseDistribution,
    distribution_to_json,
    json_to_distribution,
)
from optuna.storages import InMemoryStorage
from optuna.trial import FrozenTrial, TrialState

from fireworks.factory.goal import Goal
from fireworks.factory.proposers import Memory

# One name for every study: Hyperband's brackets depend on it.
STUDY_NAME = "sweep"


@final
class Ledger(InMemoryStorage):
    """Keeps a study in memory, and notes which of its parts were written to."""

    def __init__(self) -> None:
        super().__init__()
        self.changed_trials: set[int] = set()
        self.changed_attributes: set[str] = set()
        self._distributions: dict[str, int] = {}

    def set_trial_param(
        self,
        trial_id: int,
        param_name: str,
        param_value_internal: float,
        distribution: BaseDistribution,
    ) -> None:
        """Set a parameter of a trial."""
        super().set_trial_param(trial_id, param_name, param_value_internal, distribution)
        self.changed_trials.add(trial_id)

    def set_trial_user_attr(self, trial_id: int, key: str, value: Any) -> None:
        """Set an attribute of a trial."""
        super().set_trial_user_attr(trial_id, key, value)
        self.changed_trials.add(trial_id)

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        """Set an attribute of a trial that a sampler or pruner keeps."""
        super().set_trial_system_attr(trial_id, key, value)
        self.changed_trials.add(trial_id)

    def set_study_system_attr(self, study_id: int, key: str, value: Any) -> None:
        """Set an attribute of the study that a sampler keeps."""
        super().set_study_system_attr(study_id, key, value)
        self.changed_attributes.add(key)

    def changes(self, study_id: int, first: int) -> Memory:
        """What changed since the last call.

        Args:
            study_id: The study.
            first: Number in the study of the sweep's first trial; those before it are not ours.
        """
        memory = Memory()
        attributes = self.get_study_system_attrs(study_id)
        for key in self.changed_attributes:
            memory.state[f"study/{key}"] = attributes[key]
        for trial_id in sorted(self.changed_trials):
            trial = self.get_trial(trial_id)
            if trial.number >= first:
                memory.trials[trial.number - first] = self._described(trial, memory.state)
        self.forget_changes()
        return memory

    def forget_changes(self) -> None:
        """Take all that is there for recorded."""
        self.changed_trials.clear()
        self.changed_attributes.clear()

    def restore(
        self,
        study_id: int,
        state: Mapping[str, Any],
        memories: Sequence[Mapping[str, Any] | None],
    ) -> None:
        """Put back what ``changes`` returned: the study's attributes, and its trials as running."""
        distributions: dict[int, BaseDistribution] = {}
        for key, value in state.items():
            kind, _, name = key.partition("/")
            if kind == "study":
                self.set_study_system_attr(study_id, name, value)
            elif kind == "distribution":
                distributions[int(name)] = json_to_distribution(value)
                self._distributions[value] = int(name)
        for memory in memories:
            found = memory or {}
            params: dict[str, tuple[int, float]] = found.get("params", {})
            kinds = {name: distributions[index] for name, (index, _) in params.items()}
            self.create_new_trial(
                study_id,
                optuna.trial.create_trial(
                    state=TrialState.RUNNING,
                    params={
                        name: kinds[name].to_external_repr(value)
                        for name, (_, value) in params.items()
                    },
                    distributions=kinds,
                    user_attrs=found.get("user", {}),
                    system_attrs=found.get("system", {}),
                ),
            )

    def _described(self, trial: FrozenTrial, state: dict[str, Any]) -> dict[str, Any]:
        """A trial as JSON; its distributions go into the state, each once."""
        params: dict[str, tuple[int, float]] = {}
        for name, value in trial.params.items():
            distribution = trial.distributions[name]
            described = distribution_to_json(distribution)
            if described not in self._distributions:
                index = self._distributions[described] = len(self._distributions)
                state[f"distribution/{index}"] = described
            params[name] = (
                self._distributions[described],
                float(distribution.to_internal_repr(value)),
            )
        described_trial: dict[str, Any] = {"params": params}
        if trial.user_attrs:
            described_trial["user"] = dict(trial.user_attrs)
        if trial.system_attrs:
            described_trial["system"] = dict(trial.system_attrs)
        return described_trial


def make_study(
    goal: Goal, storage: InMemoryStorage, sampler: optuna.samplers.BaseSampler | None = None
) -> optuna.Study:
    """A study in a storage, which is announced to nobody.

    Without a sampler, one is given that is never asked.
    """
    # Optuna would announce each new study on the terminal.
    announcer = logging.getLogger("optuna.storages._in_memory")
    disabled, announcer.disabled = announcer.disabled, True
    try:
        return optuna.create_study(
            study_name=STUDY_NAME,
            storage=storage,
            directions=[each.direction for each in goal.objectives],
            sampler=sampler or optuna.samplers.RandomSampler(seed=0),
            pruner=optuna.pruners.NopPruner(),
        )
    finally:
        announcer.disabled = disabled


def distributions_of(state: Mapping[str, Any], memory: Mapping[str, Any] | None) -> dict[str, str]:
    """The distributions of a recorded trial's parameters, as JSON by name."""
    params: dict[str, tuple[int, float]] = (memory or {}).get("params", {})
    return {name: state[f"distribution/{index}"] for name, (index, _) in params.items()}
