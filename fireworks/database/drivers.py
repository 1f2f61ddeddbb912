"""Below SQLAlchemy: statements as a driver takes them, its cursors, and its errors.

SQLAlchemy makes an object of every row and calls a function for every cell. What reads and writes
millions of rows takes tuples from the driver and turns whole columns into arrays.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

KNOWN = ("sqlite+pysqlite", "postgresql+psycopg", "mysql+pymysql", "mariadb+pymysql")
"""The drivers whose cells are known; through others, rows are read by SQLAlchemy itself."""

_INT8 = 20
"""PostgreSQL's number for the type of its long integers."""

Parameters = tuple[Any, ...] | dict[str, Any]


def is_known(connection: sa.Connection) -> bool:
    """Return whether the connection's driver is one of those known here."""
    return f"{connection.dialect.name}+{connection.dialect.driver}" in KNOWN


class Statement:
    """A statement, compiled once, as SQL and parameters that the driver itself takes.

    Args:
        statement: The statement.
        dialect: The database's.

    Attributes:
        sql: The SQL.
    """

    def __init__(self, statement: sa.ClauseElement, dialect: sa.Dialect) -> None:
        made: Any = statement.compile(dialect=dialect)
        state = made.construct_expanded_state()
        self.sql: str = state.statement
        self._order: Sequence[str] | None = state.positiontup if made.positional else None
        self._processors: dict[str, Callable[[Any], Any]] = {}
        for name in state.parameters:
            process = state.processors.get(name)
            if process is None and name in made.binds:
                process = made.binds[name].type.dialect_impl(dialect).bind_processor(dialect)
            if process is not None:
                self._processors[name] = process
        self._values = self._processed(state.parameters)

    def parameters(self, values: Mapping[str, Any] | None = None) -> Parameters:
        """Return the parameters bound to it.

        Args:
            values: Values by the names that ``sqlalchemy.bindparam`` gave them; of parameters that
                are not named, those of the statement stay.
        """
        bound = {**self._values, **self._processed(values)} if values else self._values
        if self._order is None:
            return bound
        return tuple(bound[name] for name in self._order)

    def _processed(self, values: Mapping[str, Any]) -> dict[str, Any]:
        processed = dict(values)
        for name, process in self._processors.items():
            if name in processed:
                processed[name] = process(processed[name])
        return processed


@contextmanager
def cursor(
    connection: sa.Connection, *, streams: bool = False, binary: bool = False
) -> Generator[Any]:
    """Open a cursor of the driver in the connection's transaction.

    Args:
        connection: The connection.
        streams: Whether the server is to send rows as they are fetched, not all at once. (By
            PostgreSQL only within a transaction.)
        binary: Whether PostgreSQL is to send numbers in binary, timestamps among them: as
            microseconds since 2000.
    """
    if not connection.in_transaction():
        connection.begin()  # as SQLAlchemy does at the first statement
    raw: Any = connection.connection.dbapi_connection
    name = connection.dialect.name
    if name == "postgresql":
        # Outside of a transaction PostgreSQL would keep all rows of a cursor in a file.
        streams = streams and not raw.autocommit
        options = {"name": f"fireworks_{uuid.uuid4().hex}"} if streams else {}
        opened = raw.cursor(**options, binary=binary)
        if binary:
            # Eight bytes, like a long integer; to make datetimes of them takes longer.
            integers = opened.adapters.get_loader(_INT8, opened.format)
            opened.adapters.register_loader("timestamp", integers)
    elif name in ("mysql", "mariadb") and streams:
        opened = raw.cursor(_unbuffered())
    else:
        opened = raw.cursor()
    try:
        yield opened
    finally:
        opened.close()


@contextmanager
def errors_of(connection: sa.Connection, sql: str) -> Generator[None]:
    """Raise what the driver raises as SQLAlchemy does, which also knows lost connections.

    Raises:
        sqlalchemy.exc.DBAPIError: In place of the driver's error.
    """
    dialect: Any = connection.dialect
    try:
        yield
    except dialect.loaded_dbapi.Error as error:
        raw = connection.connection.dbapi_connection
        lost = dialect.is_disconnect(error, raw, None)
        if lost:
            connection.invalidate(error)
        parameters: Mapping[str, Any] = {}
        raise DBAPIError.instance(
            sql,
            parameters,
            error,
            dialect.loaded_dbapi.Error,
            hide_parameters=True,
            connection_invalidated=lost,
            dialect=dialect,
        ) from error


@cache
def _unbuffered() -> Any:
    from pymysql.cursors import SSCursor

    return SSCursor


class Names:
    """A table's name and columns as SQL, quoted for a database.

    Args:
        dialect: The database's.
        table: The table.
        columns: Which of its columns.

    Attributes:
        plain: The columns as they were given.
        table: The table.
        names: The columns.
        key: The columns of the primary key.
        others: Those of `names` that are not.
    """

    def __init__(self, dialect: sa.Dialect, table: sa.Table, columns: Sequence[str]) -> None:
        quoter = dialect.identifier_preparer
        self.plain = columns
        self.table = quoter.format_table(table)
        self.names = [quoter.format_column(table.columns[name]) for name in columns]
        self.key = [quoter.format_column(column) for column in table.primary_key.columns]
        self.others = [name for name in self.names if name not in self.key]

    @property
    def listed(self) -> str:
        """The columns, with commas."""
        return ", ".join(self.names)

    @property
    def on_conflict(self) -> str:
        """What SQLite and PostgreSQL are to do with a row whose key is there already."""
        if not self.others:
            return f" ON CONFLICT ({', '.join(self.key)}) DO NOTHING"
        changed = ", ".join(f"{name} = excluded.{name}" for name in self.others)
        return f" ON CONFLICT ({', '.join(self.key)}) DO UPDATE SET {changed}"
