"""A queue of slots in the order of their latest stamp, for whole arrays of them."""

from __future__ import annotations

from typing import Any

import numpy as np

Int64Array = np.ndarray[Any, np.dtype[np.int64]]
BoolArray = np.ndarray[Any, np.dtype[np.bool_]]

_NEVER = -1
_CHUNK = 256  # entries that are looked at together, at least


class SlotQueue:
    """Slots, the one stamped longest ago first.

    Stamping only writes stamps. The slots are sorted by them when the head of the queue is asked
    for, and that order is used up from its front: stamps only grow, so what has not been stamped
    again since still comes first, in that order. Sorting all slots once for about as many
    departures makes the order exact at little cost a row.
    """

    def __init__(self) -> None:
        self._stamps = np.empty(0, np.int64)
        self._clock = 0
        self._order = np.empty(0, np.int64)  # slots, as they were sorted last
        self._order_stamps = np.empty(0, np.int64)  # and their stamps then
        self._head = 0  # all entries before it are outdated

    def resize(self, slots: int) -> None:
        """Make room for this many slots."""
        stamps = np.full(slots, _NEVER, np.int64)
        stamps[: len(self._stamps)] = self._stamps
        self._stamps = stamps

    def stamp(self, slots: Int64Array) -> None:
        """Move slots to the end; where one occurs twice, its last place counts."""
        clock = self._clock
        self._clock = clock + len(slots)
        self._stamps[slots] = np.arange(clock, self._clock)

    def remove(self, slots: Int64Array) -> None:
        """Take slots out."""
        self._stamps[slots] = _NEVER

    def first(self, count: int, allowed: BoolArray) -> Int64Array:
        """The first slots of those allowed, in order; they stay in the queue."""
        chosen = self._scan(count, allowed)
        if len(chosen) < count:
            self._sort()
            chosen = self._scan(count, allowed)
        return chosen

    def _scan(self, count: int, allowed: BoolArray) -> Int64Array:
        """As `first`, but of those only that are in the order of the last sorting."""
        chosen: list[Int64Array] = []
        position, chunk = self._head, max(count, _CHUNK)
        while count and position < len(self._order):
            slots = self._order[position : position + chunk]
            live = self._stamps.take(slots) == self._order_stamps[position : position + chunk]
            found = np.count_nonzero(live)
            if position == self._head and not found:
                self._head += len(slots)
            position += len(slots)
            if found < len(slots):
                slots = slots[live]
            kept = allowed.take(slots)
            if np.count_nonzero(kept) < found:
                slots = slots[kept]
            if len(slots):
                chosen.append(slots[:count])
                count -= len(chosen[-1])
        if len(chosen) == 1:
            return chosen[0]
        return np.concatenate(chosen) if chosen else np.empty(0, np.int64)

    def _sort(self) -> None:
        slots = (self._stamps != _NEVER).nonzero()[0]
        stamps = self._stamps[slots]
        base = int(stamps.min(initial=self._clock))
        bits = len(self._stamps).bit_length()
        if (self._clock - base).bit_length() + bits < 63:
            # Stamp and slot in one number: numpy sorts numbers far faster than it argsorts.
            packed = ((stamps - base) << bits) | slots
            packed.sort()
            slots, stamps = packed & ((1 << bits) - 1), (packed >> bits) + base
        else:
            order = stamps.argsort()
            slots, stamps = slots[order], stamps[order]
        self._order, self._order_stamps, self._head = slots, stamps, 0
