"""Which row lies in which slot, how large it is, and whether it may leave."""

from __future__ import annotations

from typing import Any

import numpy as np

from fireworks.cache.id_map import ABSENT, IdMap

Int64Array = np.ndarray[Any, np.dtype[np.int64]]

# No row has this id; see `as_ids`.
FREE = np.iinfo(np.int64).min


class SlotTable:
    """The bookkeeping of slots, by whole arrays of them.

    Attributes:
        slots: How many slots there are.
        rows: How many of them are used.
        bytes: Bytes of their rows.
        ids: By slot, the id of its row; `FREE` where it has none.
        sizes: By slot, the bytes of its row.
        used: By slot, whether it holds a row.
        pins: By slot, how often its row is pinned.
        evictable: By slot, whether it holds a row that is not pinned.
    """

    def __init__(self) -> None:
        self.slots = 0
        self.rows = 0
        self.bytes = 0
        self.ids = np.empty(0, np.int64)
        self.sizes = np.empty(0, np.int64)
        self.pins = np.empty(0, np.int64)
        self.used = np.empty(0, bool)
        self.evictable = np.empty(0, bool)
        self._touched = 0  # slots from here on were never used: they take no memory yet
        self._free = np.empty(0, np.int64)  # a stack of slots that were; the first `_freed` count
        self._freed = 0
        self._map = IdMap()

    def find(self, ids: Int64Array) -> Int64Array:
        """The slots of ids, -1 for those that have none; a new array."""
        return self._map.get(ids)

    def lacks(self, ids: Int64Array) -> bool:
        """Whether none of ids has a slot."""
        return self._map.lacks(ids) or bool((self._map.get(ids) == ABSENT).all())

    def slots_of(self, ids: Int64Array) -> Int64Array | None:
        """The slots of ids if all of them have one, else None."""
        slots = self._map.guess(ids) if self.slots else None
        # Comparing bytes is the fastest way of comparing small arrays.
        if slots is not None and self.ids.take(slots).tobytes() == ids.tobytes():
            return slots
        slots = self._map.get(ids)
        return None if (slots == ABSENT).any() else slots

    def resize(self, slots: int) -> None:
        """Make room for this many slots, never fewer than before."""
        more = slots - self.slots
        self.ids = np.append(self.ids, np.full(more, FREE))
        self.sizes = _longer(self.sizes, slots)
        self.pins = _longer(self.pins, slots)
        self.used = _longer(self.used, slots)
        self.evictable = _longer(self.evictable, slots)
        self._free = _longer(self._free, slots)
        self.slots = slots

    def occupy(self, ids: Int64Array, sizes: Int64Array) -> Int64Array:
        """Give new rows free slots; there must be enough."""
        again = min(len(ids), self._freed)
        slots = np.empty(len(ids), np.int64)
        slots[:again] = self._free[self._freed - again : self._freed][::-1]
        slots[again:] = np.arange(self._touched, self._touched + len(ids) - again)
        self._freed -= again
        self._touched += len(ids) - again
        self.ids[slots] = ids
        self.sizes[slots] = sizes
        self.used[slots] = True
        self.evictable[slots] = True
        self._map.set(ids, slots)
        self.rows += len(ids)
        self.bytes += int(sizes.sum())
        return slots

    def replace(self, slots: Int64Array, ids: Int64Array) -> None:
        """Put new rows, as large as the old ones, where rows leave that are not pinned."""
        self._map.forget(self.ids[slots])
        self.ids[slots] = ids
        self._map.set(ids, slots)

    def resized(self, slots: Int64Array, sizes: Int64Array) -> None:
        """The rows of slots now take other numbers of bytes."""
        self.bytes += int(sizes.sum() - self.sizes[slots].sum())
        self.sizes[slots] = sizes

    def release(self, slots: Int64Array) -> None:
        """Free slots; the pins of their rows are gone."""
        self._free[self._freed : self._freed + len(slots)] = slots
        self._freed += len(slots)
        self._map.forget(self.ids[slots])
        self.ids[slots] = FREE
        self.bytes -= int(self.sizes[slots].sum())
        self.used[slots] = False
        self.evictable[slots] = False
        self.pins[slots] = 0
        self.rows -= len(slots)

    def pin(self, slots: Int64Array) -> None:
        """Keep the rows of slots."""
        self.pins[slots] += 1
        self.evictable[slots] = False

    def unpin(self, slots: Int64Array) -> None:
        """Undo one `pin`."""
        self.pins[slots] -= 1
        self.evictable[slots] = self.pins[slots] == 0


def _longer(array: np.ndarray[Any, Any], length: int) -> np.ndarray[Any, Any]:
    """Return an array with zeros at its end, which take no memory until they are written."""
    longer = np.zeros(length, array.dtype)
    longer[: len(array)] = array
    return longer
