"""Rows kept in memory once they have been read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from fireworks.cache import CacheStats, MessageCache
from fireworks.message import Message
from fireworks.source import Rows, Source
from fireworks.sources.prefetch import Prefetcher

_BUDGETS_AHEAD = 6


class CachingSource(Source):
    """The rows of an indexed source, of which a bounded number is kept in memory.

    What is asked for and not held is read from the input, in one read, and kept as far as the
    policy says. Rows that shufflers, samplers or passes announce (`will_need`) are read ahead in a
    background thread: as far as half of the budget while there is room, and a little beside a full
    cache, at most a tenth of what it holds. Those of an epoch that has not begun are left alone.

    Args:
        max_rows: How many rows to hold at the most.
        max_bytes: How many bytes their values may take.
        policy: Which rows make room, as in `MessageCache`. By default none do: what does not fit
            is read again. Under a shuffle each row comes once an epoch, and then that is best.
            ``"forecast"`` evicts what is announced latest or not at all.
        spill: A folder for rows that leave memory; they are read from there again.
        inputs: The source of the rows.
        name: Tells this source from others of its class.

    Raises:
        WrongValue: Unknown policy, no limit, or a limit below 1.
    """

    epoch_aware = True
    needs_inputs = True

    def __init__(
        self,
        *,
        max_rows: int | None = None,
        max_bytes: int | None = None,
        policy: str = "keep",
        spill: str | None = None,
        inputs: Source | Mapping[str, Source] | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(inputs=inputs, name=name)
        self._options: dict[str, Any] = {
            "max_rows": max_rows,
            "max_bytes": max_bytes,
            "policy": policy,
            "spill": spill,
        }
        self._make_cache()

    @property
    def cached(self) -> CacheStats:
        """What the cache has done so far.

        ``misses`` are the rows that were read from the input, read ahead or not, and ``hits`` the
        others of those asked for.
        """
        return replace(
            self._cache.stats,
            hits=max(0, self._rows_asked - self._rows_read),
            misses=self._rows_read,
        )

    @property
    def cached_ids(self) -> Rows:
        """The rows that are held, in increasing order."""
        return self._cache.ids

    def read(self, rows: Rows) -> Message:
        """Return the rows asked for, from memory as far as they are there."""
        if not len(rows):
            return self.input.read(rows)  # a cache that is empty still has no columns
        with self._lock:
            self._rows_asked += len(rows)
        return self._prefetcher.read(rows)

    def lookahead(self) -> int:
        """Return how many rows ahead announcements are of use here or upstream.

        A cache that evicts by them looks six times its budget ahead; others read ahead only.
        """
        capacity = self._capacity()
        ahead = _BUDGETS_AHEAD * capacity if self._cache.policy == "forecast" else capacity // 2
        return max(ahead, super().lookahead())

    def expect(self, rows: Rows, deadline: float | None) -> Rows:
        """Read announced rows ahead, and tell the sources above which those will be."""
        if not len(rows):
            return rows
        epochs, places = np.divmod(rows, self.num_rows)
        if not self.varies:
            rows = places
        self._cache.will_need(rows)
        self._prefetcher.announce(rows, epochs)
        return self._cache.missing(rows)

    def release(self, rows: Rows) -> None:
        """Stop reading ahead."""
        self._prefetcher.forget()
        self._cache.wont_need(rows if self.varies else rows % self.num_rows)

    def rows_moved(self, kept: int) -> None:
        """Forget the rows that are others now."""
        held = self._cache.ids
        if self.varies or (len(held) and held[-1] >= kept):
            self._prefetcher.forget()
            self._make_cache()
        for source in self.outputs:
            source.rows_moved(kept)

    def describe(self) -> dict[str, Any]:
        """Return nothing: what is cached never decides which rows come."""
        return {}

    def _make_cache(self) -> None:
        self._cache = MessageCache(**self._options)
        self._prefetcher = Prefetcher(self._cache, self._read_above, self._capacity)
        self._rows_asked = self._rows_read = 0

    def _read_above(self, rows: Rows) -> Message:
        message = self.input.read(rows)
        with self._lock:
            self._rows_read += len(rows)
        return message

    def _capacity(self) -> int:
        """How many rows fit; 0 where their size is not known yet."""
        most, stats = self._options["max_rows"], self._cache.stats
        if self._options["max_bytes"] is not None:
            if not stats.rows:
                return 0
            by_size = self._options["max_bytes"] * stats.rows // max(1, stats.bytes)
            most = by_size if most is None else min(most, by_size)
        return 0 if most is None else int(most)

    def __getstate__(self) -> dict[str, Any]:
        # A copy fills a cache of its own.
        return {**super().__getstate__(), "_cache": None, "_prefetcher": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._make_cache()
