"""A bounded store of rows, keyed by row id and read as a Message."""

from __future__ import annotations

from fireworks.cache.cache import MessageCache
from fireworks.cache.stats import CacheStats

__all__ = ["CacheStats", "MessageCache"]
