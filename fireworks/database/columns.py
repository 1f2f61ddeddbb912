"""Between the columns of a table and the columns of a Message: by declared type, both ways."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import sqlalchemy as sa
import torch

from fireworks.database.engine import Database, connect
from fireworks.database.tensors import TensorType, decode, encode
from fireworks.errors import ColumnNotFound, WrongType, WrongValue, suggest
from fireworks.message import Message

_KEY_CHARACTERS = 255
"""Longest text key: some databases index text only up to a length that is declared."""


def create_table(
    name: str,
    columns: Message | Mapping[str, sa.types.TypeEngine[Any] | type[sa.types.TypeEngine[Any]]],
    engine: Database | None = None,
    *,
    key: str = "id",
) -> sa.Table:
    """Describe a table that holds the rows of a Message, and create it where it is not there yet.

    Integers become BIGINT, floating point numbers DOUBLE, text TEXT, times DATETIME, tensors
    `TensorType`. A vector column may hold NULL only where the Message's may.

    Args:
        name: The table's name.
        columns: A Message with the columns and kinds wanted, or SQLAlchemy types by name.
        engine: Where to create it; without one, only the description is made.
        key: The column that is the primary key.

    Returns:
        The table.

    Raises:
        ColumnNotFound: The key is none of the columns.
        WrongType: A column of a kind that has no column type, or a key of tensors.
        DatabaseNotFound, WrongValue: As in `connect`.
    """
    names = columns.columns if isinstance(columns, Message) else list(columns)
    if key not in names:
        raise ColumnNotFound(f"The key {key!r} is no column.{suggest(key, names)}")
    described: list[sa.Column[Any]] = []
    for each in names:
        if isinstance(columns, Message):
            kind, nullable = _type_of(columns, each, is_key=each == key)
        else:
            kind, nullable = columns[each], True
        primary = each == key
        described.append(
            sa.Column(each, kind, primary_key=primary, nullable=nullable and not primary)
        )
    table = sa.Table(name, sa.MetaData(), *described)
    if engine is not None:
        table.create(connect(engine, create=True), checkfirst=True)
    return table


def _type_of(message: Message, name: str, *, is_key: bool) -> tuple[sa.types.TypeEngine[Any], bool]:
    """Return the column type for a Message's column, and whether it may hold NULL."""
    array = message.array(name)
    if isinstance(array, torch.Tensor):
        if is_key:
            raise WrongType(
                f"The key {name!r} is a tensor; a key is a vector of numbers or text. "
                f'Make it one: message.to_vectors(["{name}"]).'
            )
        return TensorType(), False
    series = message[name]
    dtype = series.dtype
    nullable = isinstance(dtype, pd.api.extensions.ExtensionDtype)
    if pd.api.types.is_bool_dtype(dtype):
        return sa.Boolean(), nullable
    if pd.api.types.is_integer_dtype(dtype):
        return sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable
    if pd.api.types.is_float_dtype(dtype):
        return sa.Double(), True
    if pd.api.types.is_datetime64_dtype(dtype):
        return sa.DateTime(), True
    if pd.api.types.is_string_dtype(dtype) and pd.api.types.infer_dtype(series) in (
        "string",
        "empty",
    ):
        return sa.String(_KEY_CHARACTERS) if is_key else sa.Text(), True
    raise WrongType(
        f"The column {name!r} of {dtype} has no column type in a database. "
        "Numbers, text, times without zone and tensors have one."
    )


def to_records(message: Message, table: sa.Table) -> list[dict[str, Any]]:
    """Return the rows of a Message as parameters for an INSERT into a table.

    Raises:
        ColumnNotFound: The Message has a column that the table has not, or lacks one that the
            table needs.
        WrongType: A tensor for a column of numbers or text, or the other way round.
    """
    needed = [c.name for c in table.columns if not c.nullable and c.server_default is None]
    for name in message.columns:
        if name not in table.columns:
            known = [column.name for column in table.columns]
            raise ColumnNotFound(
                f"The table {table.name!r} has no column {name!r}.{suggest(name, known)}"
            )
    for name in needed:
        if name not in message.columns and table.columns[name].autoincrement is not True:
            raise ColumnNotFound(
                f"The table {table.name!r} needs a column {name!r}; the rows have "
                f"{', '.join(message.columns)}."
            )
    cells = {name: _cells(message, name, table.columns[name]) for name in message.columns}
    names = list(cells)
    return [dict(zip(names, row, strict=True)) for row in zip(*cells.values(), strict=True)]


def _cells(message: Message, name: str, column: sa.Column[Any]) -> Sequence[Any]:
    values = message.array(name)
    is_tensor = isinstance(values, torch.Tensor)
    if is_tensor != isinstance(column.type, TensorType):
        raise WrongType(
            f"The column {name!r} is a {'tensor' if is_tensor else 'vector'} in the rows and "
            f"{column.type!r} in the table {column.table.name!r}."
        )
    if isinstance(values, torch.Tensor):
        return encode(values)
    series = message[name]
    cells = series.astype(object)
    if isinstance(series.dtype, pd.DatetimeTZDtype) or series.dtype.kind == "M":
        cells = pd.Series([each.to_pydatetime() for each in series], dtype=object)
    missing = series.isna()
    # A number that is not a number is a number; where anything else is missing, it is NULL.
    if series.dtype.kind != "f" and missing.any():
        cells = cells.where(~missing, None)
    return cells.tolist()


def from_rows(rows: Sequence[Sequence[Any]], columns: Sequence[sa.Column[Any]]) -> Message:
    """Return rows that a SELECT gave as a Message; the kinds come from the declared types."""
    across = list(zip(*rows, strict=True)) if rows else [()] * len(columns)
    # SQLAlchemy's names are a kind of str that carries how it is quoted: str() makes them plain.
    named = zip(columns, across, strict=True)
    return Message({str(column.name): _column(cells, column) for column, cells in named})


def _column(cells: Sequence[Any], column: sa.Column[Any]) -> Any:
    kind = column.type
    try:
        if isinstance(kind, TensorType):
            if None in cells:
                raise WrongValue("a row holds no tensor (NULL)")
            return decode(cells)
        if isinstance(kind, sa.Boolean):
            return pd.array(cells, dtype="boolean") if column.nullable else np.array(cells, bool)
        if isinstance(kind, sa.Integer):
            return pd.array(cells, dtype="Int64") if column.nullable else np.array(cells, np.int64)
        if isinstance(kind, sa.Float):
            return np.array(cells, np.float64)  # NULL becomes NaN
        if isinstance(kind, sa.DateTime) and not kind.timezone:
            return np.array(cells, "datetime64[us]")
        if isinstance(kind, sa.String):
            return pa.array(cells, pa.large_string())
    except (TypeError, ValueError, OverflowError, pa.ArrowException) as error:
        raise WrongValue(
            f"The column {column.name!r} of {column.table.name!r} is declared {kind!r} and holds "
            f"something else: {error}"
        ) from error
    array = np.empty(len(cells), object)
    array[:] = cells
    return array


def plain(column: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
    """Return what to SELECT for a column: tensors as bytes, to be decoded all at once."""
    if isinstance(column.type, TensorType):
        return sa.type_coerce(column, sa.LargeBinary()).label(column.name)
    return column
