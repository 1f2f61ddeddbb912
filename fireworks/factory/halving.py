"""Successive halving that pauses trials and goes on with the best of them from their checkpoints.

After Jamieson and Talwalkar, "Non-stochastic best arm identification and hyperparameter
optimization" (2016), with brackets of a fixed size, so that the search learns between them.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, final

from fireworks.errors import WrongType, WrongValue
from fireworks.factory.goal import Goal, Objective
from fireworks.factory.records import TrialRecord


@final
@dataclass(frozen=True)
class Halving:
    """Gives every trial a few epochs, the better ones more, and few of them all.

    Trials come in brackets of ``factor ** (rungs - 1)``. Each is paused when it reports
    ``min_epochs``; when all of its bracket are, the best of them (one in ``factor``, at least one)
    go on from their last checkpoint to the next rung, ``factor`` times as far, and the others are
    pruned. What goes on at ``max_epochs`` is not paused any more.

    A decision depends on the trials of one bracket alone, and the proposals for a bracket on the
    brackets before the last: so a sweep is the same for any number of workers. A bracket that is
    not full when the sweep has its trials is decided on with those it has.

    `Trial.attach` writes a checkpoint at every epoch, and goes on from it. A ``train`` without it
    begins anew when it is promoted, or takes up what it saved itself.

    Args:
        min_epochs: The step of the report at which a trial is paused first.
        max_epochs: Where ``train`` ends by itself.
        factor: One trial in so many is promoted, to so many times the epochs.

    Raises:
        WrongType: A number that is not an int.
        WrongValue: Numbers between which there is no rung.
    """

    min_epochs: int = 1
    max_epochs: int = 9
    factor: int = 3

    def __post_init__(self) -> None:
        for name in ("min_epochs", "max_epochs", "factor"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int):
                raise WrongType(f"{name} must be an int, not {value!r}")
        if self.min_epochs < 1 or self.factor < 2:
            raise WrongValue(
                "Halving needs min_epochs of at least 1 and a factor of at least 2; got "
                f"min_epochs={self.min_epochs}, factor={self.factor}"
            )
        if self.max_epochs <= self.min_epochs:
            raise WrongValue(
                f"max_epochs={self.max_epochs} must be more than min_epochs={self.min_epochs}: "
                "trials are paused in between"
            )

    @property
    def rungs(self) -> list[int]:
        """The steps at which trials are paused."""
        rungs = [self.min_epochs]
        while rungs[-1] * self.factor < self.max_epochs:
            rungs.append(rungs[-1] * self.factor)
        return rungs

    @property
    def bracket_size(self) -> int:
        """How many trials are compared: so many that one of them is left at the end."""
        return self.factor ** len(self.rungs)


def check_scheduler(scheduler: object, goal: Goal) -> Halving | None:
    """The scheduler that was given, or None.

    Raises:
        WrongType: It is something else.
        WrongValue: There are several objectives, by which a rung cannot be ordered.
    """
    if scheduler is None:
        return None
    if not isinstance(scheduler, Halving):
        raise WrongType(f"scheduler must be Halving(...), not {scheduler!r}")
    if len(goal.objectives) > 1:
        raise WrongValue(f"Halving compares trials by one value; there are several: {goal}")
    return scheduler


@dataclass
class _Bracket:
    """Trials that are compared with each other.

    Attributes:
        first: The number of the first one.
        levels: How often each was promoted; the trials follow one another in number.
        closed: Whether no more trials come to it.
    """

    first: int
    levels: list[int] = field(default_factory=list[int])
    closed: bool = False


@dataclass(frozen=True)
class Decision:
    """What becomes of the trials of a rung.

    Attributes:
        promoted: Those to go on with, the best first.
        pruned: Those to end.
        state: What to record of it, by name.
    """

    promoted: list[TrialRecord]
    pruned: list[TrialRecord]
    state: dict[str, Any]


@final
class Brackets:
    """The brackets of one sweep.

    Args:
        halving: The numbers.
        objective: What the sweep is after.
    """

    def __init__(self, halving: Halving, objective: Objective) -> None:
        self._rungs = halving.rungs
        self._size = halving.bracket_size
        self._factor = halving.factor
        self._objective = objective
        self._brackets: list[_Bracket] = []
        self._decided = 0  # nothing is left to decide on the brackets before this one

    def horizon(self) -> int:
        """The next proposal is to know exactly the trials below the number returned."""
        back = 1 if self._begins_another() else 2
        return self._brackets[-back].first if len(self._brackets) >= back else 0

    def add(self, number: int) -> None:
        """Take in the next trial."""
        if self._begins_another():
            self._brackets.append(_Bracket(number))
        bracket = self._brackets[-1]
        bracket.levels.append(0)
        bracket.closed = len(bracket.levels) == self._size

    def close(self) -> dict[str, Any]:
        """Decide on the last bracket with the trials that it has: there will be no more.

        Returns:
            What to record of it, by name; nothing where it was closed before.
        """
        if self._begins_another():
            return {}
        self._brackets[-1].closed = True
        return self._described(len(self._brackets) - 1)

    def pauses(self, number: int, step: int) -> bool:
        """Whether a trial is to pause, now that it has reported a step."""
        bracket = self._bracket_of(number)
        level = bracket.levels[number - bracket.first]
        return level < len(self._rungs) and step >= self._rungs[level]

    def decide(self, trials: Sequence[TrialRecord]) -> list[Decision]:
        """What can be decided now, of the trials of the whole sweep."""
        decisions: list[Decision] = []
        for index in range(self._decided, len(self._brackets)):
            bracket = self._brackets[index]
            members = trials[bracket.first : bracket.first + len(bracket.levels)]
            if not bracket.closed or any(each.state in ("queued", "running") for each in members):
                continue
            paused = [each for each in members if each.state == "paused"]
            if paused:
                decisions.append(self._decide(index, paused, members))
            elif index == self._decided:
                self._decided += 1
        return decisions

    def recall(self, trials: Sequence[TrialRecord], state: Mapping[str, Any]) -> None:
        """Go on with a sweep whose trials, and the states of earlier decisions, are given."""
        self._brackets.clear()
        self._decided = 0
        while (number := sum(len(each.levels) for each in self._brackets)) < len(trials):
            size = min(self._size, len(trials) - number)
            closed: list[int] | None = state.get(f"bracket/{len(self._brackets)}")
            levels = [0] * size if closed is None else list(closed)
            self._brackets.append(
                _Bracket(number, levels, closed is not None or size == self._size)
            )

    def _begins_another(self) -> bool:
        return not self._brackets or self._brackets[-1].closed

    def _bracket_of(self, number: int) -> _Bracket:
        index = bisect_right(self._brackets, number, key=lambda each: each.first)
        return self._brackets[index - 1]

    def _decide(
        self, index: int, paused: Sequence[TrialRecord], members: Sequence[TrialRecord]
    ) -> Decision:
        bracket = self._brackets[index]
        level = min(bracket.levels[each.number - bracket.first] for each in paused)
        rung = [each for each in paused if bracket.levels[each.number - bracket.first] == level]
        # Those that failed there count as losers: the fewer are left, the fewer are promoted.
        entered = sum(each >= level for each in bracket.levels)
        keep = max(1, entered // self._factor)
        best_first = sorted(rung, key=self._rank)
        promoted, pruned = best_first[:keep], best_first[keep:]
        for each in promoted:
            bracket.levels[each.number - bracket.first] += 1
        return Decision(promoted, pruned, self._described(index))

    def _described(self, index: int) -> dict[str, Any]:
        """A closed bracket as JSON."""
        return {f"bracket/{index}": list(self._brackets[index].levels)}

    def _rank(self, record: TrialRecord) -> tuple[bool, float, int]:
        value = record.reports[max(record.reports)]
        bad = math.isnan(value)
        return bad, 0.0 if bad else self._objective.best_first(value), record.number
