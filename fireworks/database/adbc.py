"""Rows through ADBC, which makes Arrow arrays of them in C; where its drivers are installed."""

from __future__ import annotations

import importlib
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Any, TypeAlias

import pyarrow as pa
import sqlalchemy as sa

from fireworks.database import drivers
from fireworks.database.cells import held, is_plain_time, times_within_years
from fireworks.database.columns import read_column
from fireworks.message import Message

ArrowArray: TypeAlias = Any
ArrowTable: TypeAlias = Any

OPTION = "fireworks_adbc"
"""The execution option of engines that other connections may stand in for."""

_MODULES = {"sqlite": "adbc_driver_sqlite.dbapi", "postgresql": "adbc_driver_postgresql.dbapi"}

_ROWS_PER_BATCH = "65536"
"""From so many rows ADBC infers the types of SQLite's columns."""

_READ = (sa.Integer, sa.Float, sa.Boolean, sa.String, sa.LargeBinary)


@contextmanager
def opened(connection: sa.Connection) -> Generator[Any]:
    """Open an ADBC connection to the database of another connection, or None where there is none.

    There is one where the driver is installed and the database is known by its URL alone: an
    engine that a user has made may have settings that ADBC would not know of.
    """
    module = _driver(connection.engine)
    if module is None:
        yield None
        return
    url = connection.engine.url
    if url.get_backend_name() == "sqlite":
        address = str(url.database)
    else:
        address = url.set(drivername="postgresql").render_as_string(hide_password=False)
    try:
        other = module.connect(address, autocommit=True)
    except module.Error:  # whoever reads through SQLAlchemy instead is told why
        yield None
        return
    try:
        yield other
    finally:
        other.close()


def read(
    other: Any,
    connection: sa.Connection,
    select: sa.Select[Any],
    columns: Sequence[sa.Column[Any]],
) -> Message | None:
    """Return all rows of a SELECT; None where they have to be read in another way.

    Args:
        other: The ADBC connection.
        connection: The connection that it stands in for.
        select: What to read.
        columns: What each selected column is, as for `reading.read`.

    Raises:
        WrongValue: A value is of another kind than declared.
    """
    kinds = [held(column) for column in columns]
    if not all(is_plain_time(kind) or _is_read(kind) for kind in kinds):
        return None
    sql, parameters = drivers.compiled(select, connection.dialect)
    if connection.dialect.name == "postgresql":
        sql, parameters = _with_literals(connection, sql, parameters), ()
    errors = _driver(connection.engine).Error
    try:
        with other.cursor() as cursor:
            if connection.dialect.name == "sqlite":
                options = {"adbc.sqlite.query.batch_rows": _ROWS_PER_BATCH}
                cursor.adbc_statement.set_options(**options)
            cursor.execute(sql, parameters or None)
            table = cursor.fetch_arrow_table()
        cells = [_cells(*each) for each in zip(table.columns, kinds, strict=True)]
    except (errors, pa.ArrowException):
        return None
    read = {
        str(column.name): read_column(each, column)
        for column, each in zip(columns, cells, strict=True)
    }
    return Message.from_columns(read, table.num_rows)


def _driver(engine: sa.Engine) -> Any:
    dialect = f"{engine.dialect.name}+{engine.dialect.driver}"
    if not engine.get_execution_options().get(OPTION) or dialect not in drivers.KNOWN:
        return None
    if engine.url.query or engine.dialect.name not in _MODULES:
        return None
    try:
        return importlib.import_module(_MODULES[engine.dialect.name])
    except ImportError:
        return None


def _is_read(kind: object) -> bool:
    return isinstance(kind, _READ) and not isinstance(kind, sa.Enum)


def _with_literals(connection: sa.Connection, sql: str, parameters: drivers.Parameters) -> str:
    """Return SQL with its parameters written into it by the driver: ADBC would read all at once."""
    from psycopg import ClientCursor

    raw: Any = connection.connection.dbapi_connection
    with ClientCursor(raw) as cursor:
        return cursor.mogrify(sql.encode(), parameters)


def _cells(array: ArrowArray, kind: sa.types.TypeEngine[Any]) -> Any:
    """Return an Arrow array as cells of a type.

    Raises:
        pyarrow.ArrowException: It holds something else.
    """
    array = array.combine_chunks()
    found = array.type
    if array.null_count == len(array):
        return [None] * len(array)
    if is_plain_time(kind):
        return times_within_years(array.cast(pa.timestamp("us")))
    if isinstance(kind, sa.LargeBinary):
        if not pa.types.is_binary(found):
            raise pa.ArrowInvalid(f"{found}")
        return array.to_pylist()
    if isinstance(kind, sa.Integer):
        fits = pa.types.is_integer(found)
    elif isinstance(kind, sa.Float):
        fits = pa.types.is_floating(found)
    elif isinstance(kind, sa.Boolean):
        fits = pa.types.is_boolean(found) or pa.types.is_integer(found)
    else:
        fits = pa.types.is_string(found)
    if not fits:
        raise pa.ArrowInvalid(f"{found}")
    return array
