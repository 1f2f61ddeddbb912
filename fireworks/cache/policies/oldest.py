"""First in, first out; and least recently used: the same queue, stamped at other times."""

from __future__ import annotations

import numpy as np

from fireworks.cache.policies.policy import BoolArray, Int64Array, Policy
from fireworks.cache.policies.queue import SlotQueue


class Oldest(Policy):
    """Evicts the row that was inserted, or that was last used, longest ago; exact.

    Args:
        renewed: Whether reading a row, or writing it again, makes it the newest.
    """

    def __init__(self, *, renewed: bool) -> None:
        self._renewed = renewed
        self._queue = SlotQueue()

    def resize(self, slots: int) -> None:
        self._queue.resize(slots)

    def inserted(self, slots: Int64Array, ids: Int64Array) -> None:
        self._queue.stamp(slots)

    def read(self, slots: Int64Array, ids: Int64Array) -> None:
        if self._renewed:
            self._queue.stamp(slots)

    def removed(self, slots: Int64Array) -> None:
        self._queue.remove(slots)

    def replaced(self, slots: Int64Array, ids: Int64Array) -> None:
        self._queue.stamp(slots)

    def victims(self, count: int, evictable: BoolArray) -> Int64Array:
        return self._queue.first(count, evictable)

    def preferred(self, ids: Int64Array) -> Int64Array:
        return np.arange(len(ids))[::-1]  # the last ones, as if they had come one by one
