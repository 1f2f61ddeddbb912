"""Never evict."""

from __future__ import annotations

import numpy as np

from fireworks.cache.policies.policy import BoolArray, Int64Array, Policy


class Keep(Policy):
    """Keeps what came first and refuses what does not fit.

    The best policy for reshuffled epochs, where each row is used once an epoch: what stays is
    there the next time, while least-recently-used has evicted nearly every row before its turn
    comes again.
    """

    selective = True

    def resize(self, slots: int) -> None:
        pass

    def inserted(self, slots: Int64Array, ids: Int64Array) -> None:
        pass

    def read(self, slots: Int64Array, ids: Int64Array) -> None:
        pass

    def removed(self, slots: Int64Array) -> None:
        pass

    def victims(self, count: int, evictable: BoolArray) -> Int64Array:
        return np.empty(0, np.int64)

    def preferred(self, ids: Int64Array) -> Int64Array:
        return np.arange(len(ids))
