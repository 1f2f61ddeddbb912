"""Columns of a Message as the cells that a database is given: by the declared types."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
import sqlalchemy as sa

from fireworks.database.declared import MarkedType, SqlType, kind_of
from fireworks.database.kinds.kind import Cells, Place
from fireworks.errors import ColumnNotFound, suggest
from fireworks.message import Message

_SAMPLE_TIME = datetime.datetime(2026, 1, 2, 3, 4, 5, 6)


def to_records(
    message: Message, table: sa.Table, dialect: sa.Dialect | None = None
) -> list[dict[str, Any]]:
    """Return the rows of a Message as parameters for an INSERT into a table.

    Args:
        message: The rows.
        table: Where they will go.
        dialect: The database's: what it cannot hold is found before it is asked.

    Raises:
        ColumnNotFound: The Message has a column that the table has not, or lacks one that the
            table needs.
        WrongType: A column of another kind than the table's: a tensor for numbers, text for dates.
        WrongValue: A value does not fit its column; row, column and value are named.
    """
    cells = {name: listed(each) for name, each in to_cells(message, table, dialect).items()}
    names = list(cells)
    return [dict(zip(names, row, strict=True)) for row in zip(*cells.values(), strict=True)]


def to_cells(
    message: Message, table: sa.Table, dialect: sa.Dialect | None = None
) -> dict[str, Cells]:
    """Return the columns of a Message as what SQLAlchemy takes for the table's columns.

    Arguments and errors are those of `to_records`.
    """
    for name in message.columns:
        if name not in table.columns:
            known = [column.name for column in table.columns]
            raise ColumnNotFound(
                f"The table {table.name!r} has no column {name!r}.{suggest(name, known)}"
            )
    for column in table.columns:
        if column.name not in message.columns and not _fills_itself(column):
            raise ColumnNotFound(
                f"The table {table.name!r} needs a column {column.name!r}; the rows have "
                f"{', '.join(map(repr, message.columns))}."
            )
    return {name: _cells(message, name, table.columns[name], dialect) for name in message.columns}


def column_cells(
    message: Message, name: str, column: sa.Column[Any], dialect: sa.Dialect | None = None
) -> list[Any]:
    """Return one column of a Message as what SQLAlchemy takes for a column of a table.

    Raises:
        WrongType, WrongValue: As in `to_records`.
    """
    return listed(_cells(message, name, column, dialect))


def _cells(
    message: Message, name: str, column: sa.Column[Any], dialect: sa.Dialect | None
) -> Cells:
    numbered = bool(column.primary_key and column.table.autoincrement_column is column)
    place = Place(
        table=column.table.name,
        column=column.name,
        declared=_declared(column.type),
        nullable=bool(column.nullable) or numbered,
        dialect="" if dialect is None else dialect.name,
    )
    cells = kind_of(column.type).write(message.stored[name], place)
    if not place.nullable and (row := _first_missing(cells)) is not None:
        raise place.unfit(row, None, "it is declared NOT NULL")
    return cells


def _first_missing(cells: Cells) -> int | None:
    """Return the first row that is to be NULL; NaN is a number."""
    if isinstance(cells, list):
        return cells.index(None) if None in cells else None
    if isinstance(cells, np.ndarray):
        missing = np.isnat(cells) if cells.dtype.kind in "mM" else None
    else:
        missing = cells.is_null().to_numpy(zero_copy_only=False) if cells.null_count else None
    return None if missing is None or not missing.any() else int(np.argmax(missing))


def listed(cells: Cells) -> list[Any]:
    """Return cells as Python objects."""
    return cells if isinstance(cells, list) else cells.tolist()


def to_driver(message: Message, table: sa.Table, dialect: sa.Dialect) -> list[Cells]:
    """Return the columns of a Message as cells that the driver itself takes.

    Raises:
        ColumnNotFound, WrongType, WrongValue: As in `to_records`.
    """
    return bound(to_cells(message, table, dialect), table, dialect)


def to_parameters(message: Message, table: sa.Table, dialect: sa.Dialect) -> list[tuple[Any, ...]]:
    """Return the rows of a Message as the driver itself takes them, in the Message's columns.

    Raises:
        ColumnNotFound, WrongType, WrongValue: As in `to_records`.
    """
    return rows_of(to_driver(message, table, dialect))


def rows_of(across: Sequence[Cells]) -> list[tuple[Any, ...]]:
    """Return the rows of which these are the columns."""
    return list(zip(*map(listed, across), strict=True))


def bound(cells: Mapping[str, Cells], table: sa.Table, dialect: sa.Dialect) -> list[Cells]:
    """Return what `to_cells` gave as the driver itself takes it."""
    return [_bound(each, table.columns[name].type, dialect) for name, each in cells.items()]


def _bound(cells: Cells, declared: SqlType, dialect: sa.Dialect) -> Cells:
    if isinstance(declared, MarkedType) and not declared.kind.binds:
        declared = declared.kind.holds
    type_ = declared.dialect_impl(dialect)
    process = type_.bind_processor(dialect)
    if process is None or isinstance(type_, sa.Boolean | sa.LargeBinary):
        return cells  # booleans and bytes already
    if isinstance(type_, sa.DateTime) and process(_SAMPLE_TIME) == str(_SAMPLE_TIME):
        # As SQLAlchemy has SQLite store times unless it is told otherwise, ten times faster; those
        # with a zone are in UTC.
        return pa.array(cells).cast(pa.timestamp("us")).cast(pa.string())
    return [process(cell) for cell in listed(cells)]


def _fills_itself(column: sa.Column[Any]) -> bool:
    """Whether a row may be inserted without the column: NULL, a default, or a number given."""
    return bool(
        column.nullable
        or column.server_default is not None
        or column.default is not None
        or column.computed is not None
        or column.identity is not None
        or column.table.autoincrement_column is column
    )


@lru_cache(maxsize=1024)  # asked for every column of every batch
def _declared(kind: SqlType) -> str:
    return kind.kind.name if isinstance(kind, MarkedType) else repr(kind).partition("(")[0]
