"""What drivers give for the cells of a column, turned into a column of a Message as a whole."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import sqlalchemy as sa
from numpy.typing import NDArray
from sqlalchemy.dialects import postgresql

from fireworks.database.columns import message_of
from fireworks.database.declared import MarkedType, kind_of
from fireworks.database.kinds.text import CategoryKind
from fireworks.errors import WrongValue
from fireworks.message import Message

Cells = Sequence[Any]
Columns = Sequence[sa.Column[Any]]

_MICROSECONDS = pa.timestamp("us")
_FLOATS = (None, 4, 5, 700, 701)
"""What drivers call floating point numbers; an average may be a Decimal."""

_POSTGRESQL_INTEGERS = (20, 21, 23)
"""What PostgreSQL calls integers; others have no booleans of their own."""

Y2K = 946_684_800_000_000
"""Microseconds from 1970 to 2000, where PostgreSQL begins to count."""

_FIRST = np.datetime64("0001-01-01", "us")
_LAST = np.datetime64("9999-12-31T23:59:59.999999", "us")

_BINARY = (sa.Integer, sa.Float, sa.Boolean, sa.String, sa.LargeBinary)


def sends_binary(columns: Columns, dialect: sa.Dialect) -> bool:
    """Return whether to ask for binary cells: PostgreSQL, where all are of types known here."""
    return dialect.name == "postgresql" and all(
        is_plain_time(kind := held(column))
        or (isinstance(kind, _BINARY) and not isinstance(kind, sa.Enum | postgresql.ENUM))
        for column in columns
    )


def held(column: sa.Column[Any]) -> sa.types.TypeEngine[Any]:
    """Return the type of SQL that a column's cells have in the database."""
    return column.type.kind.holds if isinstance(column.type, MarkedType) else column.type


def from_driver(
    across: Sequence[Cells],
    description: Sequence[Sequence[Any]],
    columns: Columns,
    dialect: sa.Dialect,
    binary: bool = False,
) -> Message:
    """Return rows as a driver gave them as a Message.

    Args:
        across: The cells of each column.
        description: The cursor's.
        columns: What the columns are.
        dialect: Whose driver it is.
        binary: Whether the cells were asked for in binary.

    Raises:
        WrongValue: A value is of another kind than declared.
    """

    def given() -> Iterator[Any]:
        for column, cells, described in zip(columns, across, description, strict=True):
            try:
                yield processed(cells, column, dialect, described[1], binary)
            except pa.ArrowException as error:
                raise WrongValue(
                    f"The column {column.name!r} is declared {column.type!r} and holds {error}."
                ) from error

    return message_of(given(), columns, len(across[0]) if across else 0)


def from_arrays(arrays: Iterable[Any], columns: Columns, num_rows: int) -> Message:
    """Return columns that came as Arrow or numpy arrays as a Message.

    Raises:
        WrongValue: A value is of another kind than declared.
    """

    def given() -> Iterator[Any]:
        for column, cells in zip(columns, arrays, strict=True):
            looks_up = isinstance(kind_of(column.type), CategoryKind)
            yield cells.tolist() if looks_up and not isinstance(cells, list) else cells

    return message_of(given(), columns, num_rows)


def processed(
    cells: Cells, column: sa.Column[Any], dialect: sa.Dialect, code: Any, binary: bool = False
) -> Any:
    """Return a driver's cells as SQLAlchemy would give them, or as an array of the same values.

    Args:
        cells: The cells of one column.
        column: The column.
        dialect: Whose driver it is.
        code: The driver's own code of the type, from the cursor's description.
        binary: Whether PostgreSQL sent times as microseconds since 2000.
    """
    kind = held(column)
    if is_plain_time(kind):
        times = _times(cells, dialect.name, binary)
        if times is not None:
            return times
    elif kind is column.type and (dialect.name != "postgresql" or code in _POSTGRESQL_INTEGERS):
        numbers = _numbers(cells, kind)
        if numbers is not None:
            return numbers
    process = _processor(kind, dialect, code)
    return cells if process is None else [process(cell) for cell in cells]


@lru_cache(maxsize=1024)
def _processor(
    kind: sa.types.TypeEngine[Any], dialect: sa.Dialect, code: Any
) -> Callable[[Any], Any] | None:
    """Return what a cell goes through; found once, not for every batch."""
    if isinstance(kind, sa.Boolean):  # 0 and 1 serve as well
        return None
    if isinstance(kind, sa.Float):  # of which SQLAlchemy makes Decimals where it is told to
        return None if code in _FLOATS else _as_float
    return kind.dialect_impl(dialect).result_processor(dialect, code)


def _as_float(cell: Any) -> float | None:
    return None if cell is None else float(cell)


def is_plain_time(kind: object) -> bool:
    """Return whether a type of SQL is a time without a zone."""
    return isinstance(kind, sa.DateTime) and not kind.timezone


def _numbers(cells: Cells, kind: sa.types.TypeEngine[Any]) -> NDArray[Any] | None:
    """Return integers or booleans as an array; None where there are others among them."""
    try:
        if isinstance(kind, sa.Boolean):
            values = np.frombuffer(bytes(cells), np.uint8)
            return values.view(np.bool_) if values.max(initial=0) <= 1 else None
        if isinstance(kind, sa.Integer):
            return np.frombuffer(array("q", cells), np.int64)
    except (TypeError, ValueError, OverflowError):
        pass
    return None


def _times(cells: Cells, dialect: str, binary: bool) -> Any:
    """Return times without a zone as an array of datetime64[us]; None where they need a look."""
    if binary:
        since_2000 = pa.array(cells, pa.int64())
        times = pc.call_function("add", [since_2000, pa.scalar(Y2K)]).view(_MICROSECONDS)
        return times_within_years(times.to_numpy(zero_copy_only=False))
    if dialect == "sqlite":
        try:
            times = pa.array(cells, pa.string()).cast(_MICROSECONDS)
        except pa.ArrowException:
            return None  # SQLAlchemy reads it, or says what is wrong
        return times.to_numpy(zero_copy_only=False)
    return None


def times_within_years(times: NDArray[np.datetime64]) -> NDArray[np.datetime64]:
    """Return times if all are within the years that Python knows.

    Raises:
        pyarrow.ArrowInvalid: One is infinite, or outside of the years 1 to 9999.
    """
    if ((times < _FIRST) | (times > _LAST)).any():
        raise pa.ArrowInvalid("a time that is infinite, or outside of the years 1 to 9999")
    return times
