# ruff: noqa: D102 (documented once, on Database)
"""Three databases with the same table, and what one would write by hand with their drivers."""

from __future__ import annotations

import sqlite3
import sys
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
import pymysql
import sqlalchemy as sa
from pymysql.cursors import SSCursor

sys.path.insert(0, str(Path(__file__).parents[2]))  # the tests' servers

from tests import servers

Rows = list[tuple[Any, ...]]

NAMES = ["id", "label", "score", "good", "text", "seen"]
LISTED = ", ".join(NAMES)
CHUNK = 16_384


class Database(ABC):
    """A database whose table ``rows`` has an integer key and five further columns."""

    name: str
    marks: str
    types: Sequence[str]

    @property
    @abstractmethod
    def url(self) -> str:
        """Where it is, for SQLAlchemy."""

    @abstractmethod
    def connect(self) -> Any:
        """A connection of the driver itself."""

    @abstractmethod
    def fetched(self, connection: Any) -> Iterator[Rows]:
        """All rows in the order of their key, sent as they are asked for."""

    @abstractmethod
    def by_keys(self, cursor: Any, keys: list[int]) -> Rows:
        """The rows with some keys, in any order."""

    def make(self, table: str) -> None:
        """Make an empty table."""
        columns = ", ".join(f"{name} {kind}" for name, kind in zip(NAMES, self.types, strict=True))
        connection = self.connect()
        cursor = connection.cursor()
        cursor.execute(f"DROP TABLE IF EXISTS {table}")
        cursor.execute(f"CREATE TABLE {table} ({columns})")
        connection.commit()
        connection.close()

    def insert(self, table: str, rows: Rows, *, commits: bool = False) -> None:
        """Insert rows with ``executemany``; ``commits`` after every chunk, else at the end."""
        connection = self.connect()
        cursor = connection.cursor()
        sql = f"INSERT INTO {table} ({LISTED}) VALUES ({self.marks})"
        for start in range(0, len(rows), CHUNK):
            cursor.executemany(sql, rows[start : start + CHUNK])
            if commits:
                connection.commit()
        connection.commit()
        connection.close()

    @abstractmethod
    def close(self) -> None:
        """Remove it."""


class SQLite(Database):
    """A file."""

    name = "SQLite"
    marks = "?, ?, ?, ?, ?, ?"
    types = (
        "INTEGER PRIMARY KEY", "BIGINT NOT NULL", "DOUBLE", "BOOLEAN NOT NULL", "TEXT", "DATETIME",
    )  # fmt: skip

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="fireworks-bench-")
        self.path = f"{self._folder.name}/rows.sqlite"

    @property
    def url(self) -> str:
        return f"sqlite:///{self.path}"

    def connect(self) -> Any:
        return sqlite3.connect(self.path)

    def fetched(self, connection: Any) -> Iterator[Rows]:
        cursor = connection.execute(f"SELECT {LISTED} FROM rows ORDER BY id")
        while rows := cursor.fetchmany(CHUNK):
            yield rows

    def by_keys(self, cursor: Any, keys: list[int]) -> Rows:
        marks = ", ".join("?" * len(keys))
        sql = f"SELECT {LISTED} FROM rows WHERE id IN ({marks})"
        return cursor.execute(sql, keys).fetchall()

    def close(self) -> None:
        self._folder.cleanup()


