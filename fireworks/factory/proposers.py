"""Where parameters come from: the interface, and the proposers that need no further package."""

from __future__ import annotations

import inspect
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast, final

import numpy as np

from fireworks.errors import WrongType, WrongValue, suggest
from fireworks.factory.goal import Goal
from fireworks.factory.records import EarlierTrial, TrialRecord

if TYPE_CHECKING:
    from fireworks.message import Message


class EndSearch(Exception):
    """Raised by a proposer that has nothing more to propose."""


@dataclass
class Memory:
    """What a proposer needs to go on where a process that was killed had stopped.

    Attributes:
        state: Of the proposer itself: JSON values or bytes, by name.
        trials: Of single trials: JSON values, by number.
    """

    state: dict[str, Any] = field(default_factory=dict[str, Any])
    trials: dict[int, Any] = field(default_factory=dict[int, Any])


class Proposer(ABC):
    """Proposes parameters, one trial after another, and hears what became of them.

    Trials are told in the order of their numbers, so what is proposed does not depend on which
    trial happened to be faster. A proposer whose proposals follow from the seed, the number and
    what it was told, needs the three abstract methods alone.
    """

    @abstractmethod
    def begin(self, goal: Goal, seed: int) -> None:
        """Get ready, as if nothing had been proposed yet; called before all else.

        Args:
            goal: What the sweep is after.
            seed: All randomness follows from it.
        """

    @abstractmethod
    def propose(self, number: int) -> Mapping[str, Any]:
        """The parameters of trial ``number``, by name; all JSON values.

        Raises:
            EndSearch: There is nothing more to try.
        """

    @abstractmethod
    def tell(self, record: TrialRecord) -> None:
        """Hear of a finished trial, one that failed included."""

    def adopt(self, number: int, params: Mapping[str, Any]) -> Mapping[str, Any]:
        """Instead of proposing: complete what somebody wants tried as trial ``number``.

        Raises:
            WrongValue: These are no parameters of the space.
        """
        return params

    def learn(self, trials: Sequence[EarlierTrial]) -> None:
        """Take into account what another sweep found; called before anything is proposed.

        Raises:
            WrongValue: It learns nothing from trials, or not from these.
        """
        raise WrongValue(f"{type(self).__name__} learns nothing from the trials of another sweep")

    def remember(self) -> Memory:
        """What changed since the last call, to be recorded together with a proposal."""
        return Memory()

    def recall(self, memory: Memory, records: Sequence[TrialRecord], told: int) -> None:
        """Go on with a sweep; called after ``begin`` and, where there is one, ``learn``.

        Args:
            memory: All that ``remember`` returned, put together.
            records: All trials that were proposed.
            told: How many of them, from the first, it had been told of.
        """
        for record in records[:told]:
            self.tell(record)

    def describe(self) -> Any:
        """The space as JSON, by which a resumed sweep is recognised as the same one."""
        return type(self).__qualname__


@final
class Grid(Proposer):
    """Every combination of the values, once each; the last parameter changes fastest.

    Args:
        values: The values of each parameter, by name.
    """

    def __init__(self, values: Mapping[str, Sequence[Any] | np.ndarray]) -> None:
        self._values = {name: _choices(name, choices) for name, choices in values.items()}
        if not self._values:
            raise WrongValue("a Grid needs at least one parameter")
        self._adopted: list[int] = []  # trials that are no combinations of ours

    def __len__(self) -> int:
        return math.prod(len(choices) for choices in self._values.values())

    def begin(self, goal: Goal, seed: int) -> None:
        """Nothing to do: a grid is its own order."""
        self._adopted.clear()

    def propose(self, number: int) -> Mapping[str, Any]:
        """The next combination."""
        number -= len(self._adopted)
        if number >= len(self):
            raise EndSearch(f"all {len(self)} combinations of the grid were tried")
        params: dict[str, Any] = {}
        for name, choices in reversed(self._values.items()):
            number, index = divmod(number, len(choices))
            params[name] = choices[index]
        return dict(reversed(params.items()))

    def adopt(self, number: int, params: Mapping[str, Any]) -> Mapping[str, Any]:
        """Take it as it is; the combinations are tried nevertheless."""
        _check_names(params, self._values, complete=True)
        self._adopted.append(number)
        return params

    def tell(self, record: TrialRecord) -> None:
        """Nothing to learn."""

    def remember(self) -> Memory:
        """Which trials were none of its combinations."""
        return Memory({"adopted": list(self._adopted)}) if self._adopted else Memory()

    def recall(self, memory: Memory, records: Sequence[TrialRecord], told: int) -> None:
        """Go on with the next combination."""
        self._adopted = list(memory.state.get("adopted", []))

    def describe(self) -> Any:
        """The values."""
        return {"grid": self._values}


