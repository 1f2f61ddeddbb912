"""What a cache has done so far."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class CacheStats:
    """Counts since the cache was made.

    Attributes:
        hits: Rows asked for that were there, in memory or spilled.
        misses: Rows asked for that were not there.
        insertions: Rows stored that were not there before.
        evictions: Rows that left memory to make room.
        refused: Rows that were not stored because the policy keeps others.
        rows: Rows in memory now.
        bytes: Bytes that the values of those rows take.
        spilled: Rows on disk now.
    """

    hits: int = 0
    misses: int = 0
    insertions: int = 0
    evictions: int = 0
    refused: int = 0
    rows: int = 0
    bytes: int = 0
    spilled: int = 0

    @property
    def hit_rate(self) -> float:
        """Hits among the rows asked for; 0 before the first."""
        asked = self.hits + self.misses
        return self.hits / asked if asked else 0.0
