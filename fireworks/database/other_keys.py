"""Unique columns beside the key: an upsert of MariaDB changes the row that has their values."""

from __future__ import annotations

import sqlalchemy as sa

from fireworks.database.parameters import column_cells
from fireworks.errors import WrongValue
from fireworks.message import Message

_KEYS_PER_SELECT = 2_000


def has_other_keys(connection: sa.Connection, table: sa.Table) -> bool:
    """Return whether rows of a table are told apart by more than its primary key."""
    indices = sa.inspect(connection).get_indexes(table.name, table.schema)
    return any(each["unique"] for each in indices)


def check_all_there(connection: sa.Connection, table: sa.Table, rows: Message) -> None:
    """Raise unless rows that were upserted are all in the table, in this transaction.

    Raises:
        WrongValue: One is not: another row, with another key, was changed in its place.
    """
    key = list(table.primary_key.columns)
    cells = [column_cells(rows, str(each.name), each, connection.dialect) for each in key]
    wanted = list(dict.fromkeys(zip(*cells, strict=True)))
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