@final
class Random(Proposer):
    """Values drawn independently for each trial, from its number and the sweep's seed alone.

    Args:
        values: For each parameter a list to choose from, or one of Optuna's distributions.
    """

    def __init__(self, values: Mapping[str, Any]) -> None:
        if not values:
            raise WrongValue("Random needs at least one parameter")
        self._draws = {name: _draw(name, each) for name, each in values.items()}
        self._described = {name: _described(each) for name, each in values.items()}
        self._seed = 0

    def begin(self, goal: Goal, seed: int) -> None:
        """Take over the seed."""
        self._seed = seed

    def propose(self, number: int) -> Mapping[str, Any]:
        """Values for that trial."""
        generator = np.random.default_rng([self._seed, number])
        return {name: draw(generator) for name, draw in self._draws.items()}

    def adopt(self, number: int, params: Mapping[str, Any]) -> Mapping[str, Any]:
        """Draw what is left open."""
        _check_names(params, self._draws, complete=False)
        return {**self.propose(number), **params}

    def tell(self, record: TrialRecord) -> None:
        """Nothing to learn."""

    def recall(self, memory: Memory, records: Sequence[TrialRecord], told: int) -> None:
        """Nothing to remember: each trial's number says what is drawn."""

    def describe(self) -> Any:
        """The values."""
        return {"random": self._described}


@final
class Blackboard(Proposer):
    """Proposes by a function that sees all that was tried so far.

    Args:
        function: Called with two Messages, one row per finished trial: the parameters (with a
            column ``trial``), and the metrics (with ``trial`` and ``state``). It returns the next
            parameters or raises EndSearch.
    """

    def __init__(self, function: Callable[[Message, Message], Mapping[str, Any]]) -> None:
        self._function = function
        self._told: list[TrialRecord] = []
        self._earlier: list[EarlierTrial] = []

    def begin(self, goal: Goal, seed: int) -> None:
        """Wipe the blackboard."""
        self._told.clear()
        self._earlier.clear()

    def propose(self, number: int) -> Mapping[str, Any]:
        """Ask the function."""
        return self._function(*tables(self._told, self._earlier))

    def tell(self, record: TrialRecord) -> None:
        """Put the trial on the blackboard."""
        self._told.append(record)

    def learn(self, trials: Sequence[EarlierTrial]) -> None:
        """Put the trials of another sweep on the blackboard; their ``trial`` is -1."""
        self._earlier.extend(trials)

    def describe(self) -> Any:
        """Nothing: the function's code says all."""
        return "blackboard"


def tables(
    records: Sequence[TrialRecord], earlier: Sequence[EarlierTrial] = ()
) -> tuple[Message, Message]:
    """The parameters and the metrics of trials, a row for each."""
    import pandas as pd

    from fireworks.message import Message

    params = [{"trial": -1, **each.params} for each in earlier]
    params += [{"trial": each.number, **each.params} for each in records]
    metrics: list[dict[str, Any]] = [
        {"trial": -1, "state": each.state, **(each.result or {})} for each in earlier
    ]
    metrics += [
        {"trial": each.number, "state": each.state, **(each.result or {})} for each in records
    ]
    return Message(pd.DataFrame(params)), Message(pd.DataFrame(metrics))


