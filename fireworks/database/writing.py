"""Messages into a table: rows added, or put in place of those with the same key."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import mysql, postgresql, sqlite

from fireworks.database.columns import to_records
from fireworks.message import Message


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
    if len(message):
        connection.execute(sa.insert(table), to_records(message, table, connection.dialect))


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
    if len(message):
        records = to_records(message, table, connection.dialect)
        connection.execute(_upsert(connection.dialect.name, table, message), records)


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
