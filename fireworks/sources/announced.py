"""Rows that were announced and not asked for yet."""

from __future__ import annotations

from collections import deque

import numpy as np

from fireworks.source import Rows

_SMALLEST = 4_096


class AnnouncedRows:
    """Rows in the order in which they were announced. Not thread-safe.

    They lie in one array: many small ones that live long, among batches that do not, would leave
    the memory in pieces.
    """

    def __init__(self) -> None:
        self.clear()

    def __len__(self) -> int:
        return self._end - self._start

    def __getitem__(self, places: slice) -> Rows:
        """Return some of the rows, copied; the first is that which comes next."""
        return self._rows[self._start : self._end][places].copy()

    @property
    def in_epoch(self) -> int:
        """How many of the first rows belong to no later epoch than any that was asked for.

        Before any was asked for, the epoch of the first row counts.
        """
        for epoch, place in self._epochs:
            if epoch > self._epoch:
                return place - self._start
        return len(self)

    def append(self, rows: Rows, epochs: Rows) -> None:
        """Put rows at the end.

        Args:
            rows: The rows, as they will be asked for.
            epochs: The epoch of each.
        """
        if not len(rows):
            return
        if self._end + len(rows) > len(self._rows):
            self._make_room(len(rows))
        if not self._epochs:
            self._epoch = max(self._epoch, int(epochs[0]))
        # A later epoch begins where the highest so far is exceeded.
        highest = np.maximum.accumulate(epochs)
        for place in [0, *(np.flatnonzero(np.diff(highest)) + 1).tolist()]:
            if not self._epochs or highest[place] > self._epochs[-1][0]:
                self._epochs.append((int(highest[place]), self._end + place))
        self._rows[self._end : self._end + len(rows)] = rows
        self._end += len(rows)

    def drop_until(self, rows: Rows) -> int:
        """Drop these rows and those before them; nothing if they were not announced.

        Returns:
            How many were dropped.
        """
        coming = self._rows[self._start : self._end]
        if not len(coming) or not len(rows):
            return 0
        first = 0
        if coming[0] != rows[0]:  # not the next ones: some were left out, or all are
            first = int((coming == rows[0]).argmax())
            if coming[first] != rows[0]:
                return 0
        dropped = min(first + len(rows), len(coming))
        self._start += dropped
        for epoch, place in self._epochs:
            if place < self._start:
                self._epoch = max(self._epoch, epoch)
        return dropped

    def clear(self) -> None:
        """Forget all rows."""
        self._rows = np.empty(_SMALLEST, np.int64)
        self._start = self._end = 0
        self._epochs: deque[tuple[int, int]] = deque()  # an epoch, and where its first row lies
        self._epoch = -1  # the highest epoch asked for

    def _make_room(self, more: int) -> None:
        """Move what is left to the start of an array that is at least half empty then."""
        left = self._rows[self._start : self._end]
        needed = 2 * (len(left) + more)
        rows = self._rows if len(self._rows) >= needed else np.empty(2 * needed, np.int64)
        rows[: len(left)] = left.copy()
        moved = self._start
        while len(self._epochs) > 1 and self._epochs[1][1] <= moved:
            self._epochs.popleft()
        self._epochs = deque((epoch, max(0, place - moved)) for epoch, place in self._epochs)
        self._rows, self._start, self._end = rows, 0, len(left)
