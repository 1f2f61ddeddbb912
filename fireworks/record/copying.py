"""An experiment's tables on a server, as a SQLite file: what copies and archives hold."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import date, datetime
from pathlib import Path
from typing import Any

from fireworks.record import schema
from fireworks.record.postgresql_connection import PostgreSQLConnection
from fireworks.record.schema import MARKS, quoted
from fireworks.record.sqlite import SQLiteConnection

_BLOCK = 4096  # rows


def write_sqlite(source: PostgreSQLConnection, path: Path) -> None:
    """Write all tables to a new SQLite file, with no journal beside it.

    Args:
        source: In a transaction, so that one state of all tables is read.
        path: The file.
    """
    path.unlink(missing_ok=True)
    with closing(sqlite3.connect(path, isolation_level=None, factory=SQLiteConnection)) as copy:
        schema.create(copy)
        copy.execute("BEGIN")
        for table in source.tables():
            if table not in schema.OWN_TABLES:
                _create_like(source, copy, table)
            columns = [each for each in source.columns(table) if each in copy.columns(table)]
            listed = ", ".join(map(quoted, columns))
            copy.executemany(
                f"INSERT INTO {quoted(table)} ({listed}) VALUES ({','.join('?' * len(columns))})",
                _rows(source, f"SELECT {listed} FROM {quoted(table)}"),
            )
        # Only now: what is copied keeps its positions.
        for table in schema.marked_tables(copy):
            columns = [each for each in copy.columns(table) if each not in MARKS]
            copy.mark_new_rows(table, columns)
        copy.execute("COMMIT")


def _create_like(source: PostgreSQLConnection, copy: SQLiteConnection, table: str) -> None:
    key, required = source.primary_key(table), source.required(table)
    described: list[str] = []
    for name, kind in source.columns(table).items():
        if key == [name] and kind in ("BIGINT", "INTEGER"):
            kind, key = "INTEGER PRIMARY KEY", []  # SQLite numbers the rows of no other
        default = {"trial": f" DEFAULT {schema.NO_TRIAL}", "seq": " DEFAULT 0"}.get(name, "")
        described.append(f"{quoted(name)} {kind}{' NOT NULL' if name in required else ''}{default}")
    if key:
        described.append(f"PRIMARY KEY ({', '.join(map(quoted, key))})")
    copy.execute(f"CREATE TABLE {quoted(table)} ({', '.join(described)})")


def _rows(source: PostgreSQLConnection, query: str) -> Iterator[list[Any]]:
    """Rows, read from the server by blocks."""
    with source.psycopg.cursor("copy") as cursor:
        cursor.execute(query)
        while rows := cursor.fetchmany(_BLOCK):
            for row in rows:
                yield [_plain(each) for each in row]


def _plain(value: Any) -> Any:
    """A value as SQLAlchemy keeps it in SQLite."""
    if value is None or isinstance(value, int | float | str | bytes):
        return value
    if isinstance(value, datetime):
        return value.replace(tzinfo=None).isoformat(" ", "microseconds")
    return value.isoformat() if isinstance(value, date) else str(value)
