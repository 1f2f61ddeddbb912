"""Cells that a database gives, as columns of a Message: by the declared types."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any

import pyarrow as pa
import sqlalchemy as sa
from sqlalchemy.dialects import mysql

from fireworks.database.declared import MarkedType, kind_of
from fireworks.errors import WrongValue
from fireworks.message import Message


def from_rows(rows: Sequence[Sequence[Any]], columns: Sequence[sa.Column[Any]]) -> Message:
    """Return rows that a SELECT gave as a Message; the kinds come from the declared types.

    Raises:
        WrongValue: A value is of another kind than declared.
    """
    return message_of(transposed(rows, len(columns)), columns, len(rows))


def transposed(rows: Sequence[Sequence[Any]], num_columns: int) -> list[list[Any]]:
    """Return rows as columns."""
    # zip(*rows) would make an iterator of every row, for which Python collects garbage.
    cells = list(chain.from_iterable(rows))
    return [cells[place::num_columns] for place in range(num_columns)]


def message_of(
    across: Iterable[Sequence[Any]], columns: Sequence[sa.Column[Any]], num_rows: int
) -> Message:
    """Return the cells of each column as a Message.

    Raises:
        WrongValue: A value is of another kind than declared.
    """
    # SQLAlchemy's names are a kind of str that carries how it is quoted: str() makes them plain.
    return Message.from_columns(
        {
            str(column.name): read_column(cells, column)
            for column, cells in zip(columns, across, strict=True)
        },
        num_rows,
    )


def read_column(cells: Sequence[Any], column: sa.Column[Any]) -> Any:
    """Return the cells of one column as a column of a Message, by its declared type.

    Raises:
        WrongValue: A value is of another kind than declared.
    """
    try:
        return kind_of(column.type).read(cells, bool(column.nullable))
    except (TypeError, ValueError, OverflowError, pa.ArrowException) as error:
        of = "" if getattr(column, "table", None) is None else f" of {column.table.name!r}"
        raise WrongValue(
            f"The column {column.name!r}{of} is declared {column.type!r} and holds something "
            f"else: {error}"
        ) from error


def plain(column: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
    """Return what to SELECT for a column, so that `from_rows` gets its cells."""
    if isinstance(column.type, MarkedType):
        return sa.type_coerce(column, column.type.kind.holds).label(_name(column))
    if isinstance(column.type, mysql.FLOAT):  # of which MariaDB would print six digits
        return sa.cast(column, sa.Double()).label(_name(column))
    return column


def _name(column: Any) -> str | None:
    return getattr(column, "name", None)
