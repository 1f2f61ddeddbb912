"""Tables made for the rows of a Message."""

from __future__ import annotations

import datetime
import uuid
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import sqlalchemy as sa
import torch
from sqlalchemy.dialects import mysql
from sqlalchemy.exc import CompileError, DBAPIError

from fireworks.database import refusals
from fireworks.database.declared import MarkedType, SqlType, TensorType, kind_of
from fireworks.database.engine import Database, connect
from fireworks.database.kinds.kind import Kind
from fireworks.database.kinds.numbers import DecimalKind, FloatKind, IntegerKind
from fireworks.database.kinds.objects import JsonKind, UuidKind, bytes_type, checked_json
from fireworks.database.kinds.tensors import ArrayKind
from fireworks.database.kinds.text import category_kind, text_type
from fireworks.database.kinds.times import DateKind, DatetimeKind, DurationKind, TimeKind
from fireworks.database.retrying import with_connection
from fireworks.errors import ColumnNotFound, WrongType, WrongValue, suggest
from fireworks.message import Message
from fireworks.message.column import Column
from fireworks.message.kinds.extension import ExtensionColumn
from fireworks.message.kinds.number import NumberColumn
from fireworks.message.kinds.object import ObjectColumn
from fireworks.message.kinds.ragged import RaggedColumn
from fireworks.message.kinds.string import StringColumn
from fireworks.message.kinds.tensor import TensorColumn

_COMMENT_CHARACTERS = 1024
"""Longest comment of a column in MariaDB."""

_MARIADB_CHARACTERS = 64
_POSTGRESQL_BYTES = 63
"""Longest names."""


def create_table(
    name: str,
    columns: Message | Mapping[str, SqlType | type[SqlType]],
    engine: Database | None = None,
    *,
    key: str | Sequence[str] = "id",
) -> sa.Table:
    """Describe a table that holds the rows of a Message, and create it where it is not there yet.

    Every column comes back as it went in: numbers of every size, text, categories, times, tensors,
    arrays, and Python's dates, times, Decimals, UUIDs, bytes and what JSON can hold. A vector
    column may hold NULL only where the Message's may.

    Args:
        name: The table's name.
        columns: A Message with the columns and kinds wanted, or SQLAlchemy types by name.
        engine: Where to create it; without one, only the description is made.
        key: The column, or columns, that are the primary key.

    Returns:
        The table.

    Raises:
        ColumnNotFound: The key is none of the columns.
        WrongType: A column of a kind that has no column type, or a key of tensors.
        WrongValue: A name that no database takes; the database refused to create the table.
        NotWritten: The database is locked, full, or may only be read.
        DatabaseNotFound, DatabaseUnreachable: As in `connect` and when it is first used.
    """
    names = columns.columns if isinstance(columns, Message) else list(columns)
    key_names = [key] if isinstance(key, str) else list(key)
    for each in key_names:
        if each not in names:
            raise ColumnNotFound(f"The key {each!r} is no column.{suggest(each, names)}")
    _check_names(name, names)
    described: list[sa.Column[Any]] = []
    for each in names:
        is_key = each in key_names
        if isinstance(columns, Message):
            kind, nullable = _type_of(columns.stored[each], each, is_key=is_key)
        else:
            kind, nullable = _portable(columns[each], is_key=is_key), True
        described.append(
            sa.Column(
                sa.quoted_name(each, quote=True),
                kind,
                primary_key=is_key,
                nullable=nullable and not is_key,
                autoincrement=False if isinstance(columns, Message) else "auto",
            )
        )
    table = sa.Table(
        sa.quoted_name(name, quote=True),
        sa.MetaData(),
        *described,
        mysql_charset="utf8mb4",
        mariadb_charset="utf8mb4",
    )
    if engine is not None:
        _create(table, connect(engine, create=True))
    return table


def _create(table: sa.Table, engine: sa.Engine) -> None:
    _check_names_in(engine.dialect, table)
    try:
        with_connection(
            engine,
            lambda on: table.create(on, checkfirst=True),
            doing=f"creating the table {table.name!r}",
        )
    except CompileError as error:
        raise WrongType(
            f"The table {table.name!r} cannot be created in {engine.dialect.name}: {error}."
        ) from error
    except DBAPIError as error:
        raise refusals.of_creating(error, engine, table) from error


