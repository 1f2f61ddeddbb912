"""The trials of a sweep as a sequence that also counts them and knows the best."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import final, overload

from fireworks.factory.goal import Goal
from fireworks.factory.records import FINISHED, State, TrialRecord, best_of


@final
class Trials(Sequence[TrialRecord]):
    """All trials of a sweep, by number.

    Counts and the best are kept as the trials change: asking for them takes the same time however
    many trials there are.

    Args:
        goal: What the sweep is after.

    Attributes:
        goal: What the sweep is after.
        counts: How many trials there are in each state.
        best: The best that completed and keeps to the constraints; None before there is one.
    """

    def __init__(self, goal: Goal) -> None:
        self.goal = goal
        self.counts: Counter[State] = Counter()
        self.best: TrialRecord | None = None
        self._records: list[TrialRecord] = []

    @overload
    def __getitem__(self, index: int) -> TrialRecord: ...
    @overload
    def __getitem__(self, index: slice) -> list[TrialRecord]: ...
    def __getitem__(self, index: int | slice) -> TrialRecord | list[TrialRecord]:
        return self._records[index]

    def __len__(self) -> int:
        return len(self._records)

    def __iter__(self) -> Iterator[TrialRecord]:
        return iter(self._records)

    @property
    def finished(self) -> int:
        """How many nothing more will become of."""
        return sum(self.counts[state] for state in FINISHED)

    def add(self, record: TrialRecord) -> None:
        """Take in the next trial."""
        assert record.number == len(self._records)
        self._records.append(record)
        self.counts[record.state] += 1
        self._consider(record)

    def clear(self) -> None:
        """Forget all trials."""
        self._records.clear()
        self.counts.clear()
        self.best = None

    def change(self, record: TrialRecord, state: State) -> None:
        """Give one of the trials another state; its values are those of that state already."""
        self.counts[record.state] -= 1
        self.counts[state] += 1
        record.state = state
        self._consider(record)

    def _consider(self, record: TrialRecord) -> None:
        candidates = [record] if self.best is None else [self.best, record]
        self.best = best_of(candidates, self.goal)
