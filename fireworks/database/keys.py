"""The keys of a table's rows, as they were when an epoch began."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray

from fireworks.database import keyset, reading
from fireworks.database.cells import held
from fireworks.database.columns import from_rows
from fireworks.database.ordering import in_order
from fireworks.database.parameters import column_cells
from fireworks.message import Message, concat
from fireworks.message.kinds.number import NumberColumn
from fireworks.message.kinds.string import StringColumn
from fireworks.source import Rows

_ROWS_PER_CHUNK = 65_536

Column = sa.Column[Any]


class Keys:
    """The keys of some rows in their order: 8 bytes a row for integers, Arrow strings for text.

    Args:
        columns: The columns of the key.
        dialect: The database's.
        cells: Their cells, one row a key.
    """

    def __init__(self, columns: Sequence[Column], dialect: sa.Dialect, cells: Message) -> None:
        self.cells = cells
        self._columns = columns
        self._dialect = dialect

    def __len__(self) -> int:
        return len(self.cells)

    @cached_property
    def digest(self) -> str:
        """What two equal lists of keys share."""
        digest = hashlib.blake2b(digest_size=12)
        for column in self.cells.stored.values():
            for part in _bytes(column):
                digest.update(part)
        return digest.hexdigest()

    @cached_property
    def last(self) -> list[Any] | None:
        """The last key, as JSON holds it; None where there are no rows."""
        if not len(self):
            return None
        return keyset.encoded(self._rows(self.cells[-1:])[0])

    def at(self, rows: Rows) -> NDArray[Any]:
        """Return the keys of rows, as `reading.fetch` takes them."""
        found = self.cells.take(rows)
        if len(self._columns) == 1:
            column = found.stored[str(self._columns[0].name)]
            if isinstance(column, NumberColumn) and column.array.dtype.kind in "iu":
                return column.array.astype(np.int64, copy=False)
        keys = np.empty(len(found), object)
        for row, key in enumerate(self._rows(found)):
            keys[row] = key[0] if len(key) == 1 else key
        return keys

    def shared(self, other: Keys) -> int:
        """Return how many of the first keys are the same as another's."""
        if self.digest == other.digest and len(self) == len(other):
            return len(self)
        most = min(len(self), len(other))
        same = np.ones(most, bool)
        for name in self.cells.columns:
            mine, theirs = (each.cells[name][:most].to_numpy() for each in (self, other))
            same &= np.asarray(mine == theirs, bool)
        return most if same.all() else int(np.argmin(same))

    def shown(self, rows: Rows) -> str:
        """Return some keys for a message."""
        keys = self.at(rows[:5]).tolist()
        return ", ".join(map(repr, keys)) + (", …" if len(rows) > 5 else "")

    def _rows(self, cells: Message) -> list[tuple[Any, ...]]:
        across = [
            column_cells(cells, str(column.name), column, self._dialect) for column in self._columns
        ]
        return list(zip(*across, strict=True))


def scan(
    connection: sa.Connection,
    columns: Sequence[Column],
    conditions: Sequence[sa.ColumnElement[bool]],
    until: Sequence[Any] | None = (),
) -> Keys:
    """Read the keys of a table's rows, in order.

    Args:
        connection: Where to read.
        columns: The columns of the key.
        conditions: Which rows.
        until: The last key to read, as `Keys.last` gives it: None for no rows. By default, all.
    """
    order = in_order(columns, connection.dialect)
    if until is None:
        return Keys(columns, connection.dialect, from_rows([], columns))
    if len(until):
        last = keyset.decoded(until, [held(column) for column in columns])
        conditions = [*conditions, keyset.up_to(order, last)]
    select = sa.select(*columns).where(*conditions).order_by(*order)
    chunks = list(reading.stream(connection, select, columns, _ROWS_PER_CHUNK))
    cells = concat(chunks) if chunks else from_rows([], columns)
    return Keys(columns, connection.dialect, cells)


def _bytes(column: Any) -> list[Any]:
    """Return memory that two columns share in content exactly where they are equal."""
    if isinstance(column, NumberColumn):
        return [np.ascontiguousarray(column.array)]
    if isinstance(column, StringColumn):
        array = column.array
        _, offsets, data = array.buffers()
        bounds = np.frombuffer(offsets, np.int64)[array.offset : array.offset + len(array) + 1]
        text = b"" if data is None else memoryview(data)[bounds[0] : bounds[-1]]
        return [np.diff(bounds), text]
    return ["\x1f".join(map(repr, column.objects())).encode()]
