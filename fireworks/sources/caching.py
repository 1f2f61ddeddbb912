"""Rows kept in memory once they have been read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from fireworks.cache import CacheStats, MessageCache
from fireworks.message import Message
from fireworks.source import Rows, Source
from fireworks.sources.prefetch import Prefetcher


class CachingSource(Source):
    """The rows of an indexed source, of which a bounded number is kept in memory.

    What is asked for and not held is read from the input, in one read, and kept as far as the
    policy says. Rows that shufflers, samplers or passes announce (`will_need`) are read ahead in a
    background thread, as far as half of the budget.

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
        """Hits, misses, insertions, evictions and bytes of the cache so far."""
        return self._cache.stats

    @property
    def cached_ids(self) -> Rows:
        """The rows that are held, in increasing order."""
        return self._cache.ids

    def read(self, rows: Rows) -> Message:
        """Return the rows asked for, from memory as far as they are there."""
        if not len(rows):
            return self.input.read(rows)  # a cache that is empty still has no columns
        self._prefetcher.wait_for(rows)
        return self._cache.fetch(rows, read=self._read_above)

    def lookahead(self) -> int:
        """Half of the budget, in rows; what is free where nothing is evicted."""
        stats = self._cache.stats
        budget = self._options["max_rows"]
        if budget is None:
            if self._options["max_bytes"] is None or not stats.rows:
                return 0
            budget = self._options["max_bytes"] * stats.rows // max(1, stats.bytes)
        return (
            min(budget // 2, budget - stats.rows) if self._cache.policy == "keep" else budget // 2
        )

    def expect(self, rows: Rows, deadline: float | None) -> Rows:
        """Read announced rows ahead, and tell the sources above which those will be."""
        if not self.varies:
            rows = rows % self.num_rows
        self._cache.will_need(rows)
        missing = self._cache.missing(rows)[: self.lookahead()]
        if len(missing):
            self.input.will_need(missing, deadline)
            self._prefetcher.announce(missing)
        return np.empty(0, np.int64)

    def release(self, rows: Rows) -> None:
        """Stop reading ahead."""
        self._prefetcher.forget()
        self._cache.wont_need(rows if self.varies else rows % self.num_rows)

    def describe(self) -> dict[str, Any]:
        """Return nothing: what is cached never decides which rows come."""
        return {}

    def _make_cache(self) -> None:
        self._cache = MessageCache(**self._options)
        self._prefetcher = Prefetcher(self._cache, self._read_above)

    def _read_above(self, rows: Rows) -> Message:
        return self.input.read(rows)

    def __getstate__(self) -> dict[str, Any]:
        # A copy fills a cache of its own.
        return {**super().__getstate__(), "_cache": None, "_prefetcher": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._make_cache()