def _check_names(table: str, columns: Sequence[str]) -> None:
    for name in (table, *columns):
        if not isinstance(name, str):
            raise WrongType(f"A table or column has a name, not {name!r}.")
        if not name or not name.isprintable():
            raise WrongValue(
                f"A table or column cannot be called {name!r:.80}: a name has characters that can "
                "be printed."
            )


def _check_names_in(dialect: sa.Dialect, table: sa.Table) -> None:
    """Refuse names that this database, or SQLAlchemy with it, would change or mistake.

    Raises:
        WrongValue: There is one.
    """
    names = [str(column.name) for column in table.columns]
    is_mariadb = dialect.name in ("mysql", "mariadb")
    for name in (str(table.name), *names):
        if dialect.name == "postgresql" and len(name.encode()) > _POSTGRESQL_BYTES:
            raise WrongValue(
                f"The name {name!r:.80} has more than {_POSTGRESQL_BYTES} bytes, and PostgreSQL "
                "would cut it off."
            )
        if is_mariadb and (len(name) > _MARIADB_CHARACTERS or "`" in name or name.endswith(" ")):
            raise WrongValue(
                f"MariaDB takes no name of more than {_MARIADB_CHARACTERS} characters, with "
                f"a backtick, or with a space at its end: {name!r:.80}."
            )
    if dialect.name != "postgresql":
        by_lower: dict[str, str] = {}
        for name in names:
            other = by_lower.setdefault(name.lower(), name)
            if other != name:
                raise WrongValue(
                    f"The columns {other!r} and {name!r} differ in case only, which "
                    f"{dialect.name} does not tell apart. Rename one."
                )
    for column in table.columns:
        if is_mariadb and len(column.comment or "") > _COMMENT_CHARACTERS:
            raise WrongValue(
                f"The column {column.name!r} has more categories than MariaDB can be told of. "
                'Keep it as text: message.assign(x=message["x"].astype("str")).'
            )


def _type_of(column: Column, name: str, *, is_key: bool) -> tuple[SqlType, bool]:
    """Return the column type for a Message's column, and whether it may hold NULL."""
    if isinstance(column, TensorColumn):
        if is_key:
            raise WrongType(
                f"The key {name!r} is a tensor; a key is a vector of numbers or text. "
                f'Make it one: message.to_vectors(["{name}"]).'
            )
        tensor = column.array
        return TensorType(tensor.dtype, tuple(tensor.shape[1:])), False
    if isinstance(column, StringColumn):
        return text_type(is_key=is_key), True
    if isinstance(column, NumberColumn):
        return _number_type(column.array.dtype, name)
    if isinstance(column, RaggedColumn) and not is_key:
        return MarkedType(ArrayKind(column.values.dtype.name)), False
    if isinstance(column, ExtensionColumn):
        return _extension_type(column.array.dtype, name), True
    if isinstance(column, ObjectColumn):
        return _object_type(column.array, name, is_key=is_key), True
    raise _without_type(name, column.field.dtype)


def _number_type(dtype: np.dtype[Any], name: str) -> tuple[SqlType, bool]:
    if dtype.kind == "b":
        return sa.Boolean(), False
    if dtype.kind in "iu":
        kind = IntegerKind.of(dtype)
        return (kind.holds if dtype == np.int64 else MarkedType(kind)), False
    if dtype.kind == "f" and dtype.itemsize <= 8:
        plain = dtype == np.float64
        return (sa.Double() if plain else MarkedType(FloatKind(dtype, dtype))), True
    if dtype.kind in "mM":
        unit, count = np.datetime_data(dtype)
        if count != 1 or unit == "generic":
            raise _without_type(name, str(dtype))
        if dtype.kind == "m":
            return MarkedType(DurationKind(unit)), True
        kind = DatetimeKind(unit)
        return (kind.holds if unit == "us" else MarkedType(kind)), True
    raise _without_type(name, str(dtype))


