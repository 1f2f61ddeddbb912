"""Which row, column and value it was that a database refused."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, cast

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from fireworks.database.retrying import told
from fireworks.errors import FireworksError, WrongValue
from fireworks.message import Message

Write = Callable[[sa.Connection, Message], None]

BAD_VALUES = (SQLAlchemyError, OverflowError, ValueError, TypeError)
"""What drivers raise for values that do not fit; errors of our own are among them."""

_VALUE_CHARACTERS = 60


def misfit(
    engine: sa.Engine,
    table: sa.Table,
    rows: Message,
    write: Write,
    error: Exception,
    *,
    connection: sa.Connection | None = None,
) -> WrongValue:
    """Return the error for rows that a database refused, naming the first that does not fit.

    It is found by writing halves of the rows again, each time in a transaction that is undone.

    Args:
        engine: The database.
        table: Where they were to be written.
        rows: The rows, none of which is there.
        write: What writes them.
        error: Why they were refused together.
        connection: Where to try, in savepoints of a transaction of the caller's; by default, in
            connections of its own.
    """
    none = f"{len(rows)} rows could not be written to {table.name!r}, and none of them was"
    place, why = _first(engine, rows, write, error, connection)
    if place is None:
        return WrongValue(f"{none}: {_said(engine, error)}.")
    row = rows[place : place + 1]
    said = _said(engine, why)
    # SQLAlchemy's names are a kind of str: str() makes them plain.
    keys = [str(column.name) for column in table.primary_key]
    key = ", ".join(f"{name} = {_cell(row, name)}" for name in keys if name in row.columns)
    name = _column(engine, table, row, why, said)
    value = (
        "" if name is None else f": {name} = {_cell(row, name)} does not fit {_type(table, name)}"
    )
    which = f"row {place} ({key})" if key else f"row {place}"
    return _none_written(table, rows, f"{which}{value}: {said}")


def unfit(engine: sa.Engine, table: sa.Table, rows: Message, error: Exception) -> WrongValue:
    """Return the error for rows that a database refused, where it cannot be said which."""
    return _none_written(table, rows, _said(engine, error))


def _none_written(table: sa.Table, rows: Message, why: str) -> WrongValue:
    return WrongValue(
        f"{len(rows)} rows could not be written to {table.name!r}, and none of them was: {why}."
    )


def _first(
    engine: sa.Engine,
    rows: Message,
    write: Write,
    error: Exception,
    connection: sa.Connection | None,
) -> tuple[int | None, Exception]:
    """Return the first row that is refused by itself, and why; None where only several are."""
    first, last = 0, len(rows)
    while last - first > 1:
        middle = (first + last) // 2
        for part in ((first, middle), (middle, last)):
            refused = _refused(engine, rows[part[0] : part[1]], write, connection)
            if refused is not None:
                (first, last), error = part, refused
                break
        else:
            return None, error
    return first, error


def _refused(
    engine: sa.Engine, rows: Message, write: Write, connection: sa.Connection | None
) -> Exception | None:
    try:
        if connection is not None:
            with connection.begin_nested() as savepoint:
                write(connection, rows)
                savepoint.rollback()
            return None
        with engine.connect() as connection, connection.begin() as transaction:
            write(connection, rows)
            transaction.rollback()
    except BAD_VALUES as error:
        return error
    return None


def _said(engine: sa.Engine, error: Exception) -> str:
    if isinstance(error, DBAPIError):
        return told(engine, error)
    original = getattr(error, "orig", None)
    return " ".join(str(original or error).split()).rstrip(".")


def _cell(row: Message, name: str) -> str:
    shown = repr(_value(row, name))
    return shown if len(shown) <= _VALUE_CHARACTERS else f"{shown[:_VALUE_CHARACTERS]}…"


def _value(row: Message, name: str) -> Any:
    value: Any = row[name]
    value = value.iloc[0] if hasattr(value, "iloc") else value[0]
    return value.item() if hasattr(value, "item") and getattr(value, "size", 1) == 1 else value


def _type(table: sa.Table, name: str) -> str:
    column = table.columns[name]
    return f"{column.type!r}{'' if column.nullable else ' NOT NULL'}"


def _column(
    engine: sa.Engine, table: sa.Table, row: Message, error: Exception, said: str
) -> str | None:
    """Return the column that a value does not fit: as the database says, or by the types."""
    diagnosis = getattr(getattr(error, "orig", None), "diag", None)
    named = getattr(diagnosis, "column_name", None)
    if named in row.columns:
        return str(named)
    for name in row.columns:
        if not _fits(_value(row, name), table.columns[name], engine):
            return name
    text = f"{said} {_constraint(engine, table, said)}"
    words = set(re.findall(r"\w+", text)) - set(re.findall(r"\w+", table.name))
    mentioned = [name for name in row.columns if name in words or f"'{name}'" in text]
    return mentioned[0] if len(mentioned) == 1 else None


def _constraint(engine: sa.Engine, table: sa.Table, said: str) -> str:
    """Return what a constraint demands that a database names; nothing where it names none."""
    try:
        inspector = sa.inspect(engine)
        found = (
            *inspector.get_check_constraints(table.name, table.schema),
            *inspector.get_unique_constraints(table.name, table.schema),
            *inspector.get_foreign_keys(table.name, table.schema),
        )
    except (SQLAlchemyError, NotImplementedError):
        return ""  # the first error is the news
    demands: list[str] = []
    for each in found:
        name, demand = each.get("name"), cast("dict[str, Any]", each)
        if name and name in said:
            columns = demand.get("column_names") or demand.get("constrained_columns") or ()
            demands.append(str(demand.get("sqltext") or " ".join(columns)))
    return " ".join(demands)


def _fits(value: Any, column: sa.Column[Any], engine: sa.Engine) -> bool:
    """Return whether a value is within what a column's type can hold, as far as that is certain."""
    kind = column.type.dialect_impl(engine.dialect)
    if isinstance(value, str) and isinstance(kind, sa.String) and kind.length is not None:
        return len(value) <= kind.length
    if isinstance(value, int) and isinstance(kind, sa.Integer):
        is_small = isinstance(kind, sa.SmallInteger)
        is_big = isinstance(kind, sa.BigInteger) or engine.dialect.name == "sqlite"
        bits = 63 if is_big else 15 if is_small else 31
        return -(2**bits) <= value < 2**bits
    if value is None:
        return column.nullable is not False
    return True


def is_ours(error: BaseException) -> bool:
    """Return whether an error says already what is wrong with the rows."""
    return isinstance(error, FireworksError)
