"""What a policy is told, and what it is asked."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np

Int64Array = np.ndarray[Any, np.dtype[np.int64]]
BoolArray = np.ndarray[Any, np.dtype[np.bool_]]


class Policy(ABC):
    """Decides which rows leave a cache that is full.

    Rows are known by their slot. All arrays are int64 and hold each slot once, except in `read`.
    The cache calls under its lock; a policy need not be thread-safe.

    Attributes:
        selective: Whether it may keep what is there rather than store what comes.
    """

    selective: bool = False

    @abstractmethod
    def resize(self, slots: int) -> None:
        """There are now this many slots, never fewer than before."""

    @abstractmethod
    def inserted(self, slots: Int64Array, ids: Int64Array) -> None:
        """New rows were written to free slots."""

    @abstractmethod
    def read(self, slots: Int64Array, ids: Int64Array) -> None:
        """Rows were read, or written again; a slot may occur several times."""

    @abstractmethod
    def removed(self, slots: Int64Array) -> None:
        """Rows left, whether evicted or deleted; their slots are free."""

    def replaced(self, slots: Int64Array, ids: Int64Array) -> None:
        """New rows were written over rows that left."""
        self.removed(slots)
        self.inserted(slots, ids)

    @abstractmethod
    def victims(self, count: int, evictable: BoolArray) -> Int64Array:
        """Slots whose rows should leave next, the first to leave first.

        Args:
            count: How many at the most.
            evictable: For each slot, whether it holds a row that may leave. Not to be changed.

        Returns:
            Up to ``count`` slots; fewer where fewer may leave.
        """

    @abstractmethod
    def preferred(self, ids: Int64Array) -> Int64Array:
        """Order new rows, not all of which fit.

        Args:
            ids: Ids of the new rows, in the order in which they were given.

        Returns:
            Positions in ``ids``, those of the rows to store first.
        """

    def replaces(self, ids: Int64Array, slots: Int64Array) -> BoolArray:
        """Whether each new row is worth more than the row it would replace, one slot for each."""
        return np.ones(len(ids), bool)

    def missed(self, ids: Int64Array) -> None:  # noqa: B027 (most ignore it)
        """Rows were asked for that were not there; an id may occur several times."""

    def forecast(self, ids: Int64Array, slots: Int64Array) -> None:  # noqa: B027 (most ignore it)
        """These ids will be read, in this order, after those announced before.

        Args:
            ids: Row ids, any of them several times.
            slots: The slot of each, -1 where it is not there.
        """

    def release(self, ids: Int64Array, slots: Int64Array) -> None:  # noqa: B027 (most ignore it)
        """What was announced of these ids no longer holds."""
