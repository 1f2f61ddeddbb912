"""Random eviction."""

from __future__ import annotations

import numpy as np

from fireworks.cache.policies.policy import BoolArray, Int64Array, Policy


class Random(Policy):
    """Evicts rows drawn at random; the same seed and operations evict the same rows.

    Args:
        seed: Of the generator.
    """

    def __init__(self, seed: int) -> None:
        self._generator = np.random.default_rng(seed)
        self._places = np.empty(0, np.int64)  # by slot, where it was drawn last

    def resize(self, slots: int) -> None:
        self._places = np.zeros(slots, np.int64)

    def inserted(self, slots: Int64Array, ids: Int64Array) -> None:
        pass

    def read(self, slots: Int64Array, ids: Int64Array) -> None:
        pass

    def removed(self, slots: Int64Array) -> None:
        pass

    def victims(self, count: int, evictable: BoolArray) -> Int64Array:
        slots = len(self._places)
        if count * 4 < slots:
            # Few of many: draw twice as many as needed and drop doubles, instead of permuting all.
            drawn = self._generator.integers(0, slots, 2 * count)
            turns = np.arange(2 * count)
            self._places[drawn] = turns
            drawn = drawn[evictable.take(drawn) & (self._places.take(drawn) == turns)]
            if len(drawn) >= count:
                return drawn[:count]
        return self._generator.permutation(evictable.nonzero()[0])[:count]

    def preferred(self, ids: Int64Array) -> Int64Array:
        return self._generator.permutation(len(ids))
