"""Messages into a table: rows added, or put in place of those with the same key."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from itertools import chain
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import mysql, postgresql, sqlite

from fireworks.database import copying, drivers
from fireworks.database.parameters import to_driver, to_parameters, to_records
from fireworks.message import Message

_CELLS_PER_STATEMENT = 3_000
"""SQLite takes rows faster many at once than one by one; with more cells it gains nothing."""


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
    if connection.dialect.name == "postgresql":
        across = to_driver(message, table, connection.dialect)
        copying.insert(connection, table, message.columns, across)
    else:
        rows = to_parameters(message, table, connection.dialect)
        _insert(connection, table, message.columns, rows)


def upsert(connection: sa.Connection, table: sa.Table, message: Message) -> None:
    """Write rows to a table, in the caller's transaction; one with the same key is changed.

    Of a row whose key is there already, the columns that the Message has are changed and no
    others. Of rows with one key in the Message, the last stays.

    Args:
        connection: Where to write, as in `insert`.
        table: The table; it has a primary key, whose columns the Message has.
        message: The rows.

    Raises:
        ColumnNotFound, WrongType, WrongValue, sqlalchemy.exc.DBAPIError: As in `insert`.
    """
    if not len(message):
        return
    if not _takes_parameters(connection, table, message):
        records = to_records(message, table, connection.dialect)
        connection.execute(_upsert(connection.dialect.name, table, message), records)
        return
    if connection.dialect.name == "postgresql":
        across = to_driver(message, table, connection.dialect)
        copying.upsert(connection, table, message.columns, across)
    else:
        rows = to_parameters(message, table, connection.dialect)
        _insert(connection, table, message.columns, rows, upserts=True)


def _insert(
    connection: sa.Connection,
    table: sa.Table,
    names: Sequence[str],
    rows: Sequence[tuple[Any, ...]],
    *,
    upserts: bool = False,
) -> None:
    """Insert rows of SQLite or MariaDB through the driver."""
    quoted = drivers.Names(connection.dialect, table, names)
    is_sqlite = connection.dialect.name == "sqlite"
    mark = "?" if is_sqlite else "%s"
    row = f"({', '.join([mark] * len(names))})"
    start = f"INSERT INTO {quoted.table} ({quoted.listed}) VALUES "
    end = _on_conflict(quoted, is_sqlite) if upserts else ""
    with drivers.errors_of(connection, start), drivers.cursor(connection) as cursor:
        if not is_sqlite:
            with _zero_is_a_number(cursor, table, names):
                cursor.executemany(start + row + end, rows)  # makes long statements by itself
            return
        at_once = max(1, _CELLS_PER_STATEMENT // len(names))
        whole = len(rows) - len(rows) % at_once
        many = f"{start}{', '.join([row] * at_once)}{end}"
        for first in range(0, whole, at_once):
            cells = chain.from_iterable(rows[first : first + at_once])
            cursor.execute(many, tuple(cells))
        cursor.executemany(start + row + end, rows[whole:])


def _on_conflict(quoted: drivers.Names, is_sqlite: bool) -> str:
    """Return what is to happen to a row whose key is there already."""
    if is_sqlite:
        return quoted.on_conflict
    changed = quoted.others or quoted.key[:1]
    return " ON DUPLICATE KEY UPDATE " + ", ".join(f"{name} = VALUES({name})" for name in changed)


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
        changed: dict[str, Any] = {name: insert.inserted[name] for name in others or key[:1]}
        return insert.on_duplicate_key_update(changed)
    statement = postgresql.insert(table) if dialect == "postgresql" else sqlite.insert(table)
    if not others:
        return statement.on_conflict_do_nothing(index_elements=key)
    changed = {name: statement.excluded[name] for name in others}
    return statement.on_conflict_do_update(index_elements=key, set_=changed)
