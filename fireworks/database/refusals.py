"""What a database refused, told so that one knows what to do."""

from __future__ import annotations

from collections.abc import Iterable

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from fireworks.database.retrying import told
from fireworks.errors import (
    ColumnNotFound,
    FireworksError,
    NotWritten,
    TableNotFound,
    WrongValue,
    suggest,
)

_BUSY = ("database is locked", "database table is locked", "lock wait timeout", "lock timeout")
_FULL = ("database or disk is full", "no space left", "disk full", "is full")
_READ_ONLY = ("readonly database", "read-only", "read only", "permission denied", "command denied")


def of_reading(
    error: DBAPIError, engine: sa.Engine, tables: Iterable[sa.Table], doing: str
) -> FireworksError:
    """Return the error for a SELECT that failed: the missing table or column, by name.

    Args:
        error: What SQLAlchemy raised.
        engine: The database.
        tables: The tables of the SELECT.
        doing: What was done, for the message: ``"reading QuerySource('rows')"``.
    """
    for table in tables:
        if (missing := _missing(table, engine)) is not None:
            return missing
    return WrongValue(f"The database refused while {doing}: {told(engine, error)}.")


def of_writing(
    error: DBAPIError, engine: sa.Engine, table: sa.Table, rows: int
) -> FireworksError | None:
    """Return the error for rows that were not written; None where the reason is in the rows."""
    what = f"{rows} rows could not be written to {table.name!r}, and none of them was"
    return _of_state(what, told(engine, error)) or _missing(table, engine)


def of_creating(error: DBAPIError, engine: sa.Engine, table: sa.Table) -> FireworksError:
    """Return the error for a table that could not be created."""
    what, said = f"The table {table.name!r} could not be created", told(engine, error)
    return _of_state(what, said) or WrongValue(f"{what}: {said}.")


def _of_state(what: str, said: str) -> FireworksError | None:
    """Return the error where it is the database that takes nothing now."""
    none, lower = f"{what}: {said}.", said.lower()
    if any(each in lower for each in _BUSY):
        return NotWritten(
            f"{none} Another process is writing. Wait for it, or allow more time: for SQLite "
            'create_engine(url, connect_args={"timeout": 60}).'
        )
    if any(each in lower for each in _FULL):
        return NotWritten(f"{none} Make room, then go on from the last state.")
    if any(each in lower for each in _READ_ONLY):
        return NotWritten(f"{none} It may only be read: check the file's and the user's rights.")
    return None


def _missing(table: sa.Table, engine: sa.Engine) -> FireworksError | None:
    """Return the error for a table that is not there, or not with these columns."""
    try:
        inspector = sa.inspect(engine)
        if not inspector.has_table(table.name, schema=table.schema):
            known = inspector.get_table_names(schema=table.schema)
            return TableNotFound(
                f"There is no table {table.name!r} in {engine.url.render_as_string()}."
                f"{suggest(table.name, known)}"
            )
        found = [each["name"] for each in inspector.get_columns(table.name, schema=table.schema)]
    except SQLAlchemyError:
        return None  # the first error is the news
    for column in table.columns:
        if column.name not in found:
            return ColumnNotFound(
                f"The table {table.name!r} has no column {column.name!r} in "
                f"{engine.url.render_as_string()}.{suggest(column.name, found)}"
            )
    return None