def _extension_type(dtype: Any, name: str) -> SqlType:
    if isinstance(dtype, pd.BooleanDtype):
        return sa.Boolean()
    if isinstance(dtype, pd.CategoricalDtype):
        return MarkedType(category_kind(dtype, name))
    if isinstance(dtype, pd.DatetimeTZDtype):
        return MarkedType(DatetimeKind(dtype.unit, str(dtype.tz)))
    plain: np.dtype[Any] | None = getattr(dtype, "numpy_dtype", None)
    if isinstance(dtype, pd.ArrowDtype) or plain is None:
        raise _without_type(name, str(dtype))
    if plain.kind in "iu":
        kind = IntegerKind.of(plain)
        return kind.holds if plain == np.int64 else MarkedType(kind)
    if plain.kind == "f":
        return MarkedType(FloatKind(plain, plain, masked=True))
    raise _without_type(name, str(dtype))


def _object_type(cells: np.ndarray[Any, Any], name: str, *, is_key: bool) -> SqlType:
    held = [each for each in cells.tolist() if each is not None]
    kinds = {type(each) for each in held}
    if not kinds:
        raise WrongType(
            f"The column {name!r} holds only None, which says nothing of its kind. Give the "
            f"types by name: create_table(name, {{{name!r}: sqlalchemy.Text, …}}, engine)."
        )
    if kinds == {bytes}:
        return bytes_type(is_key=is_key)
    if kinds == {datetime.date}:
        return DateKind().holds
    for kind, holds in _OBJECTS.items():
        if kinds == {kind}:
            return holds
    if all(isinstance(each, np.ndarray) for each in held):
        return MarkedType(ArrayKind())
    if all(isinstance(each, torch.Tensor) for each in held):
        return TensorType(stacked=False)
    if not kinds & {int, float, bool, complex, datetime.datetime}:
        try:
            for each in held:
                checked_json(each)
            return MarkedType(JsonKind())
        except WrongValue:
            pass
    raise _without_type(name, " and ".join(sorted(each.__name__ for each in kinds)))


_OBJECTS: dict[type, SqlType] = {
    datetime.time: MarkedType(TimeKind()),
    Decimal: MarkedType(DecimalKind()),
    uuid.UUID: MarkedType(UuidKind()),
}


def _without_type(name: str, dtype: str) -> WrongType:
    return WrongType(
        f"The column {name!r} of {dtype} has no column type in a database. Numbers (integers with "
        'None as pandas\' "Int64"), text, categories, times, tensors, arrays, dates, Decimals, '
        "UUIDs, bytes and dicts have one."
    )


def _portable(given: SqlType | type[SqlType], *, is_key: bool) -> SqlType:
    """Return a type that was asked for, so that every database keeps all that it says."""
    type_ = given() if isinstance(given, type) else given
    if isinstance(type_, MarkedType) or type(type_).__module__ != "sqlalchemy.sql.sqltypes":
        return type_  # a dialect's own type, or the user's, is what was meant
    kind = kind_of(type_)
    if isinstance(type_, sa.String) and not isinstance(type_, sa.Enum):
        return _portable_text(type_, is_key=is_key)
    if isinstance(type_, sa.Enum):
        if type_.enum_class is not None:
            return type_
        return type_.with_variant(MarkedType(kind), "sqlite")
    if isinstance(type_, sa.LargeBinary):
        return bytes_type(is_key=is_key) if type_.length is None else type_
    if isinstance(type_, sa.Float):
        return type_ if type_.precision else sa.Double()
    if isinstance(type_, sa.BigInteger):
        return kind.holds
    if isinstance(type_, sa.JSON):
        kind = JsonKind()
    elif isinstance(type_, sa.Interval):
        kind = DurationKind()
    return MarkedType(kind) if isinstance(kind, _NOT_EVERYWHERE) else type_


_NOT_EVERYWHERE: tuple[type[Kind], ...] = (
    DatetimeKind,
    DecimalKind,
    DurationKind,
    JsonKind,
    TimeKind,
    UuidKind,
)


def _portable_text(type_: Any, *, is_key: bool) -> SqlType:
    if type_.collation is not None:
        return type_
    if type_.length is None:
        return text_type(is_key=is_key)
    text: Any = text_type(is_key=True).dialect_impl(mysql.dialect())
    bounded = mysql.VARCHAR(type_.length, charset="utf8mb4", collation=text.collation)
    return type_.with_variant(bounded, "mysql", "mariadb")
