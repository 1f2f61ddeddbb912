"""Messages into a table: rows added, or put in place of those with the same key."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import mysql, postgresql, sqlite

from fireworks.database import copying, drivers, other_keys
from fireworks.database.kinds.kind import Cells
from fireworks.database.parameters import bound, listed, rows_of, to_cells, to_records
from fireworks.errors import ColumnNotFound, WrongValue
from fireworks.message import Message

_CELLS_PER_STATEMENT = 3_000
"""SQLite takes rows faster many at once than one by one; with more cells it gains nothing."""

_ROWS_AT_ONCE = 10_000
"""Rows that MariaDB's driver is given at once."""


def insert(connection: sa.Connection, table: sa.Table, message: Message) -> None:
    """Add rows to a table, in the caller's transaction.

    Columns that the Message lacks get the table's defaults.

    Args:
        connection: Where to write. After an error the caller rolls back: some of the rows may
            have been written.
        table: The table.
        message: The rows.

    Raises:
        ColumnNotFound, WrongType, WrongValue: As in `columns.to_records`.
        sqlalchemy.exc.DBAPIError: The database refused a row, or the connection was lost
            (``connection_invalidated``).
    """
    if not len(message):
        return
    if not _takes_parameters(connection, table, message):
        records = to_records(message, table, connection.dialect)
        connection.execute(sa.insert(table), records)
        return
    cells = to_cells(message, table, connection.dialect)
    if connection.dialect.name == "postgresql":
        copying.insert(connection, table, cells)
    else:
        _insert(connection, table, cells)


def upsert(connection: sa.Connection, table: sa.Table, message: Message) -> None:
    """Write rows to a table, in the caller's transaction; one with the same key is changed.

    Of a row whose key is there already, the columns that the Message has are changed and no
    others. Of rows with one key in the Message, the last stays. A row that has the value of another
    one in a column that is unique beside the key is refused.

    Args:
        connection: Where to write, as in `insert`.
        table: The table; the Message has the columns of its primary key.
        message: The rows.

    Raises:
        ColumnNotFound, WrongType, sqlalchemy.exc.DBAPIError: As in `insert`.
        WrongValue: As there; the table has no primary key; or MariaDB would have changed another
            row than the one with the key.
    """
    _check_key(table, message)
    if not len(message):
        return
    if connection.dialect.name in ("mysql", "mariadb") and other_keys.has_other_keys(
        connection, table
    ):
        # ON DUPLICATE KEY UPDATE takes a row for the same whose value in any unique column is.
        message = other_keys.last_of_each(connection, table, message)
        _write_all(connection, table, message)
        other_keys.check_all_there(connection, table, message)
    else:
        _write_all(connection, table, message)


def _check_key(table: sa.Table, message: Message) -> None:
    key = [str(column.name) for column in table.primary_key.columns]
    if not key:
        raise WrongValue(
            f"The table {table.name!r} has no primary key, so it cannot be known which rows are "
            "there already. Add rows with insert, or give the table a key."
        )
    for name in key:
        if name not in message.columns:
            raise ColumnNotFound(
                f"The table {table.name!r} needs a column {name!r}, of its key; the rows have "
                f"{', '.join(map(repr, message.columns))}."
            )


def _write_all(connection: sa.Connection, table: sa.Table, message: Message) -> None:
    """Upsert rows by the statement of the database's own."""
    if not _takes_parameters(connection, table, message):
        records = to_records(message, table, connection.dialect)
        connection.execute(_upsert(connection.dialect.name, table, message), records)
        return
    cells = to_cells(message, table, connection.dialect)
    if connection.dialect.name == "postgresql":
        copying.upsert(connection, table, cells)
    else:
        _insert(connection, table, cells, upserts=True)


