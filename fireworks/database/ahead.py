"""Rows of a table that were announced, read together before they are asked for."""

from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np

from fireworks.message import Message
from fireworks.source import Rows

_ROWS = 16_384
"""Rows that are read together: beside them a statement costs little."""

_PART = 8
"""At most one in so many rows of an epoch is read ahead."""

_LEAST_ROWS = 32_768
"""Of smaller tables every row is read when it is asked for."""

_BYTES = 16 * 2**20
"""Memory for rows that were read and not asked for yet."""

_NONE = np.empty(0, np.int64)


class ReadAhead:
    """Reads announced rows many at a time, and hands them out as they are asked for. Thread-safe.

    Rows are numbers, shape (n,), int64, that go on from one epoch to the next.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._row_bytes: float | None = None
        self._announced = self._read = _NONE
        self._message: Message | None = None
        self._next = 0

    def measure(self, message: Message) -> None:
        """Learn from some rows how large one is."""
        if len(message):
            self._row_bytes = max(1.0, message.nbytes / len(message))

    @property
    def is_measured(self) -> bool:
        """Whether it is known how large a row is."""
        return self._row_bytes is not None

    def rows_together(self, num_rows: int) -> int:
        """Return how many rows are read together; 0 for none, or where their size is not known.

        Args:
            num_rows: Rows in an epoch.
        """
        if num_rows < _LEAST_ROWS or self._row_bytes is None:
            return 0
        return int(min(_ROWS, num_rows // _PART, _BYTES / self._row_bytes))

    def announce(self, rows: Rows) -> None:
        """Note rows in the order in which they will be asked for."""
        with self._lock:
            self._announced = np.concatenate([self._announced, rows])[-4 * _ROWS :]

    def release(self, rows: Rows) -> None:
        """Forget announced rows."""
        with self._lock:
            self._announced = self._announced[~np.isin(self._announced, rows)]

    def forget(self) -> None:
        """Forget what was read: rows may be others now."""
        with self._lock:
            self._hold(_NONE, None)

    def take(
        self, rows: Rows, num_rows: int, fetch: Callable[[Rows], Message | None]
    ) -> Message | None:
        """Return rows that were announced, read together with those behind them; None for others.

        Args:
            rows: The rows, of one epoch.
            num_rows: Rows in an epoch.
            fetch: Returns rows of that epoch, numbered from 0; None where rows have to be read
                when they are asked for.
        """
        if not len(rows) or not (len(self._announced) or len(self._read)):
            return None
        with self._lock:
            place = _find(self._read[self._next :], rows)
            if place is None:
                self._fetch(rows, num_rows, fetch)
                place = _find(self._read[self._next :], rows)
            if place is None or self._message is None:
                return None
            begin = self._next + place
            # No row is handed out twice: whoever has it may change it.
            self._next = begin + len(rows)
            message = self._message[begin : self._next]
            if self._next == len(self._read):
                self._hold(_NONE, None)
            return message

    def _fetch(self, rows: Rows, num_rows: int, fetch: Callable[[Rows], Message | None]) -> None:
        """Read rows that are wanted now, and those that were announced behind them."""
        together = self.rows_together(num_rows)
        # A batch may begin among rows that were read and end among others.
        waiting = np.concatenate([self._read[self._next :], self._announced])
        place = _find(waiting, rows)
        if place is None or len(rows) > together // 2:
            return
        some = waiting[place : place + together]
        some = some[some // num_rows == rows[0] // num_rows]
        self._announced = waiting[place + len(some) :]
        self._hold(some, fetch(some % num_rows))

    def _hold(self, rows: Rows, message: Message | None) -> None:
        self._read = _NONE if message is None else rows
        self._message = message
        self._next = 0


def _find(among: Rows, rows: Rows) -> int | None:
    """Return where rows follow each other among others; None where they do not."""
    if np.array_equal(among[: len(rows)], rows):
        return 0
    for place in np.flatnonzero(among == rows[0])[:1].tolist():
        if np.array_equal(among[place : place + len(rows)], rows):
            return place
    return None
