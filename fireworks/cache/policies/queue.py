"""A queue of slots in the order of their latest stamp, for whole arrays of them."""

from __future__ import annotations

from collections import deque
from typing import Any

import numpy as np

Int64Array = np.ndarray[Any, np.dtype[np.int64]]
BoolArray = np.ndarray[Any, np.dtype[np.bool_]]

_NEVER = -1
_CHUNK = 1024  # entries of the log that are looked at together


class SlotQueue:
    """Slots, the one stamped longest ago first.

    Stamping appends to a log; what a slot's earlier entries say is outdated and skipped when the
    head of the log reaches it. So every operation costs what its own rows cost, amortised, and the
    order is exact. The log is compacted when it holds four times as many entries as there are
    slots.
    """

    def __init__(self) -> None:
        self._stamps = np.empty(0, np.int64)
        self._log: deque[tuple[Int64Array, Int64Array]] = deque()
        self._logged = 0
        self._clock = 0

    def resize(self, slots: int) -> None:
        """Make room for this many slots."""
        stamps = np.full(slots, _NEVER, np.int64)
        stamps[: len(self._stamps)] = self._stamps
        self._stamps = stamps

    def stamp(self, slots: Int64Array) -> None:
        """Move slots to the end; where one occurs twice, its last place counts."""
        stamps = np.arange(self._clock, self._clock + len(slots))
        self._clock += len(slots)
        self._stamps[slots] = stamps
        self._append(slots, stamps)
        if self._logged > max(1024, 4 * len(self._stamps)):
            self._compact()

    def remove(self, slots: Int64Array) -> None:
        """Take slots out."""
        self._stamps[slots] = _NEVER

    def first(self, count: int, allowed: BoolArray) -> Int64Array:
        """The first slots of those allowed, in order; they stay in the queue."""
        chosen: list[Int64Array] = []
        for position, (slots, stamps) in enumerate(self._log):
            live = self._stamps.take(slots) == stamps
            if np.count_nonzero(live) < len(slots):
                slots, stamps = slots[live], stamps[live]
                self._logged += len(slots) - len(live)
                self._log[position] = slots, stamps
            if not len(slots):
                continue
            allowed_here = allowed.take(slots)
            if np.count_nonzero(allowed_here) < len(slots):
                slots = slots[allowed_here]
            chosen.append(slots[:count])
            count -= len(chosen[-1])
            if not count:
                break
        while self._log and not len(self._log[0][0]):
            self._log.popleft()
        if len(chosen) == 1:
            return chosen[0]
        return np.concatenate(chosen) if chosen else np.empty(0, np.int64)

    def _compact(self) -> None:
        held = (self._stamps != _NEVER).nonzero()[0]
        stamps = self._stamps[held]
        order = stamps.argsort()
        self._log.clear()
        self._logged = 0
        self._append(held[order], stamps[order])

    def _append(self, slots: Int64Array, stamps: Int64Array) -> None:
        self._logged += len(slots)
        if len(slots) <= _CHUNK:
            self._log.append((slots, stamps))
            return
        for start in range(0, len(slots), _CHUNK):
            chunk = slice(start, start + _CHUNK)
            self._log.append((slots[chunk], stamps[chunk]))
