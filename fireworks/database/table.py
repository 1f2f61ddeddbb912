"""A table of a database as an indexed source."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray

from fireworks.database.columns import from_rows, plain
from fireworks.database.engine import (
    Database,
    TableLike,
    connect,
    reflect,
    the_key,
    with_engine,
    without_engine,
)
from fireworks.errors import ColumnNotFound, RowsVanished, suggest
from fireworks.message import Message
from fireworks.source import Rows, Source

_KEYS_PER_SELECT = 10_000
"""Bound parameters a statement; SQLite takes 32,766, others more."""


class TableSource(Source):
    """The rows of a database table, in the order of its key, each to be had by its index.

    The keys are scanned once, at the first use; rows are then read with ``WHERE key IN (…)``, so
    that a shuffled epoch over a table needs no copy of it. Rows added to the table later are not
    seen.

    Args:
        table: A Table, a mapped class, or the name of a table.
        engine: An SQLAlchemy engine or URL, or the path of a SQLite file.
        columns: The columns to read, in this order; all by default.
        name: Tells this source from others of its class.

    Attributes:
        table: The SQLAlchemy Table.
        engine: The SQLAlchemy engine.

    Raises:
        DatabaseNotFound: There is no such SQLite file.
        TableNotFound: There is no such table; the nearest name is offered.
        ColumnNotFound: There is no such column; the nearest name is offered.
        WrongValue: The table has no primary key of one column.
        RowsVanished: (when read) a row was deleted since the keys were scanned.
    """

    def __init__(
        self,
        table: TableLike,
        engine: Database,
        *,
        columns: Sequence[str] | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(name=name)
        self.engine = connect(engine)
        self.table = reflect(table, self.engine)
        self._key = the_key(self.table)
        known = self.table.columns.keys()
        for each in columns or ():
            if each not in known:
                raise ColumnNotFound(
                    f"The table {self.table.name!r} has no column {each!r}.{suggest(each, known)}"
                )
        self._selected = [self.table.columns[each] for each in columns or known]
        self._keys: NDArray[Any] | None = None

    @property
    def keys(self) -> NDArray[Any]:
        """The keys of all rows, in order; int64 for an integer key, objects for any other."""
        with self._lock:
            if self._keys is None:
                with self.engine.connect() as connection:
                    found = connection.scalars(sa.select(self._key).order_by(self._key)).all()
                is_integer = isinstance(self._key.type, sa.Integer)
                self._keys = np.array(found, np.int64 if is_integer else object)
            return self._keys

    @property
    def num_rows(self) -> int:
        """Rows that the table had when its keys were scanned."""
        return len(self.keys)

    def read(self, rows: Rows) -> Message:
        """Select the rows by their keys."""
        keys = self.keys[rows].tolist()
        wanted = list(dict.fromkeys(keys))
        found: list[Sequence[Any]] = []
        place: dict[Any, int] = {}
        with self.engine.connect() as connection:
            for start in range(0, len(wanted), _KEYS_PER_SELECT):
                select = sa.select(self._key, *map(plain, self._selected)).where(
                    self._key.in_(wanted[start : start + _KEYS_PER_SELECT])
                )
                for key, *cells in connection.execute(select):
                    place[key] = len(found)
                    found.append(cells)
        if len(found) < len(wanted):
            gone = [key for key in wanted if key not in place]
            raise RowsVanished(
                f"{len(gone)} rows of the table {self.table.name!r} were deleted since its keys "
                f"were scanned: {', '.join(map(repr, gone[:5]))}{', …' if gone[5:] else ''}."
            )
        return from_rows(found, self._selected).take(
            np.array([place[key] for key in keys], np.int64)
        )

    def prepare(self) -> None:
        """Scan the keys."""
        _ = self.keys

    def describe(self) -> dict[str, Any]:
        """Return the table's name and the columns read."""
        return {"table": self.table.name, "columns": [str(each.name) for each in self._selected]}

    def __repr__(self) -> str:
        return f"TableSource({self.table.name!r})"

    def __getstate__(self) -> dict[str, Any]:
        return without_engine(super().__getstate__())

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(with_engine(state))
