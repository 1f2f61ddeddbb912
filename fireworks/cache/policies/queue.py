"""A queue of slots in the order of their latest stamp, for whole arrays of them."""

from __future__ import annotations

from typing import Any

import numpy as np

Int64Array = np.ndarray[Any, np.dtype[np.int64]]
BoolArray = np.ndarray[Any, np.dtype[np.bool_]]

_NEVER = -1
_CHUNK = 256  # entries that are looked at together, at least
_SMALLEST = 1024  # entries that the log has room for, at least


class SlotQueue:
    """Slots, the one stamped longest ago first.

    Stamping appends slots to a log; the stamp of a slot is the place of its latest entry there, and
    all its other entries are outdated. When the log is full, the outdated entries are dropped. The
    log is twice as long as what stays then, so that this costs little a stamp.
    """

    def __init__(self) -> None:
        self._stamps = np.empty(0, np.int64)
        self._log = np.empty(_SMALLEST, np.int64)
        self._places = np.arange(_SMALLEST)
        self._head = self._end = 0  # all entries before the head are outdated
        self._offered: Int64Array | None = None  # what lay at the head, up to `_offered_end`
        self._offered_end = 0

    def resize(self, slots: int) -> None:
        """Make room for this many slots."""
        stamps = np.full(slots, _NEVER, np.int64)
        stamps[: len(self._stamps)] = self._stamps
        self._stamps = stamps

    def stamp(self, slots: Int64Array) -> None:
        """Move slots to the end; where one occurs twice, its last place counts."""
        start, end = self._end, self._end + len(slots)
        if end > len(self._log):
            self._drop_outdated(len(slots))
            start, end = self._end, self._end + len(slots)
        self._log[start:end] = slots
        self._stamps[slots] = self._places[start:end]
        self._end = end
        if slots is self._offered:
            self._head = self._offered_end

    def remove(self, slots: Int64Array) -> None:
        """Take slots out."""
        self._stamps[slots] = _NEVER

    def first(self, count: int, allowed: BoolArray) -> Int64Array:
        """The first slots of those allowed, in order; they stay in the queue."""
        chosen: list[Int64Array] = []
        position, chunk = self._head, count
        while count and position < self._end:
            end = min(position + chunk, self._end)
            slots = self._log[position:end]
            live = self._stamps.take(slots) == self._places[position:end]
            found = np.count_nonzero(live)
            if found < len(slots):
                slots = slots[live]
            kept = allowed.take(slots)
            if np.count_nonzero(kept) < found:
                slots = slots[kept]
            if position == self._head:
                if len(slots) == count == end - position:
                    self._offered, self._offered_end = slots.copy(), end
                    return self._offered
                if not found:
                    self._head = end
            if len(slots):
                chosen.append(slots[:count])
                count -= len(chosen[-1])
            position, chunk = end, max(chunk, _CHUNK)
        # The log is written again: what is given away must not be a part of it.
        return np.concatenate(chosen) if chosen else np.empty(0, np.int64)

    def _drop_outdated(self, room: int) -> None:
        """Begin the log again with what is not outdated, leaving room for more entries."""
        entries = self._log[self._head : self._end]
        entries = entries[self._stamps.take(entries) == self._places[self._head : self._end]]
        count = len(entries)
        if len(self._log) < max(2 * count, count + room):
            self._log = np.empty(max(4 * count, count + room), np.int64)
            self._places = np.arange(len(self._log))
        self._log[:count] = entries
        self._stamps[entries] = self._places[:count]
        self._head, self._end = 0, count
        self._offered = None
