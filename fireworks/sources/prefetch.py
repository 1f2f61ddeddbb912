"""Reading ahead for a cache, in the background."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from time import perf_counter

import numpy as np

from fireworks.cache import MessageCache
from fireworks.message import Message
from fireworks.source import Rows
from fireworks.sources.announced import AnnouncedRows
from fireworks.sources.ready_rows import ReadyRows, in_order

_log = logging.getLogger(__name__)

_NO_ROWS = np.empty(0, np.int64)
_ROWS_PER_READ = 1_024
_FIRST_ROWS = 256
"""The first rows are waited for: they are not made to wait for many others."""

_ASIDE = 1 / 32
_MOST_ASIDE = 1 / 10
"""How many rows lie beside a full cache: so small a part of what it holds, or, if that is less than
is asked for at once, as many as that. Above the second part the memory would not be worth it."""

_WORTH_A_THREAD = 0.25e-3
"""Seconds that a read has to take for the thread that does it ahead to pay."""
_NEWEST_READ = 0.1  # its part of the average time of a read


class Prefetcher:
    """Reads announced rows before they are asked for, in the order in which they were announced.

    While the cache has room they go there, half of what it can hold ahead of the reader. Then they
    wait beside it: in the cache each would take the place of a row that may be used again, before
    anybody could tell which of the two is worth more. Rows of a later epoch than any asked for are
    left alone, since nobody may come for them.

    One background thread, which lives only while there is something to read.

    Args:
        cache: What to fill.
        read: Reads rows that the cache lacks.
        capacity: Returns how many rows the cache can hold.
    """

    def __init__(
        self, cache: MessageCache, read: Callable[[Rows], Message], capacity: Callable[[], int]
    ) -> None:
        self._cache = cache
        self._read_above = read
        self._capacity = capacity
        self._aside = ReadyRows()
        self._coming = AnnouncedRows()
        self._passed = 0  # how many of the first of them have been read ahead
        self._asked = 0  # rows asked for at once, the last time
        self._taking = 0  # rows asked for that were not handed out yet
        self._seconds: float | None = None  # what a read takes, on average
        self._working: Rows | None = None
        self._thread: threading.Thread | None = None
        self._condition = threading.Condition()

    def announce(self, rows: Rows, epochs: Rows) -> None:
        """Put rows at the end of what is to be read.

        Args:
            rows: The rows, as they will be asked for.
            epochs: The epoch of each.
        """
        with self._condition:
            self._coming.append(rows, epochs)
            self._start()

    def forget(self) -> None:
        """Read nothing more of what was announced, and give up what was read of it."""
        with self._condition:
            self._coming.clear()
            self._passed = 0
            self._aside.clear()

    def read(self, rows: Rows) -> Message:
        """Return the rows asked for now; those that were not read ahead are read by the caller."""
        with self._condition:
            self._asked = len(rows)
            self._taking += len(rows)
            self._passed = max(0, self._passed - self._coming.drop_until(rows))
            self._start()
            while self._working is not None and np.isin(rows, self._working).any():
                self._condition.wait()
        try:
            return self._cache.fetch(rows, read=self._absent)
        finally:
            with self._condition:
                self._taking -= len(rows)
                self._start()

    def _read(self, rows: Rows) -> Message:
        began = perf_counter()
        message = self._read_above(rows)
        spent = perf_counter() - began
        before = spent if self._seconds is None else self._seconds
        self._seconds = before + _NEWEST_READ * (spent - before)
        return message

    def _absent(self, rows: Rows) -> Message:
        """Return rows that the cache lacks."""
        with self._condition:
            parts, left = self._aside.hand_out(rows, np.arange(len(rows)))
        if len(left):
            parts.append((left, self._read(rows[left])))
        return in_order(parts)

    def _start(self) -> None:
        if self._thread is None and len(self._next()):
            self._thread = threading.Thread(target=self._work, name="prefetch")
            self._thread.start()

    def _next(self) -> Rows:
        """Return the rows to be read next, as far as it is time for them."""
        depth = self._depth()
        most = min(depth, self._coming.in_epoch) - self._passed
        if most <= 0 or (depth - self._passed) * 2 < min(depth, _ROWS_PER_READ):
            return _NO_ROWS  # there are none, or it is worth waiting until more are read at once
        return self._coming[self._passed : self._passed + min(most, self._rows_at_once())]

    def _rows_at_once(self) -> int:
        if not self._asked:
            return _FIRST_ROWS
        return max(self._asked, min(_ROWS_PER_READ, self._capacity() // 64))

    def _depth(self) -> int:
        """Return how many rows to read ahead of what was asked for last."""
        # What is being taken is not out of the way yet, or comes into the cache.
        ahead = max(min(self._room(), self._capacity() // 2), self._depth_aside())
        return ahead - self._taking

    def _depth_aside(self) -> int:
        if self._seconds is not None and self._seconds < _WORTH_A_THREAD:
            return 0
        capacity = self._capacity()
        depth = max(int(capacity * _ASIDE), self._asked)
        return depth if depth <= capacity * _MOST_ASIDE else 0

    def _room(self) -> int:
        return self._capacity() - self._cache.stats.rows

    def _work(self) -> None:
        while True:
            with self._condition:
                self._working = None
                self._condition.notify_all()
                rows = self._next()
                # No daemon: one that still computes while Python ends would abort the process. It
                # ends by itself then, after what it reads just now.
                if not len(rows) or not threading.main_thread().is_alive():
                    self._thread = None
                    return
                self._passed += len(rows)
                self._working = rows
            try:
                self._read_ahead(rows)
            except Exception as error:
                # Whoever needs these rows reads them again and gets the error at its place.
                _log.debug("reading ahead failed: %s", error)

    def _read_ahead(self, rows: Rows) -> None:
        rows = self._cache.missing(rows)
        if self._cache.policy != "keep":  # which will refuse these rows, so that each is read again
            with self._condition:
                rows = rows[~self._aside.waiting(rows)]
        if not len(rows):
            return
        message = self._read(rows)
        if len(rows) <= self._room():
            self._cache[rows] = message
            left = np.flatnonzero(~self._cache.contains(rows))  # others took the room meanwhile
            if not len(left):
                return
            rows, message = rows[left], message.take(left)
        with self._condition:
            self._aside.shrink(self._depth_aside() - len(rows))
            self._aside.add(rows, message)
