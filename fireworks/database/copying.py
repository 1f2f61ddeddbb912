"""Rows into PostgreSQL by COPY, its own bulk path."""

from __future__ import annotations

import datetime
import uuid
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from fireworks.database import drivers
from fireworks.database.cells import Y2K, held

Across = Sequence[Sequence[Any]]
Rows = Sequence[tuple[Any, ...]]

_UNIQUE_VIOLATION = "23505"

# By the number of a type in PostgreSQL: the declared types whose cells are sent to it in binary,
# which it need not parse. A longer integer would be cut off.
_BINARY: dict[int, Any] = {
    16: sa.Boolean,
    17: sa.LargeBinary,
    20: sa.Integer,
    21: sa.SmallInteger,
    23: sa.Integer,
    25: sa.String,
    701: sa.Float,
    1043: sa.String,
    1114: sa.DateTime,
}
_INT4, _INT8, _TIMESTAMP = 23, 20, 1114


def insert(
    connection: sa.Connection, table: sa.Table, names: Sequence[str], across: Across
) -> None:
    """Add rows to a table.

    Args:
        connection: Where to write; the transaction is the caller's.
        table: The table.
        names: The columns of the rows.
        across: The cells of each column, as the driver takes them.

    Raises:
        sqlalchemy.exc.DBAPIError: The database refused a row, or the connection was lost.
    """
    quoted = drivers.Names(connection.dialect, table, names)
    types = _binary_types(connection, table, quoted)
    _copy(connection, quoted, quoted.table, *_sent(across, types))


def upsert(
    connection: sa.Connection, table: sa.Table, names: Sequence[str], across: Across
) -> None:
    """Add rows to a table; one with the same key is changed.

    Most rows are new where rows are written at all: they are copied straight into the table. Where
    a key was there already, that is undone, and the rows go through a temporary table.

    Arguments and errors are those of `insert`. The rows have the columns of the primary key.
    """
    quoted = drivers.Names(connection.dialect, table, names)
    rows, types = _sent(across, _binary_types(connection, table, quoted))
    # Where every statement is a transaction of its own, it is undone as a whole by itself.
    alone = connection.connection.dbapi_connection.autocommit  # pyright: ignore
    try:
        with nullcontext() if alone else connection.begin_nested():
            _copy(connection, quoted, quoted.table, rows, types)
    except IntegrityError as error:
        if getattr(error.orig, "sqlstate", None) != _UNIQUE_VIOLATION:
            raise
    else:
        return
    places = [quoted.names.index(name) for name in quoted.key]
    last_of_each = {tuple(row[place] for place in places): row for row in rows}
    through = f"fireworks_{uuid.uuid4().hex}"
    make = f"CREATE TEMPORARY TABLE {through} AS SELECT {quoted.listed} FROM {quoted.table} LIMIT 0"
    move = (
        f"INSERT INTO {quoted.table} ({quoted.listed}) SELECT {quoted.listed} FROM {through}"
        f"{quoted.on_conflict}"
    )
    with drivers.errors_of(connection, move), drivers.cursor(connection) as cursor:
        cursor.execute(make, ())
        _copy(connection, quoted, through, list(last_of_each.values()), types)
        cursor.execute(move, ())
        cursor.execute(f"DROP TABLE {through}")


def _sent(across: Across, types: list[int] | None) -> tuple[Rows, list[int] | None]:
    """Return the rows and the types as which they are sent; None for text.

    In binary a time is eight bytes, like a long integer; the driver takes long to make it that.
    """
    if types is not None:
        across = [
            _since_2000(cells) if number == _TIMESTAMP else cells
            for cells, number in zip(across, types, strict=True)
        ]
        types = [_INT8 if number == _TIMESTAMP else number for number in types]
    return list(zip(*across, strict=True)), types


def _since_2000(times: Sequence[datetime.datetime | None]) -> list[int | None]:
    """Return times as microseconds since 2000."""
    since_1970 = pa.array(times, pa.timestamp("us")).view(pa.int64())
    return pc.call_function("subtract", [since_1970, pa.scalar(Y2K)]).to_pylist()


def _copy(
    connection: sa.Connection,
    quoted: drivers.Names,
    into: str,
    rows: Rows,
    types: list[int] | None,
) -> None:
    """Copy rows into a table."""
    form = "" if types is None else " (FORMAT BINARY)"
    # Names come quoted for statements with parameters, in which %% stands for %; this has none.
    sql = f"COPY {into} ({quoted.listed}) FROM STDIN{form}".replace("%%", "%")
    with (
        drivers.errors_of(connection, sql),
        drivers.cursor(connection) as cursor,
        cursor.copy(sql) as copy,
    ):
        if types is not None:
            copy.set_types(types)
        write_row = copy.write_row
        for row in rows:
            write_row(row)


def _binary_types(
    connection: sa.Connection, table: sa.Table, quoted: drivers.Names
) -> list[int] | None:
    """Return the numbers of the columns' types; None where not all can be sent in binary."""
    sql = f"SELECT {quoted.listed} FROM {quoted.table} LIMIT 0"
    known: dict[str, list[int]] = connection.info.setdefault("fireworks_types", {})
    if sql not in known:
        with drivers.errors_of(connection, sql), drivers.cursor(connection) as cursor:
            cursor.execute(sql, ())
            known[sql] = [described.type_code for described in cursor.description]
    types = known[sql]
    for name, number in zip(quoted.plain, types, strict=True):
        kind = held(table.columns[name])
        if not isinstance(kind, _BINARY.get(number, ())):
            return None
        if isinstance(kind, sa.DateTime) and kind.timezone:
            return None
        if number == _INT4 and isinstance(kind, sa.BigInteger):
            return None
    return types
