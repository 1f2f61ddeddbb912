"""Where parameters come from: the interface, and the proposers that need no further package."""

from __future__ import annotations

import inspect
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast, final

import numpy as np

from fireworks.errors import WrongType, WrongValue
from fireworks.factory.records import Objective, TrialRecord

if TYPE_CHECKING:
    from fireworks.message import Message


class EndSearch(Exception):
    """Raised by a proposer that has nothing more to propose."""


class Proposer(ABC):
    """Proposes parameters, one trial after another, and hears what became of them.

    Trials are told in the order of their numbers, so what is proposed does not depend on which
    trial happened to be faster.
    """

    @abstractmethod
    def begin(self, objective: Objective, seed: int) -> None:
        """Get ready; called once, before all else.

        Args:
            objective: What the sweep is after.
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

    def __len__(self) -> int:
        return math.prod(len(choices) for choices in self._values.values())

    def begin(self, objective: Objective, seed: int) -> None:
        """Nothing to do: a grid is its own order."""

    def propose(self, number: int) -> Mapping[str, Any]:
        """The combination of that number."""
        if number >= len(self):
            raise EndSearch(f"all {len(self)} combinations of the grid were tried")
        params: dict[str, Any] = {}
        for name, choices in reversed(self._values.items()):
            number, index = divmod(number, len(choices))
            params[name] = choices[index]
        return dict(reversed(params.items()))

    def tell(self, record: TrialRecord) -> None:
        """Nothing to learn."""


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
        self._seed = 0

    def begin(self, objective: Objective, seed: int) -> None:
        """Take over the seed."""
        self._seed = seed

    def propose(self, number: int) -> Mapping[str, Any]:
        """Values for that trial."""
        generator = np.random.default_rng([self._seed, number])
        return {name: draw(generator) for name, draw in self._draws.items()}

    def tell(self, record: TrialRecord) -> None:
        """Nothing to learn."""


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

    def begin(self, objective: Objective, seed: int) -> None:
        """Nothing to do."""

    def propose(self, number: int) -> Mapping[str, Any]:
        """Ask the function."""
        import pandas as pd

        from fireworks.message import Message

        params = [{"trial": each.number, **each.params} for each in self._told]
        metrics = [
            {"trial": each.number, "state": each.state, **(each.result or {})}
            for each in self._told
        ]
        return self._function(Message(pd.DataFrame(params)), Message(pd.DataFrame(metrics)))

    def tell(self, record: TrialRecord) -> None:
        """Put the trial on the blackboard."""
        self._told.append(record)


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
