"""Unique columns beside the key: an upsert of MariaDB may change the row that has their values."""

from __future__ import annotations

import numpy as np
import sqlalchemy as sa
from sqlalchemy.exc import NoSuchTableError

from fireworks.database.parameters import column_cells
from fireworks.errors import WrongValue
from fireworks.message import Message

_KEYS_PER_SELECT = 2_000

_KNOWN = "fireworks_other_keys"


def has_other_keys(connection: sa.Connection, table: sa.Table) -> bool:
    """Return whether rows of a table are told apart by more than its primary key.

    A connection asks the database once.
    """
    known: dict[tuple[str | None, str], bool] = connection.info.setdefault(_KNOWN, {})
    name = table.schema, str(table.name)
    if name not in known:
        try:
            indices = sa.inspect(connection).get_indexes(table.name, table.schema)
        except NoSuchTableError:
            return False  # what writes to it finds out, too
        known[name] = any(each["unique"] for each in indices)
    return known[name]


def last_of_each(connection: sa.Connection, table: sa.Table, rows: Message) -> Message:
    """Return the rows without those whose key comes again further down."""
    last = {key: row for row, key in enumerate(_keys(connection, table, rows))}
    return rows if len(last) == len(rows) else rows.take(np.array(sorted(last.values())))


def check_all_there(connection: sa.Connection, table: sa.Table, rows: Message) -> None:
    """Raise unless rows that were upserted are all in the table, in this transaction.

    Raises:
        WrongValue: One is not: another row, with another key, was changed in its place.
    """
    key = list(table.primary_key.columns)
    wanted = _keys(connection, table, rows)
    for first in range(0, len(wanted), _KEYS_PER_SELECT):
        some = wanted[first : first + _KEYS_PER_SELECT]
        found = sa.select(*key).where(sa.tuple_(*key).in_(some))
        there = {tuple(row) for row in connection.execute(found)}
        if len(there) < len(some):
            missing = next((each for each in some if each not in there), some[0])
            shown = ", ".join(f"{c.name} = {v!r}" for c, v in zip(key, missing, strict=True))
            raise WrongValue(
                f"{len(rows)} rows could not be written to {table.name!r}, and none of them was: "
                f"the row with {shown} has the same value as another row in a column that is "
                "unique, beside the key."
            )


def _keys(connection: sa.Connection, table: sa.Table, rows: Message) -> list[tuple[object, ...]]:
    across = [
        column_cells(rows, str(each.name), each, connection.dialect)
        for each in table.primary_key.columns
    ]
    return list(zip(*across, strict=True))
