"""SQLite's rows through ADBC, which makes Arrow arrays of them in C; where it is installed."""

from __future__ import annotations

import importlib
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Any, TypeAlias

import pyarrow as pa
import sqlalchemy as sa

from fireworks.database import drivers
from fireworks.database.cells import from_arrays, held, is_plain_time, times_within_years
from fireworks.message import Message

ArrowArray: TypeAlias = Any
ArrowTable: TypeAlias = Any

OPTION = "fireworks_adbc"
"""The execution option of engines that other connections may stand in for."""

_OPTIONS = {"adbc.sqlite.query.batch_rows": "65536"}
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
    try:
        other = module.connect(str(connection.engine.url.database), autocommit=True)
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
    sql: str,
    parameters: drivers.Parameters,
    columns: Sequence[sa.Column[Any]],
) -> Message | None:
    """Return all rows of a SELECT; None where they have to be read in another way.

    Args:
        other: The ADBC connection.
        connection: The connection that it stands in for.
        sql: What to read, as the driver of that connection takes it.
        parameters: The parameters bound to it.
        columns: What each selected column is, as for `reading.read`.

    Raises:
        WrongValue: A value is of another kind than declared.
    """
    kinds = [held(column) for column in columns]
    if not all(is_plain_time(kind) or _is_read(kind) for kind in kinds):
        return None
    errors = _driver(connection.engine).Error
    try:
        with other.cursor() as cursor:
            cursor.adbc_statement.set_options(**_OPTIONS)
            cursor.execute(sql, parameters or None)
            table = cursor.fetch_arrow_table()
        cells = [_cells(*each) for each in zip(table.columns, kinds, strict=True)]
    except (errors, pa.ArrowException):
        return None
    return from_arrays(cells, columns, table.num_rows)


def _driver(engine: sa.Engine) -> Any:
    if not engine.get_execution_options().get(OPTION) or engine.url.query:
        return None
    if f"{engine.dialect.name}+{engine.dialect.driver}" != "sqlite+pysqlite":
        return None
    try:
        return importlib.import_module("adbc_driver_sqlite.dbapi")
    except ImportError:
        return None


def _is_read(kind: object) -> bool:
    return isinstance(kind, _READ) and not isinstance(kind, sa.Enum)


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
        return times_within_years(array.cast(pa.timestamp("us")).to_numpy(zero_copy_only=False))
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