def _insert(
    connection: sa.Connection,
    table: sa.Table,
    cells: Mapping[str, Cells],
    *,
    upserts: bool = False,
) -> None:
    """Insert rows into SQLite or MariaDB through the driver."""
    names, across = list(cells), bound(cells, table, connection.dialect)
    quoted = drivers.Names(connection.dialect, table, names)
    is_sqlite = connection.dialect.name == "sqlite"
    mark = "?" if is_sqlite else "%s"
    row = f"({', '.join([mark] * len(names))})"
    start = f"INSERT INTO {quoted.table} ({quoted.listed}) VALUES "
    end = _on_conflict(quoted, is_sqlite) if upserts else ""
    with drivers.errors_of(connection, start), drivers.cursor(connection) as cursor:
        if not is_sqlite:
            with _zero_is_a_number(cursor, table, names):
                for rows in _in_parts(across, _ROWS_AT_ONCE):
                    # The driver makes long statements of them by itself.
                    cursor.executemany(start + row + end, rows_of(rows))
            return
        at_once = max(1, _CELLS_PER_STATEMENT // len(names))
        many = f"{start}{', '.join([row] * at_once)}{end}"
        for rows in _in_parts(across, at_once):
            if len(rows[0]) == at_once:
                cursor.execute(many, _one_after_the_other(rows))
            else:
                cursor.executemany(start + row + end, rows_of(rows))


def _in_parts(across: Sequence[Cells], rows: int) -> Iterator[list[Cells]]:
    """Yield columns in parts: Python objects of all rows would take much memory, and time."""
    for start in range(0, len(across[0]), rows):
        yield [cells[start : start + rows] for cells in across]


def _one_after_the_other(across: Sequence[Cells]) -> list[Any]:
    """Return the cells of the first row, of the second, and so on."""
    cells: list[Any] = [None] * (len(across) * len(across[0]))
    for place, column in enumerate(across):
        cells[place :: len(across)] = listed(column)
    return cells


def _on_conflict(quoted: drivers.Names, is_sqlite: bool) -> str:
    """Return what is to happen to a row whose key is there already."""
    if is_sqlite:
        return quoted.on_conflict
    same = [f"{name} = VALUES({name})" for name in quoted.others]
    # Without other columns nothing is to change, not even the key of a row found by another one.
    same = same or [f"{name} = {quoted.table}.{name}" for name in quoted.key[:1]]
    return " ON DUPLICATE KEY UPDATE " + ", ".join(same)


@contextmanager
def _zero_is_a_number(cursor: Any, table: sa.Table, names: Sequence[str]) -> Generator[None]:
    """Let a row of MariaDB be number 0: it would be given the next free number instead."""
    numbered = table.autoincrement_column
    if numbered is None or numbered.name not in names:
        yield
        return
    cursor.execute("SELECT @@SESSION.sql_mode")
    (mode,) = cursor.fetchone()
    cursor.execute("SET SESSION sql_mode = %s", (f"{mode},NO_AUTO_VALUE_ON_ZERO",))
    yield
    cursor.execute("SET SESSION sql_mode = %s", (mode,))


def _takes_parameters(connection: sa.Connection, table: sa.Table, message: Message) -> bool:
    """Return whether the driver can be given the rows without SQLAlchemy between them."""
    dialect = connection.dialect
    return drivers.is_known(connection) and all(
        # Defaults made by Python, and types written as expressions of SQL, are SQLAlchemy's.
        column.type.dialect_impl(dialect).bind_expression(sa.bindparam(None)) is None
        if column.name in message.columns
        else column.default is None
        for column in table.columns
    )


def _upsert(dialect: str, table: sa.Table, message: Message) -> sa.Insert:
    """The dialect's own statement."""
    key = [column.name for column in table.primary_key.columns]
    others = [name for name in message.columns if name not in key]
    if dialect in ("mysql", "mariadb"):
        insert = mysql.insert(table)
        changed: dict[str, Any] = {name: insert.inserted[name] for name in others}
        changed = changed or {key[0]: table.columns[key[0]]}
        return insert.on_duplicate_key_update(changed)
    statement = postgresql.insert(table) if dialect == "postgresql" else sqlite.insert(table)
    if not others:
        return statement.on_conflict_do_nothing(index_elements=key)
    changed = {name: statement.excluded[name] for name in others}
    return statement.on_conflict_do_update(index_elements=key, set_=changed)
