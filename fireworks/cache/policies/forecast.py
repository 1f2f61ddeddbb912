"""Evict what is needed furthest in the future."""

from __future__ import annotations

import numpy as np

from fireworks.cache.id_map import ABSENT, IdMap
from fireworks.cache.policies.policy import BoolArray, Int64Array, Policy
from fireworks.cache.policies.queue import SlotQueue
from fireworks.message.rows import last_of_each

NEVER = np.iinfo(np.int64).max

_LATE = 1 << 16
"""Uses that others have overtaken by so many are no longer waited for."""


class Forecast(Policy):
    """Evicts the row whose next use is furthest away: Belady's rule, given what is announced.

    A row about which nothing is announced is taken to be needed never, and leaves first; of
    several such rows, the one used longest ago. A new row that is needed later than all that are
    there is not stored. Optimal, as far as the announcements reach and hold (Belady, 1966).
    """

    selective = True

    def __init__(self) -> None:
        self._next_use = np.empty(0, np.int64)  # by slot: position of the next use, or NEVER
        self._unneeded = SlotQueue()  # the slots whose next use is NEVER, by their last use
        self._first = IdMap(np.int64)  # id -> position of its next announced use
        self._last = IdMap(np.int64)  # id -> position of its last announced use
        # From the position `_base` on, the position of the same id's use after it.
        self._following = np.empty(1024, np.int64)
        self._base = 0
        self._reached = 0  # the highest position whose use has happened
        self._clock = 0  # positions announced

    def resize(self, slots: int) -> None:
        next_use = np.full(slots, NEVER, np.int64)
        next_use[: len(self._next_use)] = self._next_use
        self._next_use = next_use
        self._unneeded.resize(slots)

    def inserted(self, slots: Int64Array, ids: Int64Array) -> None:
        self._expect(slots, self._needed(ids))

    def read(self, slots: Int64Array, ids: Int64Array) -> None:
        self.missed(ids)
        last = last_of_each(ids)
        if last is not None:
            last.sort()
            slots, ids = slots[last], ids[last]
        self._expect(slots, self._needed(ids))

    def _expect(self, slots: Int64Array, uses: Int64Array) -> None:
        self._next_use[slots] = uses
        unneeded = uses == NEVER
        self._unneeded.remove(slots[~unneeded])
        self._unneeded.stamp(slots[unneeded])

    def missed(self, ids: Int64Array) -> None:
        # As many of the next announced uses of these ids have happened as they occur here.
        ids, times = np.unique(ids, return_counts=True)
        first = self._first.get(ids)
        announced = first != ABSENT
        if not np.count_nonzero(announced):
            return
        ids, times, following = ids[announced], times[announced], first[announced]
        while np.count_nonzero(happened := (times > 0) & (following != NEVER)):
            uses = following[happened]
            self._reached = max(self._reached, int(uses.max()))
            following[happened] = self._following[uses - self._base]
            times -= 1
        self._set_first(ids, following)

    def _set_first(self, ids: Int64Array, first: Int64Array) -> None:
        over = first == NEVER
        self._first.remove(ids[over])
        self._last.remove(ids[over])
        self._first.set(ids[~over], first[~over])

    def removed(self, slots: Int64Array) -> None:
        self._next_use[slots] = NEVER
        self._unneeded.remove(slots)

    def victims(self, count: int, evictable: BoolArray) -> Int64Array:
        unneeded = self._unneeded.first(count, evictable)
        count -= len(unneeded)
        if not count:
            return unneeded
        slots = (evictable & (self._next_use != NEVER)).nonzero()[0]
        uses = -self._next_use[slots]
        if count < len(slots):
            nearest = np.argpartition(uses, count)[:count]
            slots, uses = slots[nearest], uses[nearest]
        return np.concatenate([unneeded, slots[uses.argsort()]])

    def preferred(self, ids: Int64Array) -> Int64Array:
        return np.argsort(self._needed(ids), kind="stable")

    def replaces(self, ids: Int64Array, slots: Int64Array) -> BoolArray:
        # A row that is needed never replaces another such row: what is announced may be too short
        # to tell, and then the newer one is the better guess.
        needed = self._needed(ids)
        return (needed < self._next_use[slots]) | (self._next_use[slots] == NEVER)

    def forecast(self, ids: Int64Array, slots: Int64Array) -> None:
        if self._clock - self._base + len(ids) > len(self._following):
            self._forget_passed(len(ids))
        positions = np.arange(self._clock, self._clock + len(ids))
        self._clock += len(ids)
        self._following[positions - self._base] = NEVER
        while len(ids):
            # Once for the first occurrence of every id, then for the second, …
            _, where = np.unique(ids, return_index=True)
            self._announce(ids[where], slots[where], positions[where])
            rest = np.ones(len(ids), bool)
            rest[where] = False
            ids, slots, positions = ids[rest], slots[rest], positions[rest]

    def _announce(self, ids: Int64Array, slots: Int64Array, positions: Int64Array) -> None:
        last = self._last.get(ids)
        known = last != ABSENT
        self._following[last[known] - self._base] = positions[known]
        self._first.set(ids[~known], positions[~known])
        self._last.set(ids, positions)
        fresh = ~known & (slots != ABSENT)
        self._next_use[slots[fresh]] = positions[fresh]
        self._unneeded.remove(slots[fresh])

    def release(self, ids: Int64Array, slots: Int64Array) -> None:
        self._first.remove(ids)
        self._last.remove(ids)
        needed = slots[slots != ABSENT]
        needed = needed[self._next_use[needed] != NEVER]
        self._expect(needed, np.full(len(needed), NEVER))

    def _forget_passed(self, more: int) -> None:
        """Make room for more positions; what was announced and left out is given up by and by.

        Several readers need not keep to the order exactly, but what lies far behind the one that is
        furthest will not come.
        """
        cut = max(self._base, self._reached - _LATE)
        ids, first = self._first.items()
        late = first < cut
        self._set_first(ids[late], self._after(first[late], cut))
        slots = (self._next_use < cut).nonzero()[0]
        self._expect(slots, self._after(self._next_use[slots], cut))
        left = self._following[cut - self._base : self._clock - self._base].copy()
        needed = len(left) + more
        if 3 * needed > 2 * len(self._following):  # or this would come again soon
            self._following = np.empty(2 * needed, np.int64)
        self._following[: len(left)] = left
        self._base = cut

    def _after(self, positions: Int64Array, cut: int) -> Int64Array:
        """The first use from ``cut`` on of the same row, for each position."""
        while np.count_nonzero(late := positions < cut):
            positions[late] = self._following[positions[late] - self._base]
        return positions

    def _needed(self, ids: Int64Array) -> Int64Array:
        first = self._first.get(ids)
        return np.where(first == ABSENT, NEVER, first)
