"""The straight way from the rows that a source reads to the end of the graph."""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np

from fireworks.message import Message
from fireworks.source.failures import tried
from fireworks.source.reading import Rows, checked, located, unguarded

if TYPE_CHECKING:
    from fireworks.source.base import Source

ROWS_LOOKED_UP = 8_192
"""Which rows are meant is worked out for so many at a time: that is index arithmetic alone."""


class Path:
    """Reads stretches of a source as ``source.read`` does, with less to do for each.

    Most sources read one other: they say in which order its rows come (``reorders``) or change
    them (``changes``). From the end of the graph upwards such sources form a path, which ends at
    its *head*: where rows come from, where several inputs meet, or what others read too. The rows
    that the head is asked for are worked out for many batches at once. Then a batch is one read of
    the head, and the changes on the way down.

    Args:
        source: The end of the path; indexed.
        apart: The ``id`` of sources whose rows somebody else reads too, beside those that several
            sources read.
        end: No row from here on is read.
    """

    def __init__(self, source: Source, apart: frozenset[int], end: int) -> None:
        self._steps: list[Source] = []  # from the end upwards, without the head
        while not (shared := source.is_shared or id(source) in apart) and (
            source.reorders or source.changes
        ):
            self._steps.append(source)
            source = source.input
        self._head = source
        # A head that reads others looks itself after what these share (see `guarded`).
        self._guards_head = not shared and not source.inputs
        self._read = unguarded(source) if self._guards_head else source.read
        self._end = end
        self._first = self._last = 0
        self._rows: list[Rows] = []  # for each step, the rows asked of it; then those of the head

    def read(self, start: int, stop: int) -> Message:
        """Return the rows from ``start`` to ``stop`` (not included), epoch-extended."""
        if not self._first <= start <= stop <= self._last:
            self._look_ahead(start, stop)
        here = slice(start - self._first, stop - self._first)
        place = len(self._steps)
        source = self._head
        began = before = perf_counter()
        try:
            message = self._read(self._rows[place][here])
            now = perf_counter()
            if self._guards_head:
                source.statistics.add(message, now - began, 0.0)
            while place:
                place -= 1
                source = self._steps[place]
                before = now
                if source.changes:
                    rows = self._rows[place][here]
                    message = (
                        source.change(message, rows)
                        if source.on_error == "raise"
                        else tried(source, source.change, message, rows)
                    )
                    now = perf_counter()
                source.statistics.add(message, now - before, before - began)
            return message
        except Exception as error:
            if place < len(self._steps) or self._guards_head:
                source.statistics.add_time(perf_counter() - before, before - began)
                located(error, source, self._rows[place][here])
            for each in range(place - 1, -1, -1):
                located(error, self._steps[each], self._rows[each][here])
            raise

    def _look_ahead(self, start: int, stop: int) -> None:
        last = max(stop, min(start + ROWS_LOOKED_UP, self._end))
        try:
            self._look_up(start, last)
        except Exception:
            if last == stop:
                raise
            self._look_up(start, stop)  # what is wrong further on is told when its turn comes

    def _look_up(self, start: int, stop: int) -> None:
        """Work out which rows every source on the path is asked for."""
        rows = np.arange(start, stop)
        asked = [rows]
        for source in self._steps:
            if source.reorders:
                began = perf_counter()
                rows = source.reorder(rows if source.passes_rows else checked(source, rows))
                source.statistics.add_time(perf_counter() - began)
            asked.append(rows)
        if self._guards_head:
            asked[-1] = checked(self._head, rows)
        self._rows, self._first, self._last = asked, start, stop
