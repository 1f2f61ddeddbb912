"""A map from row ids to small integers that is read and written by whole arrays."""

from __future__ import annotations

from itertools import repeat
from typing import Any

import numpy as np
from numpy.typing import NDArray

Int64Array = np.ndarray[Any, np.dtype[np.int64]]

ABSENT = -1
# A table of this many entries takes 16 MB; ids beyond it must be dense to be kept in one.
_SMALL = 1 << 22
_MOST_PER_ROW = 64


class IdMap:
    """Ids (int64) to values of at least 0; what is absent reads as -1.

    Row numbers lie in a table, where an array of ids is one gather. Ids that are negative, or so
    large that a table would be mostly empty, lie in a dict.

    Args:
        dtype: The type that holds the values and one more.
    """

    def __init__(self, dtype: type[np.signedinteger[Any]] = np.int32) -> None:
        self._dtype = dtype
        self.clear()

    def guess(self, ids: Int64Array) -> Int64Array | None:
        """The values of ids that are present, and anything at all for the others; or None.

        Faster than `get` for those who can check what they get.
        """
        if self._table is None:
            return None
        try:
            found = self._table.take(ids)  # negative ids count from the end
        except IndexError:
            return None
        return np.subtract(found, 1, dtype=np.int64)

    def lacks(self, ids: Int64Array) -> bool:
        """Whether none of ids is present, as far as that is quickly told: False may be wrong."""
        if self._table is None:
            return False
        try:
            return not np.count_nonzero(self._table.take(ids))
        except IndexError:
            return False

    def get(self, ids: Int64Array) -> Int64Array:
        """The values of ids, -1 for those that are absent."""
        table = self._table
        if table is None:
            found = map(self._dict.get, ids.tolist(), repeat(ABSENT))
            return np.fromiter(found, np.int64, len(ids))
        if not len(ids) or _highest(ids) < len(table):
            return np.subtract(table.take(ids), 1, dtype=np.int64)
        inside = ids.view(np.uint64) < len(table)
        found = np.subtract(table.take(np.where(inside, ids, 0)), 1, dtype=np.int64)
        return np.where(inside, found, ABSENT)

    def items(self) -> tuple[Int64Array, Int64Array]:
        """All ids, in no order, and their values."""
        if self._table is None:
            ids, values = list(self._dict), list(self._dict.values())
            return np.array(ids, np.int64), np.array(values, np.int64)
        present = self._table.nonzero()[0]
        return present, np.subtract(self._table[present], 1, dtype=np.int64)

    def set(self, ids: Int64Array, values: Int64Array) -> None:
        """Give ids, each at most once, their values."""
        if not len(ids):
            return
        if self._table is not None:
            highest = _highest(ids)
            if highest >= len(self._table):
                self._grow(highest, len(ids))
        if self._table is None:
            self._dict.update(zip(ids.tolist(), values.tolist(), strict=True))
        else:
            self._table[ids] = values + 1

    def remove(self, ids: Int64Array) -> None:
        """Forget ids; those that are absent are passed over."""
        if self._table is None:
            for each in ids.tolist():
                self._dict.pop(each, None)
        else:
            self._table[ids[ids.view(np.uint64) < len(self._table)]] = 0

    def forget(self, ids: Int64Array) -> None:
        """Forget ids that are present."""
        if self._table is None:
            self.remove(ids)
        else:
            self._table[ids] = 0

    def clear(self) -> None:
        """Forget all ids."""
        # Entries are values + 1: of a large table of zeros only the pages in use cost time.
        self._table: NDArray[np.signedinteger[Any]] | None = np.zeros(1024, self._dtype)
        self._dict: dict[int, int] = {}

    def _grow(self, highest: int, more: int) -> None:
        table = self._table
        assert table is not None
        size = 1 << highest.bit_length()
        present = np.count_nonzero(table)
        if size > max(_SMALL, _MOST_PER_ROW * (present + more)):
            ids, values = self.items()
            self._dict = dict(zip(ids.tolist(), values.tolist(), strict=True))
            self._table = None
            return
        larger = np.zeros(size, self._dtype)
        larger[: len(table)] = table
        self._table = larger


def _highest(ids: Int64Array) -> int:
    """The highest of some ids, seen as unsigned: a negative one is larger than any table."""
    unsigned = ids.view(np.uint64)
    return int(unsigned[unsigned.argmax()])  # quicker than max