class PostgreSQL(Database):
    """A server; its driver at its fastest: binary results, arrays of keys."""

    name = "PostgreSQL"
    marks = "%s, %s, %s, %s, %s, %s"
    types = (
        "BIGINT PRIMARY KEY", "BIGINT NOT NULL", "DOUBLE PRECISION", "BOOLEAN NOT NULL", "TEXT",
        "TIMESTAMP",
    )  # fmt: skip

    def __init__(self) -> None:
        self._server = servers.PostgreSQL()

    @property
    def url(self) -> str:
        return self._server.url

    @property
    def address(self) -> str:
        """The URL that other tools know."""
        return self.url.replace("+psycopg", "")

    def connect(self) -> Any:
        return psycopg.connect(self.address)

    def fetched(self, connection: Any) -> Iterator[Rows]:
        with connection.cursor("rows", binary=True) as cursor:
            cursor.execute(f"SELECT {LISTED} FROM rows ORDER BY id")
            while rows := cursor.fetchmany(CHUNK):
                yield rows

    def by_keys(self, cursor: Any, keys: list[int]) -> Rows:
        sql = f"SELECT {LISTED} FROM rows WHERE id = ANY(%s)"
        return cursor.execute(sql, (keys,), binary=True).fetchall()

    def copy(self, table: str, rows: Rows, *, commits: bool = False) -> None:
        """Insert rows with COPY in binary; ``commits`` after every chunk, else at the end."""
        at_once = CHUNK if commits else len(rows)
        sql = f"COPY {table} ({LISTED}) FROM STDIN (FORMAT BINARY)"
        with self.connect() as connection, connection.cursor() as cursor:
            for start in range(0, len(rows), at_once):
                with cursor.copy(sql) as copy:
                    copy.set_types(["int8", "int8", "float8", "bool", "text", "timestamp"])
                    for row in rows[start : start + at_once]:
                        copy.write_row(row)
                connection.commit()

    def close(self) -> None:
        self._server.remove()


class MariaDB(Database):
    """A server."""

    name = "MariaDB"
    marks = PostgreSQL.marks
    types = (
        "BIGINT PRIMARY KEY", "BIGINT NOT NULL", "DOUBLE", "BOOLEAN NOT NULL", "TEXT",
        "DATETIME(6)",
    )  # fmt: skip

    def __init__(self) -> None:
        self._server = servers.MariaDB()

    @property
    def url(self) -> str:
        return self._server.url

    @property
    def address(self) -> str:
        """The URL that other tools know."""
        return self.url.replace("mariadb+pymysql", "mysql")

    def connect(self) -> Any:
        url = sa.make_url(self.url)
        return pymysql.connect(
            host=url.host, port=url.port, user=url.username, database=url.database
        )

    def fetched(self, connection: Any) -> Iterator[Rows]:
        with connection.cursor(SSCursor) as cursor:
            cursor.execute(f"SELECT {LISTED} FROM `rows` ORDER BY id")
            while rows := cursor.fetchmany(CHUNK):
                yield rows

    def by_keys(self, cursor: Any, keys: list[int]) -> Rows:
        cursor.execute(f"SELECT {LISTED} FROM `rows` WHERE id IN %s", (keys,))
        return cursor.fetchall()

    def make(self, table: str) -> None:
        super().make(f"`{table}`")

    def insert(self, table: str, rows: Rows, *, commits: bool = False) -> None:
        super().insert(f"`{table}`", rows, commits=commits)

    def close(self) -> None:
        self._server.remove()


def columns(num_rows: int) -> dict[str, Any]:
    """The values of the table: three kinds of numbers, booleans, text and times."""
    random = np.random.default_rng(0)
    words = ["alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta"]
    start = np.datetime64("2026-01-01", "us")
    return {
        "id": np.arange(1, num_rows + 1),
        "label": random.integers(0, 1_000, num_rows),
        "score": random.normal(size=num_rows),
        "good": random.random(num_rows) < 0.5,
        "text": [f"{words[i % 8]} {i * 7919 % num_rows}" for i in range(num_rows)],
        "seen": start + random.integers(0, 10**13, num_rows),
    }


def tuples(values: dict[str, Any], *, text_times: bool) -> Rows:
    """The values as drivers take them; SQLite's takes times as text."""
    across = [each if isinstance(each, list) else each.tolist() for each in values.values()]
    if text_times:
        across[-1] = [each.isoformat(" ", "microseconds") for each in across[-1]]
    return list(zip(*across, strict=True))
