"""Least frequently used, with ageing."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from fireworks.cache.policies.policy import BoolArray, Int64Array, Policy
from fireworks.cache.policies.queue import SlotQueue

HIGHEST = 15  # uses are counted up to here
PERIOD = 10  # counts are halved after this many uses per slot


class LFU(Policy):
    """Evicts the row used least often, of several the one used longest ago.

    Counts are halved whenever there were ten uses per slot, so that what was popular once can
    leave. (Aged counters as in TinyLFU: Einziger, Friedman and Manes, 2017.)
    """

    def __init__(self) -> None:
        self._queues = [SlotQueue() for _ in range(HIGHEST + 1)]
        self._counts = np.empty(0, np.int64)
        self._uses = 0

    def resize(self, slots: int) -> None:
        counts = np.zeros(slots, np.int64)
        counts[: len(self._counts)] = self._counts
        self._counts = counts
        for queue in self._queues:
            queue.resize(slots)

    def inserted(self, slots: Int64Array, ids: Int64Array) -> None:
        self._counts[slots] = 1
        self._queues[1].stamp(slots)
        self._used(len(slots))

    def read(self, slots: Int64Array, ids: Int64Array) -> None:
        slots, uses = np.unique(slots, return_counts=True)
        old = self._counts.take(slots)
        new = np.minimum(old + uses, HIGHEST)
        self._counts[slots] = new
        for count, group in _grouped(slots, old):
            self._queues[count].remove(group)
        for count, group in _grouped(slots, new):
            self._queues[count].stamp(group)
        self._used(int(uses.sum()))

    def removed(self, slots: Int64Array) -> None:
        for count, group in _grouped(slots, self._counts.take(slots)):
            self._queues[count].remove(group)
        self._counts[slots] = 0

    def victims(self, count: int, evictable: BoolArray) -> Int64Array:
        chosen: list[Int64Array] = []
        for queue in self._queues:
            if count > 0:
                chosen.append(queue.first(count, evictable))
                count -= len(chosen[-1])
        return np.concatenate(chosen)

    def preferred(self, ids: Int64Array) -> Int64Array:
        return np.arange(len(ids))[::-1]  # the last ones, as if they had come one by one

    def _used(self, uses: int) -> None:
        self._uses += uses
        if self._uses < PERIOD * len(self._counts):
            return
        self._uses = 0
        for count in range(1, HIGHEST + 1):
            # From the lowest count up, so that none is halved twice; rows of equal count then
            # leave in the order of their former counts, then of their use.
            everywhere = np.ones(len(self._counts), bool)
            slots = self._queues[count].first(len(self._counts), everywhere)
            self._queues[count].remove(slots)
            self._counts[slots] = count // 2
            self._queues[count // 2].stamp(slots)


def _grouped(slots: Int64Array, counts: Int64Array) -> Iterator[tuple[int, Int64Array]]:
    """Pairs of a count and the slots that have it, in their order."""
    lowest, highest = int(counts.min(initial=HIGHEST)), int(counts.max(initial=0))
    if lowest == highest:
        yield lowest, slots
        return
    for count in range(lowest, highest + 1):
        group = slots[counts == count]
        if len(group):
            yield count, group
