"""Rows that were announced, fetched together before they are asked for.

A globally shuffled epoch asks for a few rows of every row group with every batch. Decoding the
groups for each batch would take hours; so, when the first of the announced rows is asked for, as
many of those that follow as fit into memory are picked out of their groups, each group decoded
once, put in the order in which they were announced, and handed out as they are asked for.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from fireworks.message import Message
from fireworks.source import Rows
from fireworks.sources.gathering import Gathering
from fireworks.sources.ready_rows import ReadyRows, in_order

Visit = Callable[[Message, int], None]
"""Gets some rows of a group, and the number of the first of them."""

_GROUPS_AT_ONCE = 2
"""Groups are decoded so many at a time: what is held beside the rows stays small."""

_PAIRS_LOOKED_AT = 4096
_SCATTERED = 1 / 64
"""Rows are worth planning for where the group changes more often than once in 64 rows."""


class RowPlan:
    """Announced rows, and those of them that have been fetched. Thread-safe.

    Args:
        group_of: Returns the group of each row; later rows lie in later groups.
        visit: Decodes a group and gives its rows to a function, some at a time.
        direct: Returns rows that were not announced.
    """

    def __init__(
        self,
        group_of: Callable[[Rows], NDArray[np.int64]],
        visit: Callable[[int, Visit], None],
        direct: Callable[[Rows], Message],
    ) -> None:
        self._group_of = group_of
        self._visit = visit
        self._direct = direct
        self._lock = threading.Lock()
        self._announced: list[Rows] = []
        self._fetched = ReadyRows()

    @property
    def nbytes(self) -> int:
        """Bytes of the rows that are held."""
        return self._fetched.nbytes

    def announce(self, rows: Rows, max_rows: int) -> None:
        """Note rows in the order in which they will be asked for.

        Args:
            rows: The rows.
            max_rows: How many announced rows to remember: of these, the first; then the newest.
        """
        rows = rows[:max_rows]
        if not self._is_scattered(rows):
            return
        with self._lock:
            self._announced.append(rows)
            if sum(map(len, self._announced)) > max_rows:
                self._announced = [np.concatenate(self._announced)[-max_rows:]]

    def _is_scattered(self, rows: Rows) -> bool:
        looked_at = np.arange(0, len(rows) - 1, max(1, len(rows) // _PAIRS_LOOKED_AT))
        if not len(looked_at):
            return False
        changes = self._group_of(rows[looked_at]) != self._group_of(rows[looked_at + 1])
        return bool(changes.mean() > _SCATTERED)

    def release(self, rows: Rows) -> None:
        """Forget rows that will not be asked for after all."""
        with self._lock:
            left = [each[~np.isin(each, rows)] for each in self._announced]
            self._announced = [each for each in left if len(each)]
            self._fetched.release(rows)

    def read(self, rows: Rows, max_rows: int) -> Message:
        """Return rows, announced or not, in the order asked for.

        Args:
            rows: The rows.
            max_rows: How many announced rows to fetch together.
        """
        if not self._announced and not self._fetched:
            return self._direct(rows)
        with self._lock:
            parts, left = self._fetched.hand_out(rows, np.arange(len(rows)))
            while len(left) and self._fetch_around(rows[left], max_rows):
                more, left = self._fetched.hand_out(rows, left)
                parts += more
        if len(left):
            parts.append((left, self._direct(rows[left])))
        return in_order(parts)

    def _fetch_around(self, rows: Rows, max_rows: int) -> bool:
        """Fetch announced rows from the first of ``rows`` on; False where none was announced."""
        if not self._announced:
            return False
        waiting = np.concatenate(self._announced)
        known = np.flatnonzero(waiting == rows[0])
        if not len(known):
            known = np.flatnonzero(np.isin(waiting, rows))
        if not len(known):
            return False
        first = int(known[0])
        if first < max_rows // 2:
            first = 0  # another thread will ask for those before; further back they were given up
        # Other threads are about to ask for the newest of what is left; for the rest nobody came.
        self._fetched.shrink(max_rows // 4)
        self._fetched.compact()
        chosen = waiting[first : first + max_rows - len(self._fetched)]
        rest = waiting[first + len(chosen) :]
        self._announced = [rest] if len(rest) else []
        self._fetched.add(chosen, self._gathered(chosen))
        return True

    def _gathered(self, rows: Rows) -> Message:
        """Return rows in their order, each of their groups decoded once."""
        order = np.argsort(rows, kind="stable")
        ascending = rows[order]
        groups = self._group_of(ascending)
        gathering = Gathering(len(rows))

        def fetch(part: slice) -> None:
            wanted, places = ascending[part], order[part]

            def pick(message: Message, first: int) -> None:
                start, stop = np.searchsorted(wanted, [first, first + len(message)])
                if start < stop:
                    gathering.put(message, wanted[start:stop] - first, places[start:stop])

            self._visit(int(groups[part.start]), pick)

        cuts = np.flatnonzero(np.diff(groups)) + 1
        bounds = [0, *cuts.tolist(), len(rows)]
        with ThreadPoolExecutor(_GROUPS_AT_ONCE, thread_name_prefix="decode") as pool:
            for _ in pool.map(fetch, map(slice, bounds[:-1], bounds[1:])):
                pass
        return gathering.message()
