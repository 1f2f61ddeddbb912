"""Queries of people on the record: they read, in bounded time, a bounded number of rows."""

from __future__ import annotations

import sqlite3
import time
from typing import TYPE_CHECKING, Any

from fireworks.errors import ExperimentReadOnly, WrongType, WrongValue
from fireworks.record.schema import quoted

if TYPE_CHECKING:
    import pandas

# What a query may do: read, with functions and recursion, in this database.
_ALLOWED = frozenset(
    (sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE)
)
_FORBIDDEN_FUNCTIONS = frozenset(
    {"load_extension", "writefile", "readfile", "edit", "fts3_tokenizer"}
)
_LARGEST_VALUE = 512 * 2**20  # bytes of one value, so that zeroblob() cannot fill the memory
_INSTRUCTIONS = 10_000  # of SQLite's machine between two looks at the clock: under a millisecond
_BLOCK = 4096  # rows


def _authorize(action: int, first: str | None, second: str | None, *_: Any) -> int:
    if action not in _ALLOWED:
        return sqlite3.SQLITE_DENY
    if action == sqlite3.SQLITE_FUNCTION and (second or "").lower() in _FORBIDDEN_FUNCTIONS:
        return sqlite3.SQLITE_DENY
    return sqlite3.SQLITE_OK


def query_frame(
    connection: sqlite3.Connection,
    query: str,
    parameters: Any,
    *,
    max_rows: int | None,
    timeout: float | None,
) -> pandas.DataFrame:
    """Run a reading query; see ``Experiment.sql``."""
    import pandas

    if not isinstance(query, str):
        raise WrongType(f"A query must be a string; got {type(query).__name__}: {query!r:.60}.")
    deadline = None if timeout is None else time.monotonic() + timeout
    rows: list[Any] = []
    connection.set_authorizer(_authorize)
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _LARGEST_VALUE)
    if deadline is not None:
        connection.set_progress_handler(lambda: time.monotonic() > deadline, _INSTRUCTIONS)
    try:
        cursor = connection.execute(query, parameters)
        while block := cursor.fetchmany(_BLOCK):
            rows += block
            if max_rows is not None and len(rows) > max_rows:
                raise WrongValue(
                    f"The query gives more than {max_rows:,} rows. Add a LIMIT or a WHERE, or "
                    f"raise max_rows. It was: {query!r:.200}"
                )
    except (sqlite3.Error, sqlite3.Warning, ValueError, OverflowError) as error:
        if isinstance(error, WrongValue):
            raise
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        refused = "not authorized" in str(error) or "within a transaction" in str(error)
        if refused or code in (sqlite3.SQLITE_AUTH, sqlite3.SQLITE_READONLY):
            raise ExperimentReadOnly(
                "sql() only reads: a SELECT on the experiment's tables. "
                f"Refused ({error}): {query!r:.100}"
            ) from None
        if code == sqlite3.SQLITE_INTERRUPT:
            raise WrongValue(
                f"The query took longer than {timeout:g} s and was stopped. Narrow it down, or "
                f"raise timeout. It was: {query!r:.200}"
            ) from None
        if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            raise
        raise WrongValue(f"The query failed: {error}. It was: {query!r:.200}") from None
    finally:
        connection.set_progress_handler(None, 0)
        connection.set_authorizer(None)
    columns = [each[0] for each in cursor.description or ()]
    return pandas.DataFrame(rows, columns=columns)


def table_frame(connection: sqlite3.Connection, name: str) -> pandas.DataFrame:
    """All rows of a table; whole numbers stay whole where some are missing."""
    import pandas

    kinds = {row[1]: row[2] for row in connection.execute(f"PRAGMA table_info({quoted(name)})")}
    cursor = connection.execute(f"SELECT * FROM {quoted(name)}")
    frame = pandas.DataFrame(cursor.fetchall(), columns=list(kinds))
    types = {
        column: "Int64" if kind == "INTEGER" else "float64" if kind == "REAL" else "str"
        for column, kind in kinds.items()
        if kind in ("INTEGER", "REAL", "TEXT")
    }
    frame = frame.astype(types)
    for column, kind in types.items():
        if kind == "Int64" and not bool(frame[column].isna().any()):
            frame[column] = frame[column].astype("int64")
    return frame