def as_proposer(propose: object, sampler: object = None) -> Proposer:
    """The proposer that is meant by a function, a dict of distributions, or a proposer.

    Raises:
        WrongType: It is none of these.
        WrongValue: A sampler is given for something that does not sample with Optuna.
        MissingDependency: It needs Optuna, which is not installed.
    """
    if isinstance(propose, (Proposer, type(None))) or (
        callable(propose) and _positional(propose) == 2
    ):
        if sampler is not None:
            raise WrongValue(
                "sampler= is for a function space(trial) or a dict of Optuna's distributions; "
                f"propose is {propose!r}"
            )
        if isinstance(propose, Proposer):
            return propose
        if callable(propose):
            return Blackboard(cast("Any", propose))
    from fireworks.factory.study import StudyProposer

    if isinstance(propose, Mapping) and propose:
        return StudyProposer(dict(propose), sampler)
    if callable(propose) and _positional(propose) == 1:
        return StudyProposer(cast("Any", propose), sampler)
    raise WrongType(
        "propose must be a function space(trial) that returns a dict, a function "
        "(params, metrics), a dict of Optuna's distributions, Grid({...}) or Random({...}); "
        f"got {propose!r}"
    )


def _positional(function: Callable[..., Any]) -> int:
    """How many arguments a function needs."""
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return sum(
        each.kind in kinds and each.default is inspect.Parameter.empty
        for each in inspect.signature(function).parameters.values()
    )


def _check_names(params: Mapping[str, Any], known: Iterable[str], *, complete: bool) -> None:
    """Refuse parameters that the space does not have, or where all are needed, some."""
    names = list(known)
    for name in params:
        if name not in names:
            raise WrongValue(f"the space has no parameter {name!r}.{suggest(name, names)}")
    left = [name for name in names if name not in params]
    if complete and left:
        raise WrongValue(f"parameters are missing that nothing else could fill in: {left}")


def _described(values: Any) -> Any:
    if hasattr(values, "to_internal_repr"):
        return repr(values)
    return _choices("", values)


def _choices(name: str, choices: object) -> list[Any]:
    if isinstance(choices, (str, bytes)) or not isinstance(choices, (Sequence, np.ndarray)):
        raise WrongType(f"the values of {name!r} must be a list, not {choices!r}")
    found = choices.tolist() if isinstance(choices, np.ndarray) else list(choices)
    if not found:
        raise WrongValue(f"the parameter {name!r} has no values")
    return found


def _draw(name: str, values: Any) -> Callable[[np.random.Generator], Any]:
    """A function that draws one value."""
    if not hasattr(values, "to_internal_repr"):
        choices = _choices(name, values)
        return lambda generator: choices[int(generator.integers(len(choices)))]
    if hasattr(values, "choices"):
        return lambda generator: values.choices[int(generator.integers(len(values.choices)))]
    low, high, step, log = values.low, values.high, values.step, values.log
    if isinstance(low, int):
        return lambda generator: _integer(generator, low, high, step, log)
    if step is not None:
        steps = round((high - low) / step)
        return lambda generator: float(low + step * int(generator.integers(steps + 1)))
    if log:
        return lambda generator: _within(
            low, high, math.exp(generator.uniform(math.log(low), math.log(high)))
        )
    return lambda generator: float(generator.uniform(low, high))


def _integer(generator: np.random.Generator, low: int, high: int, step: int, log: bool) -> int:
    if not log:
        return low + step * int(generator.integers((high - low) // step + 1))
    # Each integer owns the interval around it, as Optuna has it.
    drawn = math.exp(generator.uniform(math.log(low - 0.5), math.log(high + 0.5)))
    return int(_within(low, high, round(drawn)))


def _within(low: float, high: float, value: float) -> float:
    return min(max(value, low), high)
