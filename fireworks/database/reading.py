"""Rows out of a database as Messages: one SELECT whole or in chunks, and rows by their keys."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, TypeAlias

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray

from fireworks.database import adbc, binary_rows, drivers
from fireworks.database.cells import from_driver, sends_binary
from fireworks.database.columns import from_rows, plain, transposed
from fireworks.message import Message

_PARAMETERS = 16_384
"""Bound parameters a statement; SQLite takes 32,766, others more."""

Columns = Sequence[sa.Column[Any]]


def read(connection: sa.Connection, select: sa.Select[Any], columns: Columns) -> Message:
    """Return all rows of a SELECT.

    Args:
        connection: Where to read; the transaction is the caller's.
        select: What to read.
        columns: What each selected column is, in the select's order: its name, its declared type
            and whether it may hold NULL. For an expression, a Column made up for it.

    Raises:
        sqlalchemy.exc.DBAPIError: The database refused, or the connection was lost
            (``connection_invalidated``).
        WrongValue: A value is of another kind than declared.
    """
    select = _with_plain_cells(select)
    if not drivers.is_known(connection):
        return from_rows(connection.execute(select).all(), columns)
    statement = drivers.Statement(select, connection.dialect)
    return _read(connection, statement.sql, statement.parameters(), columns)


def _read(
    connection: sa.Connection, sql: str, parameters: drivers.Parameters, columns: Columns
) -> Message:
    binary = sends_binary(columns, connection.dialect)
    with drivers.errors_of(connection, sql), drivers.cursor(connection, binary=binary) as cursor:
        if binary:
            found = binary_rows.read(connection, sql, parameters, columns)
            if found is not None:
                return found
        cursor.execute(sql, parameters)
        rows = cursor.fetchall()
        return _from_tuples(rows, cursor.description, columns, connection.dialect, binary)


Read: TypeAlias = Callable[[sa.Select[Any], Mapping[str, Any]], Message]
"""Reads a SELECT, with values for its named parameters."""


@contextmanager
def reader(connection: sa.Connection, columns: Columns) -> Generator[Read]:
    """Lend a function that reads SELECTs, one after the other, as `read` does.

    Each is compiled once, however often it is read with other values. Through ADBC it reads on a
    connection of its own: it does not see what the caller has not committed, and each SELECT is a
    transaction of its own.

    Args:
        connection: Where to read.
        columns: What each selected column is, as for `read`.
    """
    statements: dict[sa.Select[Any], drivers.Statement] = {}

    def read_known(select: sa.Select[Any], values: Mapping[str, Any]) -> Message:
        statement = statements.get(select)
        if statement is None:
            plain_cells = _with_plain_cells(select)
            statement = statements[select] = drivers.Statement(plain_cells, connection.dialect)
        sql, parameters = statement.sql, statement.parameters(values)
        found = None if other is None else adbc.read(other, connection, sql, parameters, columns)
        return _read(connection, sql, parameters, columns) if found is None else found

    def read_by_sqlalchemy(select: sa.Select[Any], values: Mapping[str, Any]) -> Message:
        return from_rows(connection.execute(_with_plain_cells(select), values).all(), columns)

    with adbc.opened(connection) as other:
        yield read_known if drivers.is_known(connection) else read_by_sqlalchemy


def stream(
    connection: sa.Connection, select: sa.Select[Any], columns: Columns, chunk_rows: int
) -> Iterator[Message]:
    """Yield the rows of a SELECT, in its order, as Messages of ``chunk_rows`` rows.

    The database sends rows as they are asked for, so that memory is bounded by the chunk however
    large the result is. The connection is busy until the iterator ends or is closed.

    Args:
        connection: Where to read; the transaction is the caller's.
        select: What to read.
        columns: What each selected column is, as in `read`.
        chunk_rows: Rows in a Message; the last has fewer, and none has 0.

    Raises:
        sqlalchemy.exc.DBAPIError, WrongValue: As in `read`.
    """
    select = _with_plain_cells(select)
    if not drivers.is_known(connection):
        streamed = connection.execution_options(stream_results=True, max_row_buffer=chunk_rows)
        with streamed.execute(select) as result:
            for rows in result.partitions(chunk_rows):
                yield from_rows(rows, columns)
        return
    statement = drivers.Statement(select, connection.dialect)
    binary = sends_binary(columns, connection.dialect)
    with (
        drivers.errors_of(connection, statement.sql),
        drivers.cursor(connection, streams=True, binary=binary) as cursor,
    ):
        cursor.execute(statement.sql, statement.parameters())
        while rows := cursor.fetchmany(chunk_rows):
            yield _from_tuples(rows, cursor.description, columns, connection.dialect, binary)


def fetch(
    connection: sa.Connection, columns: Columns, key: Columns, keys: NDArray[Any]
) -> tuple[Message, NDArray[np.int64]]:
    """Return the rows of a table that have the given keys.

    Args:
        connection: Where to read; the transaction is the caller's.
        columns: The columns wanted, of one table.
        key: The columns of the table's key.
        keys: The keys of the rows wanted, shape (n,): int64 for one integer column; objects
            otherwise, of which each is a cell, or a tuple for a key of several columns. A key may
            come twice.

    Returns:
        The rows found, each once and in any order, and for each key the index of its row among
        them, shape (n,); -1 where there is no such row.

    Raises:
        sqlalchemy.exc.DBAPIError, WrongValue: As in `read`.
    """
    if keys.dtype != object and drivers.is_known(connection):
        return _fetch_by_numbers(connection, tuple(columns), key[0], keys)
    single = len(key) == 1
    wanted = list(dict.fromkeys(keys.tolist()))
    rows: list[Sequence[Any]] = []
    place: dict[Any, int] = {}
    at_once = _PARAMETERS // len(key)
    for start in range(0, len(wanted), at_once):
        some = wanted[start : start + at_once]
        is_wanted = key[0].in_(some) if single else sa.tuple_(*key).in_(some)
        select = sa.select(*key, *map(plain, columns)).where(is_wanted)
        for row in connection.execute(select):
            place[row[0] if single else tuple(row[: len(key)])] = len(place)
            rows.append(row[len(key) :])
    places = [place.get(each, -1) for each in keys.tolist()]
    return from_rows(rows, columns), np.array(places, np.int64)


def _fetch_by_numbers(
    connection: sa.Connection,
    columns: tuple[sa.Column[Any], ...],
    key: sa.Column[Any],
    keys: NDArray[Any],
) -> tuple[Message, NDArray[np.int64]]:
    """Fetch rows whose key is an integer: the way of every shuffled epoch over a table."""
    wanted, which = np.unique(keys, return_inverse=True)
    prefix, name, binary = _prefix(connection.dialect, columns, key)
    rows: list[Sequence[Any]] = []
    with drivers.errors_of(connection, prefix), drivers.cursor(connection, binary=binary) as cursor:
        for start in range(0, max(1, len(wanted)), _PARAMETERS):
            some = wanted[start : start + _PARAMETERS].tolist()
            condition, parameters = _is_one_of(connection.dialect.name, name, some)
            cursor.execute(prefix + condition, parameters)
            rows += cursor.fetchall()
        description = cursor.description
    found, *across = transposed(rows, len(columns) + 1)
    message = from_driver(across, description[1:], columns, connection.dialect, binary)
    if not found:
        return message, np.full(len(keys), -1)
    ids = np.array(found, np.int64)
    order = np.argsort(ids, kind="stable")
    near = np.minimum(np.searchsorted(ids, wanted, sorter=order), len(ids) - 1)
    places = np.where(ids[order[near]] == wanted, order[near], -1)
    return message, places[which]


def _is_one_of(dialect: str, name: str, numbers: list[int]) -> tuple[str, Any]:
    """Return the condition that a key is one of some integers, which are in order, each once."""
    if numbers and len(numbers) == numbers[-1] - numbers[0] + 1:
        mark = "?" if dialect == "sqlite" else "%s"
        return f"{name} BETWEEN {mark} AND {mark}", (numbers[0], numbers[-1])
    if dialect == "postgresql":  # one parameter, however many there are
        return f"{name} = ANY(%s)", ("{" + ",".join(map(str, numbers)) + "}",)
    if dialect == "sqlite":
        return f"{name} IN ({','.join('?' * len(numbers))})", numbers
    return f"{name} IN %s", (numbers or [None],)


@lru_cache(maxsize=64)
def _prefix(
    dialect: sa.Dialect, columns: tuple[sa.Column[Any], ...], key: sa.Column[Any]
) -> tuple[str, str, bool]:
    """Return a SELECT up to its condition, the key's name in SQL, and whether to read in binary."""
    select = sa.select(key, *map(plain, columns))
    sql, name = (str(each.compile(dialect=dialect)) for each in (select, key))
    return f"{sql} WHERE ", name, sends_binary(columns, dialect)


def _from_tuples(
    rows: Sequence[Sequence[Any]],
    description: Any,
    columns: Columns,
    dialect: sa.Dialect,
    binary: bool,
) -> Message:
    across = transposed(rows, len(columns))
    return from_driver(across, description, columns, dialect, binary)


def _with_plain_cells(select: sa.Select[Any]) -> sa.Select[Any]:
    return select.with_only_columns(
        *(plain(each) for each in select.selected_columns), maintain_column_froms=True
    )
