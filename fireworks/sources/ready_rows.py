"""Rows that were read before they are asked for."""

from __future__ import annotations

from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from fireworks.message import Message, concat
from fireworks.source import Rows

Part = tuple[Rows, Message]
"""Some of the rows asked for: their places among them, and the rows."""


class ReadyRows:
    """Rows that were read together, each time some, and are handed out as they are asked for.

    What was read together is held until all of it was handed out. Not thread-safe.
    """

    def __init__(self) -> None:
        self._reads: list[_Read] = []

    def __len__(self) -> int:
        return sum(each.left for each in self._reads)

    @property
    def nbytes(self) -> int:
        """Bytes of the rows that are held."""
        return sum(each.message.nbytes for each in self._reads)

    def add(self, rows: Rows, message: Message) -> None:
        """Hold rows, in the order in which they will be asked for."""
        self._reads.append(_Read(rows, message))

    def hand_out(self, rows: Rows, left: Rows) -> tuple[list[Part], Rows]:
        """Return what is here of ``rows[left]``, and which of ``left`` are not."""
        parts: list[Part] = []
        for each in self._reads:
            if not len(left):
                break
            places, there = each.find(rows[left])
            if there.any():
                parts.append((left[there], each.hand_out(places[there])))
                left = left[~there]
        self._let_go()
        return parts, left

    def waiting(self, rows: Rows) -> NDArray[np.bool_]:
        """Return which rows are here and were not handed out yet."""
        found = np.zeros(len(rows), bool)
        for each in self._reads:
            places, there = each.find(rows)
            found[there] |= each.waiting[places[there]]
        return found

    def release(self, rows: Rows) -> None:
        """Give up rows that nobody will ask for."""
        for each in self._reads:
            each.release(rows)
        self._let_go()

    def shrink(self, max_rows: int) -> None:
        """Give up what was read first, until at most so many rows are left."""
        kept: list[_Read] = []
        left = 0
        for each in reversed(self._reads):
            if left + each.left <= max_rows:
                kept.append(each)
                left += each.left
        self._reads = kept[::-1]

    def compact(self) -> None:
        """Hold no memory but that of rows that are still to be asked for."""
        self._reads = [each.rest() for each in self._reads]

    def clear(self) -> None:
        """Give up everything."""
        self._reads.clear()

    def _let_go(self) -> None:
        if not all(each.left for each in self._reads):
            self._reads = [each for each in self._reads if each.left]


def in_order(parts: list[Part]) -> Message:
    """Return the rows of all parts, each at its place."""
    if len(parts) == 1:
        return parts[0][1]
    places = np.concatenate([each for each, _ in parts])
    return concat([message for _, message in parts]).take(np.argsort(places))


class _Read:
    """Rows that were read together, in the order in which they will be asked for."""

    def __init__(self, rows: Rows, message: Message) -> None:
        self.rows = rows
        self.message = message
        self.waiting = np.ones(len(rows), bool)  # which of them are still to be asked for
        self.left = len(rows)
        self._next = 0

    def find(self, rows: Rows) -> tuple[Rows, NDArray[np.bool_]]:
        """Return where rows are, and which of them are there at all."""
        following = self.rows[self._next : self._next + len(rows)]
        if np.array_equal(following, rows[: len(following)]) and len(following):
            places = np.arange(self._next, self._next + len(rows))
            return places, places < len(self.rows)
        ascending, order = self._index
        at = np.searchsorted(ascending, rows)
        at[at == len(ascending)] = 0
        return order[at], ascending[at] == rows

    def hand_out(self, places: Rows) -> Message:
        """Return rows, which need not be kept from now on."""
        self._used(places)
        self._next = int(places[-1]) + 1
        return self.message.take(places)

    def release(self, rows: Rows) -> None:
        """Give up rows that nobody will ask for."""
        self._used(np.flatnonzero(np.isin(self.rows, rows)))

    def rest(self) -> _Read:
        """Return what is still to be asked for, in memory of its own."""
        places = np.flatnonzero(self.waiting)
        return _Read(self.rows[places], self.message.take(places))

    def _used(self, places: Rows) -> None:
        self.left -= int(self.waiting[np.unique(places)].sum())
        self.waiting[places] = False

    @cached_property
    def _index(self) -> tuple[Rows, Rows]:
        order = np.argsort(self.rows, kind="stable")
        return self.rows[order], order
