"""Rows out of a database as Messages: the rows of a SELECT in chunks, and rows by their keys."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray

from fireworks.database.columns import from_rows, plain
from fireworks.message import Message

_KEYS_PER_SELECT = 10_000
"""Bound parameters a statement; SQLite takes 32,766, others more."""


def stream(
    connection: sa.Connection,
    select: sa.Select[Any],
    columns: Sequence[sa.Column[Any]],
    chunk_rows: int,
) -> Iterator[Message]:
    """Yield the rows of a SELECT, in its order, as Messages of ``chunk_rows`` rows.

    The database sends rows as they are asked for, so that memory is bounded by the chunk however
    large the result is. The connection is busy until the iterator ends or is closed.

    Args:
        connection: Where to read; the transaction is the caller's.
        select: What to read.
        columns: What each selected column is, in the select's order: its name, its declared type
            and whether it may hold NULL. For an expression, a Column made up for it.
        chunk_rows: Rows in a Message; the last has fewer, and none has 0.

    Raises:
        sqlalchemy.exc.DBAPIError: The database refused, or the connection was lost
            (``connection_invalidated``).
        WrongValue: A value is of another kind than declared.
    """
    bytes_for_tensors = select.with_only_columns(
        *(plain(each) for each in select.selected_columns), maintain_column_froms=True
    )
    streamed = connection.execution_options(stream_results=True, max_row_buffer=chunk_rows)
    with streamed.execute(bytes_for_tensors) as result:
        for rows in result.partitions(chunk_rows):
            yield from_rows(rows, columns)


def fetch(
    connection: sa.Connection,
    columns: Sequence[sa.Column[Any]],
    key: Sequence[sa.Column[Any]],
    keys: NDArray[Any],
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
        sqlalchemy.exc.DBAPIError, WrongValue: As in `stream`.
    """
    single = len(key) == 1
    wanted = list(dict.fromkeys(keys.tolist()))
    found: list[Sequence[Any]] = []
    place: dict[Any, int] = {}
    at_once = _KEYS_PER_SELECT // len(key)
    for start in range(0, len(wanted), at_once):
        some = wanted[start : start + at_once]
        is_wanted = key[0].in_(some) if single else sa.tuple_(*key).in_(some)
        select = sa.select(*key, *map(plain, columns)).where(is_wanted)
        for row in connection.execute(select):
            place[row[0] if single else tuple(row[: len(key)])] = len(found)
            found.append(row[len(key) :])
    rows = from_rows(found, columns)
    return rows, np.fromiter((place.get(each, -1) for each in keys.tolist()), np.int64, len(keys))
