"""Ways to have the rows of a SELECT sent a chunk at a time, keeping no writer waiting."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from fireworks.database import reading
from fireworks.database.columns import from_rows, plain
from fireworks.message import Message

Field = sa.Column[Any]

_SLOWEST_READER = 7 * 24 * 3600
"""Seconds that a MariaDB server waits for a reader to take more rows; by default it is a minute."""


def pages(
    connection: sa.Connection,
    first: sa.Select[Any],
    following: sa.Select[Any],
    behind: Callable[[Message], Mapping[str, Any]],
    fields: Sequence[Field],
    chunk_rows: int,
) -> Generator[Message]:
    """Yield rows by one SELECT a chunk, each in a transaction of its own.

    Args:
        connection: Where to read.
        first: The SELECT of all rows.
        following: That of the rows behind a chunk, which its parameters say.
        behind: Returns these parameters for a chunk.
        fields: What each selected column is.
        chunk_rows: Rows in a chunk.
    """
    select, given = first.limit(chunk_rows), {}
    following = following.limit(chunk_rows)
    with reading.reader(connection, fields) as read:
        while True:
            with connection.begin():
                chunk = read(select, given)
            if len(chunk):
                yield chunk
            if len(chunk) < chunk_rows:
                return
            select, given = following, behind(chunk)


def cursor(
    connection: sa.Connection, select: sa.Select[Any], fields: Sequence[Field], chunk_rows: int
) -> Generator[Message]:
    """Yield the rows of one SELECT as the server sends them."""
    is_mariadb = connection.dialect.name in ("mysql", "mariadb")
    if is_mariadb:
        connection.exec_driver_sql(f"SET SESSION net_write_timeout = {_SLOWEST_READER}")
    chunks = reading.stream(connection, select, fields, chunk_rows)
    ended = False
    try:
        for chunk in chunks:  # noqa: UP028  (what closes this generator must not close that first)
            yield chunk
        ended = True
    finally:
        if is_mariadb and not ended:
            _abandon(connection)


def _abandon(connection: sa.Connection) -> None:
    """Close a connection to MariaDB whose result has not been read to its end."""
    # PyMySQL would first read all rows that are left, however many, and knows no other way out.
    result: Any = getattr(connection.connection.dbapi_connection, "_result", None)
    if result is not None:
        result.unbuffered_active = False
    connection.invalidate()


def spooled(
    connection: sa.Connection, select: sa.Select[Any], fields: Sequence[Field], chunk_rows: int
) -> Generator[Message]:
    """Yield the rows of one SELECT from a temporary table, which SQLite keeps in a file.

    While a cursor is open, SQLite commits nothing that others write (unless the database has a
    write-ahead log), so a pipeline that writes to the database it reads from would stand still.
    """
    name = f"fireworks_{uuid.uuid4().hex}"
    # Without types, so that every cell stays as it is.
    stored = [sa.column(f"c{place}", field.type) for place, field in enumerate(fields)]
    table = sa.table(name, *stored, schema="temp")
    listed = ", ".join(f"c{place}" for place in range(len(fields)))
    connection.exec_driver_sql(f"CREATE TEMPORARY TABLE {name} ({listed})")
    try:
        names = [column.name for column in stored]
        connection.execute(sa.insert(table).from_select(names, select))
        connection.commit()
        row = sa.literal_column("rowid", sa.Integer)
        chunk, first = [], 0
        while not chunk or len(chunk) == chunk_rows:
            where = sa.and_(row > first, row <= first + chunk_rows)
            read = sa.select(*map(plain, stored)).select_from(table).where(where).order_by(row)
            with connection.begin():
                chunk = connection.execute(read).all()
            if not chunk:
                return
            first += chunk_rows
            yield from_rows(chunk, fields)
    finally:
        connection.rollback()
        connection.exec_driver_sql(f"DROP TABLE temp.{name}")
        connection.commit()
