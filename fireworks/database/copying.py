"""Rows into PostgreSQL by COPY, its own bulk path."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from contextlib import nullcontext

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from fireworks.database import binary_copy, drivers
from fireworks.database.cells import held
from fireworks.database.kinds.kind import Cells
from fireworks.database.parameters import bound, rows_of

_UNIQUE_VIOLATION = "23505"

_REPLACES = "fireworks_replaces"
"""Where a connection remembers the tables into which rows were written that were there already."""


def insert(connection: sa.Connection, table: sa.Table, cells: Mapping[str, Cells]) -> None:
    """Add rows to a table.

    Args:
        connection: Where to write; the transaction is the caller's.
        table: The table.
        cells: The cells of each column, as `parameters.to_cells` gives them.

    Raises:
        sqlalchemy.exc.DBAPIError: The database refused a row, or the connection was lost.
    """
    quoted = drivers.Names(connection.dialect, table, list(cells))
    _copy(connection, table, quoted, quoted.table, cells)


def upsert(connection: sa.Connection, table: sa.Table, cells: Mapping[str, Cells]) -> None:
    """Add rows to a table; one with the same key is changed.

    Most rows are new where rows are written at all: they are copied straight into the table. Where
    a key was there already, that is undone, and the rows go through a temporary table; so do those
    that this connection writes to the table from then on.

    Arguments and errors are those of `insert`. The rows have the columns of the primary key.
    """
    quoted = drivers.Names(connection.dialect, table, list(cells))
    replaces: set[str] = connection.info.setdefault(_REPLACES, set())
    if quoted.table not in replaces:
        # Where every statement is a transaction of its own, it is undone as a whole by itself.
        alone = connection.connection.dbapi_connection.autocommit  # pyright: ignore
        try:
            with nullcontext() if alone else connection.begin_nested():
                _copy(connection, table, quoted, quoted.table, cells)
        except IntegrityError as error:
            if getattr(error.orig, "sqlstate", None) != _UNIQUE_VIOLATION:
                raise
            replaces.add(quoted.table)
        else:
            return
    through = f"fireworks_{uuid.uuid4().hex}"
    make = f"CREATE TEMPORARY TABLE {through} AS SELECT {quoted.listed} FROM {quoted.table} LIMIT 0"
    # Of rows with one key, the last: the temporary table keeps them as they came.
    key = ", ".join(quoted.key)
    move = (
        f"INSERT INTO {quoted.table} ({quoted.listed}) SELECT DISTINCT ON ({key}) {quoted.listed} "
        f"FROM {through} ORDER BY {key}, ctid DESC{quoted.on_conflict}"
    )
    with drivers.errors_of(connection, move), drivers.cursor(connection) as cursor:
        cursor.execute(make, ())
        _copy(connection, table, quoted, through, cells)
        cursor.execute(move, ())
        cursor.execute(f"DROP TABLE {through}")


def _copy(
    connection: sa.Connection,
    table: sa.Table,
    quoted: drivers.Names,
    into: str,
    cells: Mapping[str, Cells],
) -> None:
    """Copy rows into a table."""
    types = _types(connection, quoted)
    declared = [held(table.columns[name]) for name in quoted.plain]
    as_binary = all(map(binary_copy.is_sent, declared, types))
    form = " (FORMAT BINARY)" if as_binary else ""
    # Names come quoted for statements with parameters, in which %% stands for %; this has none.
    sql = f"COPY {into} ({quoted.listed}) FROM STDIN{form}".replace("%%", "%")
    with (
        drivers.errors_of(connection, sql),
        drivers.cursor(connection) as cursor,
        cursor.copy(sql) as copy,
    ):
        if as_binary:
            copy.write(binary_copy.BEGINNING)
            for some in binary_copy.encoded(list(cells.values()), types):
                copy.write(some)
            copy.write(binary_copy.END)
        else:
            write_row = copy.write_row
            for row in rows_of(bound(cells, table, connection.dialect)):
                write_row(row)


def _types(connection: sa.Connection, quoted: drivers.Names) -> list[int]:
    """Return PostgreSQL's numbers of the columns' types."""
    sql = f"SELECT {quoted.listed} FROM {quoted.table} LIMIT 0"
    known: dict[str, list[int]] = connection.info.setdefault("fireworks_types", {})
    if sql not in known:
        with drivers.errors_of(connection, sql), drivers.cursor(connection) as cursor:
            cursor.execute(sql, ())
            known[sql] = [described.type_code for described in cursor.description]
    return known[sql]
