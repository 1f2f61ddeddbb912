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

_ROWS_PER_READ = 1_024


class Prefetcher:
    """Fills a cache with announced rows, in the order in which they were announced.

    One background thread, which lives only while there is something to read.

    Args:
        cache: What to fill.
        read: Reads rows that the cache lacks.
    """

    def __init__(self, cache: MessageCache, read: Callable[[Rows], Message]) -> None:
        self._cache = cache
        self._read = read
        self._waiting: deque[Rows] = deque()
        self._working: Rows | None = None
        self._thread: threading.Thread | None = None
        self._condition = threading.Condition()

    def announce(self, rows: Rows) -> None:
        """Put rows at the end of what is to be read."""
        with self._condition:
            for start in range(0, len(rows), _ROWS_PER_READ):
                self._waiting.append(rows[start : start + _ROWS_PER_READ])
            if self._thread is None and self._waiting:
                self._thread = threading.Thread(target=self._work, name="prefetch", daemon=True)
                self._thread.start()

    def forget(self) -> None:
        """Read nothing more of what was announced."""
        with self._condition:
            self._waiting.clear()

    def wait_for(self, rows: Rows) -> None:
        """Return when none of these rows is just being read."""
        with self._condition:
            while self._working is not None and np.isin(rows, self._working).any():
                self._condition.wait()

    def _work(self) -> None:
        while True:
            with self._condition:
                self._working = None
                self._condition.notify_all()
                if not self._waiting:
                    self._thread = None
                    return
                self._working = self._waiting.popleft()
                rows = self._working
            try:
                missing = self._cache.missing(rows)
                if len(missing):
                    self._cache[missing] = self._read(missing)
            except Exception as error:
                # Whoever needs these rows reads them again and gets the error at its place.
                _log.debug("reading ahead failed: %s", error)
