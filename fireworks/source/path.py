"""The straight way from the rows that a source reads to the end of the graph."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np

from fireworks.message import Message
from fireworks.source.failures import tried
from fireworks.source.reading import Rows, checked, located, unguarded
from fireworks.source.statistics import Statistics, Tally, measure

if TYPE_CHECKING:
    from fireworks.source.base import Source

Change = Callable[[Message, Rows], Message]

ROWS_LOOKED_UP = 8_192
"""Which rows are meant is worked out for so many at a time: that is index arithmetic alone."""


class Path:
    """Reads stretches of a source as ``source.read`` does, with less to do for each.

    Most sources read one other: they say in which order its rows come (``reorders``) or change
    them (``changes``). From the end of the graph upwards such sources form a path, which ends at
    its *head*: where rows come from, where several inputs meet, or what others read too. The rows
    that the head is asked for are worked out for many batches at once. Then a batch is one read of
    the head, and the changes on the way down.

    `close` it at the end: until then what was counted is its own.

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
        head = source.statistics if self._guards_head else None
        self._tally = Tally([head, *(each.statistics for each in self._steps[::-1])])
        # Where rows are made anew, from the head down: the source's place among the steps, how it
        # changes them, and whose Messages are of the size that comes of it.
        self._sized = sized = [] if head is None else [head]
        self._changes: list[tuple[int, Change, list[Statistics]]] = []
        for place, each in list(enumerate(self._steps))[::-1]:
            if each.changes:
                sized = []
                self._changes.append((place, _change_of(each), sized))
            sized.append(each.statistics)
        self._end = end
        self._first = self._last = 0
        self._rows: list[Rows] = []  # for each step, the rows asked of it; then those of the head

    def read(self, start: int, stop: int) -> Message:
        """Return the rows from ``start`` to ``stop`` (not included), epoch-extended."""
        if start < self._first or stop > self._last:
            self._look_ahead(start, stop)
        here = slice(start - self._first, stop - self._first)
        rows, tally = self._rows, self._tally
        seconds, reads = tally.seconds, tally.reads
        place = top = len(self._steps)
        began = before = perf_counter()
        try:
            message = self._read(rows[place][here])
            now = perf_counter()
            seconds[0] += now - began
            if measures := not reads & (reads + 1):
                measure(message, self._sized)
            for place, change, sized in self._changes:
                before = now
                message = change(message, rows[place][here])
                now = perf_counter()
                seconds[top - place] += now - before
                if measures:
                    measure(message, sized)
        except Exception as error:
            self._tell(error, place, here, before - began, before)
            raise
        tally.reads = reads + 1
        tally.rows += stop - start
        return message

    def close(self) -> None:
        """Settle what was counted; nothing is read any more."""
        self._tally.settle()

    def _tell(
        self, error: Exception, place: int, here: slice, waiting: float, since: float
    ) -> None:
        """Note with an error where on the path it happened, and whose rows it kept away."""
        below = self._steps[:place]
        if place < len(self._steps) or self._guards_head:
            source = [*self._steps, self._head][place]
            source.statistics.add_time(perf_counter() - since, waiting)
            located(error, source, self._rows[place][here])
        for each in range(len(below) - 1, -1, -1):
            located(error, below[each], self._rows[each][here])

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


def _change_of(source: Source) -> Change:
    """Return what changes the rows of a source's input, tried again where the source says so."""
    change = source.change
    return change if source.on_error == "raise" else partial(tried, source, change)
