"""Proposals by Optuna, whose study is kept in memory."""

from __future__ import annotations

import logging
import pickle
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast, final

from fireworks.errors import WrongType, WrongValue, suggest
from fireworks.factory.goal import Goal
from fireworks.factory.proposers import EndSearch, Memory, Proposer
from fireworks.factory.records import EarlierTrial, State, TrialRecord
from fireworks.factory.samplers import check_sampler, make_sampler
from fireworks.optional import require

if TYPE_CHECKING:
    import optuna
    from optuna.distributions import BaseDistribution
    from optuna.trial import TrialState

logger = logging.getLogger("fireworks.factory")


def _optuna() -> Any:
    return require("optuna", extra="factory", purpose="Proposing parameters")


@final
class StudyProposer(Proposer):
    """Asks an Optuna study.

    Args:
        space: A define-by-run function, which gets Optuna's trial and returns the parameters; or
            Optuna's distributions by name.
        sampler: An Optuna sampler, or the name of one; by default its TPE, seeded by the sweep.

    Raises:
        WrongType: The sampler or a distribution is none of Optuna's.
        WrongValue: There is no sampler of that name.
        MissingDependency: Optuna, or a package that the sampler needs, is not installed.
    """

    def __init__(
        self, space: Callable[[Any], Mapping[str, Any]] | dict[str, Any], sampler: object = None
    ) -> None:
        optuna = _optuna()
        check_sampler(sampler)
        for name, each in space.items() if isinstance(space, dict) else ():
            if not isinstance(each, optuna.distributions.BaseDistribution):
                raise WrongType(
                    f"the distribution of {name!r} must be one of optuna.distributions, not "
                    f"{each!r}. For lists of values there are Grid({{...}}) and Random({{...}})."
                )
        self._space = space
        self._sampler = cast("optuna.samplers.BaseSampler | str | None", sampler)
        # A sampler's state changes: each sweep, and each resumption, begins with the one given.
        self._pristine = None if sampler is None or isinstance(sampler, str) else _pickled(sampler)

    def begin(self, goal: Goal, seed: int) -> None:
        """Create the study."""
        from fireworks.factory.ledger import Ledger, make_study

        given = self._sampler if self._pristine is None else pickle.loads(self._pristine)
        self._goal = goal
        self._storage = Ledger()
        self._study = make_study(goal, self._storage, make_sampler(given, seed))
        self._id = self._storage.get_study_id_from_name(self._study.study_name)
        self._earlier = 0  # trials of another sweep, which come before ours
        self._ended = False  # whether the sampler has seen all that it wants to
        self._saved = b""

    def propose(self, number: int) -> Mapping[str, Any]:
        """Ask for the next parameters.

        Raises:
            WrongType: The function returns no dict.
            WrongValue: The function asks for a parameter in another way than it did before.
            EndSearch: The sampler has tried everything.
        """
        if self._ended:
            raise EndSearch("the sampler has tried everything")
        name = getattr(self._space, "__name__", "propose")
        try:
            if isinstance(self._space, dict):
                return self._study.ask(cast("dict[str, BaseDistribution]", self._space)).params
            params = self._space(self._study.ask())
        except ValueError as error:
            if "dynamic value space" not in str(error):
                raise
            raise WrongValue(
                f"{name} asks for a parameter in another way than for earlier trials: {error} "
                "Give it another name where its choices change."
            ) from error
        if not isinstance(params, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise WrongType(
                f"{name}(trial) must return a dict of "
                'parameters such as {"lr": trial.suggest_float("lr", 1e-4, 1e-1, log=True)}, '
                f"not {params!r}"
            )
        return params

    def adopt(self, number: int, params: Mapping[str, Any]) -> Mapping[str, Any]:
        """Have the sampler fill in what is left open.

        Raises:
            WrongValue: The space has no such parameter, or not with this value.
        """
        if isinstance(self._space, dict):
            for name, value in params.items():
                self._check_value(name, value, self._space)
        self._study.enqueue_trial(dict(params))
        proposed = self.propose(number)
        asked = self._storage.get_all_trials(self._id, deepcopy=False)[-1].params
        for name in params:
            if name not in asked:
                raise WrongValue(
                    f"the space asked for no parameter {name!r}, which was enqueued; it asked for "
                    f"{', '.join(map(repr, asked)) or 'none'}.{suggest(name, asked)}"
                )
        return proposed

    def tell(self, record: TrialRecord) -> None:
        """Tell the study how the trial ended."""
        number = record.number + self._earlier
        trial = self._storage.get_trial_id_from_study_id_trial_number(self._id, number)
        for step, value in record.reports.items():
            self._storage.set_trial_intermediate_value(trial, step, value)
        if record.values is not None and record.result is not None:
            for each in self._goal.constraints:
                # As Trial.set_constraint does it, for which there is no trial any more.
                key = f"constraints:{each}"
                self._storage.set_trial_system_attr(trial, key, each.excess(record.result))
        values = None if record.values is None else list(record.values)
        try:
            self._study.tell(number, values=values, state=study_state(record.state))
        except RuntimeError as error:
            # So a sampler ends an optimization; it expects to be in one.
            if "Study.stop" not in str(error):
                raise
            self._ended = True

    def learn(self, trials: Sequence[EarlierTrial]) -> None:
        """Add the trials of another sweep to the study.

        Raises:
            WrongValue: A parameter's distribution is not known, or none of the trials fits.
        """
        from optuna.distributions import check_distribution_compatibility, json_to_distribution
        from optuna.trial import create_trial

        misfit = ""
        ours = self._space if isinstance(self._space, dict) else {}
        for each in trials:
            known = {name: json_to_distribution(text) for name, text in each.distributions.items()}
            space = {**ours, **known}
            values = None
            if each.state == "completed" and each.result is not None:
                missing = [name for name in self._goal.metrics if name not in each.result]
                if missing:
                    misfit = f"its results have no {missing[0]!r}"
                    continue
                values = list(self._goal.values(each.result))
            try:
                for name in known.keys() & ours.keys():
                    check_distribution_compatibility(known[name], ours[name])
                trial = create_trial(
                    state=study_state(each.state),
                    values=values,
                    params={name: value for name, value in each.params.items() if name in space},
                    distributions={name: space[name] for name in each.params if name in space},
                )
                self._study.add_trial(trial)
            except ValueError as error:
                misfit = str(error)
                continue
            self._earlier += 1
        if not self._earlier:
            raise WrongValue(
                f"no trial of the earlier sweep is of use here: {misfit or 'it has none'}"
            )
        self._storage.forget_changes()

    def remember(self) -> Memory:
        """What changed in the study, and the sampler's own state."""
        memory = self._storage.changes(self._id, self._earlier)
        saved = _pickled(self._study.sampler)
        if saved is not None and saved != self._saved:
            memory.state["sampler"] = self._saved = saved
        if self._ended:
            memory.state["ended"] = True
        return memory

    def recall(self, memory: Memory, records: Sequence[TrialRecord], told: int) -> None:
        """Put the study together again."""
        given = self._study.sampler
        # What is told here, the sampler has heard: its state is put back afterwards.
        self._study.sampler = _optuna().samplers.RandomSampler(seed=0)
        self._storage.restore(
            self._id, memory.state, [memory.trials.get(each.number) for each in records]
        )
        for record in records[:told]:
            self.tell(record)
        self._ended = bool(memory.state.get("ended"))
        saved = memory.state.get("sampler")
        sampler = pickle.loads(saved) if saved else given
        # Another sampler than before is what a user has insisted on.
        self._study.sampler = sampler if type(sampler) is type(given) else given
        self._saved = saved or b""
        self._storage.forget_changes()

    def describe(self) -> Any:
        """The distributions, where there is a dict of them, and the sampler's name."""
        optuna = _optuna()
        sampler = make_sampler(self._sampler, 0)
        return {
            "sampler": type(sampler).__name__,
            "space": {
                name: optuna.distributions.distribution_to_json(each)
                for name, each in self._space.items()
            }
            if isinstance(self._space, dict)
            else None,
        }

    def _check_value(self, name: str, value: Any, space: Mapping[str, Any]) -> None:
        if name not in space:
            raise WrongValue(f"the space has no parameter {name!r}.{suggest(name, space)}")
        distribution = space[name]
        try:
            inside = distribution._contains(distribution.to_internal_repr(value))
        except (ValueError, TypeError):
            inside = False
        if not inside:
            raise WrongValue(f"{name!r} cannot be {value!r}: it is outside {distribution}")


def study_state(state: State) -> TrialState:
    """What Optuna calls the state of a finished trial."""
    states = _optuna().trial.TrialState
    return {"completed": states.COMPLETE, "pruned": states.PRUNED}.get(state, states.FAIL)


def _pickled(sampler: object) -> bytes | None:
    """A sampler's state; the one thing that is pickled, because samplers know no other way."""
    try:
        return pickle.dumps(sampler)
    except Exception:  # it holds a function of the user's
        pass
    import cloudpickle

    try:
        return cloudpickle.dumps(sampler)
    except Exception as error:
        logger.warning(
            "the state of %s cannot be saved (%s): a resumed sweep would propose otherwise",
            type(sampler).__name__,
            error,
        )
        return None
