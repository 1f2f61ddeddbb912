"""Reading ahead for a cache, in the background."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable

import numpy as np

from fireworks.cache import MessageCache
from fireworks.message import Message
from fireworks.source import Rows

_log = logging.getLogger(__name__)

_NO_ROWS = np.empty(0, np.int64)
_ROWS_PER_READ = 1_024
_FIRST_ROWS = 256
"""The first rows are waited for: they are not made to wait for many others."""


class Prefetcher:
    """Fills a cache with announced rows, in the order in which they were announced.

    One background thread, which lives only while there is something to read.

    Args:
        cache: What to fill.
        read: Reads rows that the cache lacks.
        depth: Given how many rows were asked for at once last, returns how many rows to read ahead.
    """

    def __init__(
        self, cache: MessageCache, read: Callable[[Rows], Message], depth: Callable[[int], int]
    ) -> None:
        self._cache = cache
        self._read = read
        self._depth = depth
        self._coming: deque[Rows] = deque()  # announced, and not asked for yet
        self._passed = 0  # how many of the first of them have been read ahead
        self._asked = 0  # rows asked for at once, the last time
        self._working: Rows | None = None
        self._thread: threading.Thread | None = None
        self._condition = threading.Condition()

    def announce(self, rows: Rows) -> None:
        """Put rows at the end of what is to be read."""
        with self._condition:
            if len(rows):
                self._coming.append(rows)
            self._start()

    def forget(self) -> None:
        """Read nothing more of what was announced."""
        with self._condition:
            self._coming.clear()
            self._passed = 0

    def reached(self, rows: Rows) -> None:
        """Hear that rows are asked for now; return when none of them is just being read."""
        with self._condition:
            self._asked = len(rows)
            self._move_to(rows)
            self._start()
            while self._working is not None and np.isin(rows, self._working).any():
                self._condition.wait()

    def _move_to(self, rows: Rows) -> None:
        """Drop from what comes everything up to these rows; nothing if they were not announced."""
        if not self._coming:
            return
        before = 0
        if self._coming[0][0] != rows[0]:  # not the next ones: some were left out, or all are
            for chunk in self._coming:
                found = np.flatnonzero(chunk == rows[0])
                if len(found):
                    before += int(found[0])
                    break
                before += len(chunk)
            else:
                return
        gone = before + len(rows)
        self._passed = max(0, self._passed - gone)
        while gone and self._coming:
            head = self._coming.popleft()
            if len(head) > gone:
                self._coming.appendleft(head[gone:])
            gone = max(0, gone - len(head))

    def _start(self) -> None:
        if self._thread is None and len(self._next()):
            self._thread = threading.Thread(target=self._work, name="prefetch")
            self._thread.start()

    def _next(self) -> Rows:
        """Return the rows to be read next, as far as it is time for them."""
        depth = self._depth(self._asked)
        start, most = self._passed, depth - self._passed
        if most * 2 < min(depth, _ROWS_PER_READ):
            return _NO_ROWS  # not yet: a few rows more are read at once
        for chunk in self._coming:
            if start < len(chunk):
                most = min(most, _ROWS_PER_READ if self._asked else _FIRST_ROWS)
                return chunk[start : start + most]
            start -= len(chunk)
        return _NO_ROWS

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
                missing = self._cache.missing(rows)
                if len(missing):
                    self._cache[missing] = self._read(missing)
            except Exception as error:
                # Whoever needs these rows reads them again and gets the error at its place.
                _log.debug("reading ahead failed: %s", error)
