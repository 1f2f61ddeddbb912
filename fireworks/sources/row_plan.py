"""Rows that were announced, fetched together before they are asked for.

A globally shuffled epoch asks for a few rows of every row group with every batch. Decoding the
groups for each batch would take hours; so, when the first of the announced rows is asked for, as
many of those that follow as fit into memory are picked out of their groups, each group decoded
once, and handed out as they are asked for.
"""

from __future__ import annotations

import itertools
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fireworks.message import Message, concat
from fireworks.source import Rows
from fireworks.sources.gathering import Gathering

_SHARES = 16
"""Fetched rows are kept in so many shares, so that those handed out can be let go of early."""

_DECODERS = 2
"""Groups are decoded so many at a time: what is held beside the rows stays small."""

_PAIRS_LOOKED_AT = 4096
_SCATTERED = 1 / 64
"""Rows are worth planning for where the group changes more often than once in 64 rows."""

_NO_ROWS = np.empty(0, np.int64)


@dataclass
class _Share:
    rows: Rows  # ascending, each once
    message: Message
    left: int  # how many of them are still to be asked for


class RowPlan:
    """Announced rows, and those of them that have been fetched. Thread-safe.

    Args:
        group_of: Returns the group of each row.
        group: Returns the rows of a group, and the number of its first row.
        direct: Returns rows that were not announced.
    """

    def __init__(
        self,
        group_of: Callable[[Rows], NDArray[np.int64]],
        group: Callable[[int], tuple[Message, int]],
        direct: Callable[[Rows], Message],
    ) -> None:
        self._group_of = group_of
        self._group = group
        self._direct = direct
        self._lock = threading.Lock()
        self._announced: list[Rows] = []
        self._sorted: tuple[Rows, Rows] | None = None  # announced rows, and their places
        self._shares: deque[_Share] = deque()

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
            self._sorted = None
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
            self._announced = [each[~np.isin(each, rows)] for each in self._announced]
            self._sorted = None
            for share in self._shares:
                share.left -= int(np.isin(share.rows, rows).sum())
            self._let_go()

    def read(self, rows: Rows, max_rows: int) -> Message:
        """Return rows, announced or not, in the order asked for.

        Args:
            rows: The rows.
            max_rows: How many announced rows to fetch together.
        """
        if not self._announced and not self._shares:
            return self._direct(rows)
        left = np.arange(len(rows))
        places: list[NDArray[np.int64]] = []
        parts: list[Message] = []
        with self._lock:
            left = self._hand_out(rows, left, places, parts)
            while len(left) and self._fetch_around(rows[left], max_rows):
                left = self._hand_out(rows, left, places, parts)
        if len(left):
            places.append(left)
            parts.append(self._direct(rows[left]))
        if len(parts) == 1:
            return parts[0]
        return concat(parts).take(np.argsort(np.concatenate(places)))

    def _hand_out(
        self,
        rows: Rows,
        left: NDArray[np.int64],
        places: list[NDArray[np.int64]],
        parts: list[Message],
    ) -> NDArray[np.int64]:
        """Move what the shares have of ``rows[left]`` into ``parts``; return what is left."""
        for share in self._shares:
            if not len(left):
                break
            at = np.searchsorted(share.rows, rows[left])
            at[at == len(share.rows)] = 0
            here = share.rows[at] == rows[left]
            if here.any():
                places.append(left[here])
                parts.append(share.message.take(at[here]))
                share.left -= int(here.sum())
                left = left[~here]
        self._let_go()
        return left

    def _let_go(self) -> None:
        if any(share.left <= 0 for share in self._shares):
            self._shares = deque(share for share in self._shares if share.left > 0)

    def _fetch_around(self, rows: Rows, max_rows: int) -> bool:
        """Fetch announced rows from the first of ``rows`` on; False where none was announced."""
        if not self._announced:
            return False
        waiting = self._announced[0]
        if len(self._announced) > 1:
            waiting = np.concatenate(self._announced)
            self._announced = [waiting]
        if self._sorted is None:
            order = np.argsort(waiting, kind="stable")
            self._sorted = (waiting[order], order)
        ascending, order = self._sorted
        at = np.searchsorted(ascending, rows)
        at[at == len(ascending)] = 0
        known = at[ascending[at] == rows] if len(ascending) else _NO_ROWS
        if not len(known):
            return False
        first = int(order[known].min())
        if first < max_rows // 2:
            first = 0  # another thread will ask for those before; further back they were given up
        while sum(len(share.rows) for share in self._shares) > max_rows // 4:
            self._shares.popleft()  # rows that nobody came for
        behind = first + max_rows - sum(len(share.rows) for share in self._shares)
        chosen, rest = waiting[first:behind], waiting[behind:]
        self._announced = [rest] if len(rest) else []
        self._sorted = None
        self._shares.extend(self._fetched(chosen))
        return True

    def _fetched(self, rows: Rows) -> list[_Share]:
        share_of = np.arange(len(rows)) // -(-len(rows) // _SHARES)
        group_of = self._group_of(rows)
        order = np.lexsort((rows, share_of, group_of))
        rows, share_of, group_of = rows[order], share_of[order], group_of[order]
        stretches = [
            (int(group_of[span.start]), [_moved(each, span.start) for each in shares])
            for span in _runs(group_of)
            for shares in [_runs(share_of[span])]
        ]
        wanted = {each.start: np.unique(rows[each]) for _, shares in stretches for each in shares}
        sizes = np.zeros(_SHARES, np.int64)
        for start, ones in wanted.items():
            sizes[share_of[start]] += len(ones)
        gathered = [Gathering(int(size)) for size in sizes]
        chosen: list[list[Rows]] = [[] for _ in range(_SHARES)]
        with ThreadPoolExecutor(_DECODERS, thread_name_prefix="decode") as pool:
            waiting = deque(pool.submit(self._group, group) for group, _ in stretches[:_DECODERS])
            for i, (_, shares) in enumerate(stretches):
                message, first = waiting.popleft().result()
                if i + _DECODERS < len(stretches):
                    waiting.append(pool.submit(self._group, stretches[i + _DECODERS][0]))
                for each in shares:
                    share, ones = int(share_of[each.start]), wanted[each.start]
                    gathered[share].add(message, ones - first)
                    chosen[share].append(ones)
        counts = np.bincount(share_of, minlength=_SHARES).tolist()
        return [
            _Share(np.concatenate(chosen[share]), gathered[share].message(), count)
            for share, count in enumerate(counts)
            if count
        ]


def _moved(span: slice, by: int) -> slice:
    return slice(span.start + by, span.stop + by)


def _runs(values: NDArray[np.int64]) -> list[slice]:
    """Return the stretches of equal values."""
    cuts = np.flatnonzero(np.diff(values)) + 1
    bounds = [0, *cuts.tolist(), len(values)]
    return [slice(a, b) for a, b in itertools.pairwise(bounds)]
