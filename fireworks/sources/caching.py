"""Rows kept in memory once they have been read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fireworks.cache import CacheStats, MessageCache
from fireworks.message import Message
from fireworks.source import Rows, Source


class CachingSource(Source):
    """The rows of an indexed source, of which a bounded number is kept in memory.

    What is asked for and not held is read from the input, in one read, and kept as far as the
    policy says.

    Args:
        max_rows: How many rows to hold at the most.
        max_bytes: How many bytes their values may take.
        policy: Which rows make room, as in `MessageCache`. By default none do: what does not fit
            is read again. Under a shuffle each row comes once an epoch, and then that is best.
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
        inputs: Source | Mapping[str, Source] | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(inputs=inputs, name=name)
        self._options: dict[str, Any] = {
            "max_rows": max_rows,
            "max_bytes": max_bytes,
            "policy": policy,
        }
        self._cache = MessageCache(**self._options)

    @property
    def cached(self) -> CacheStats:
        """Hits, misses, insertions, evictions and bytes of the cache so far."""
        return self._cache.stats

    def read(self, rows: Rows) -> Message:
        """Return the rows asked for, from memory as far as they are there."""
        if not len(rows):
            return self.input.read(rows)  # a cache that is empty still has no columns
        return self._cache.fetch(rows, read=self.input.read)

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_cache": None}  # a copy fills a cache of its own

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._cache = MessageCache(**self._options)
