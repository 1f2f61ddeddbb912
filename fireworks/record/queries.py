"""Queries of people on SQLite: they read, in bounded time, a bounded number of rows."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from typing import Any

from fireworks.errors import ExperimentReadOnly, WrongValue

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


def run_query(
    connection: sqlite3.Connection,
    query: str,
    parameters: Any,
    *,
    max_rows: int | None,
    timeout: float | None,
) -> tuple[list[str], list[Any]]:
    """Run a reading query and return the names of its columns and its rows.

    Raises:
        ExperimentReadOnly: The statement would write, or reach outside the database.
        WrongValue: It is wrong, or gives more rows or takes longer than allowed.
    """
    deadline = None if timeout is None else time.monotonic() + timeout
    connection.set_authorizer(_authorize)
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _LARGEST_VALUE)
    if deadline is not None:
        connection.set_progress_handler(lambda: time.monotonic() > deadline, _INSTRUCTIONS)
    try:
        cursor = connection.execute(query, parameters)
        rows = fetch(lambda: cursor.fetchmany(_BLOCK), query, max_rows)
        return [each[0] for each in cursor.description or ()], rows
    except (sqlite3.Error, sqlite3.Warning, ValueError, OverflowError) as error:
        if isinstance(error, WrongValue):
            raise
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        refused = "not authorized" in str(error) or "within a transaction" in str(error)
        if refused or code in (sqlite3.SQLITE_AUTH, sqlite3.SQLITE_READONLY):
            raise only_reads(query, error) from None
        if code == sqlite3.SQLITE_INTERRUPT:
            raise too_long(query, timeout) from None
        if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            raise
        raise failed(query, error) from None
    finally:
        connection.set_progress_handler(None, 0)
        connection.set_authorizer(None)


def _authorize(action: int, first: str | None, second: str | None, *_: Any) -> int:
    if action not in _ALLOWED:
        return sqlite3.SQLITE_DENY
    if action == sqlite3.SQLITE_FUNCTION and (second or "").lower() in _FORBIDDEN_FUNCTIONS:
        return sqlite3.SQLITE_DENY
    return sqlite3.SQLITE_OK


def fetch(block: Callable[[], list[Any]], query: str, max_rows: int | None) -> list[Any]:
    """All rows, by one block after the other.

    Raises:
        WrongValue: There are more than ``max_rows``.
    """
    rows: list[Any] = []
    while found := block():
        rows += found
        if max_rows is not None and len(rows) > max_rows:
            raise WrongValue(
                f"The query gives more than {max_rows:,} rows. Add a LIMIT or a WHERE, or "
                f"raise max_rows. It was: {query!r:.200}"
            )
    return rows


def only_reads(query: str, error: object) -> ExperimentReadOnly:
    """What to say of a query that does more than read."""
    return ExperimentReadOnly(
        f"sql() only reads: a SELECT on the experiment's tables. Refused ({error}): {query!r:.100}"
    )


def too_long(query: str, timeout: float | None) -> WrongValue:
    """What to say of a query that was stopped."""
    return WrongValue(
        f"The query took longer than {timeout or 0:g} s and was stopped. Narrow it down, or "
        f"raise timeout. It was: {query!r:.200}"
    )


def failed(query: str, error: object) -> WrongValue:
    """What to say of a query that is wrong."""
    return WrongValue(f"The query failed: {error}. It was: {query!r:.200}")
