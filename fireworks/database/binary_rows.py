"""PostgreSQL's rows as COPY sends them in binary, parsed a column at a time.

A driver makes an object of every cell. COPY hands over the bytes of whole rows, and where the next
column of each row begins is worked out for all rows at once.
"""

from __future__ import annotations

from array import array
from collections.abc import Generator, Sequence
from contextlib import nullcontext
from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa
import sqlalchemy as sa
from numpy.typing import NDArray

from fireworks.database import drivers
from fireworks.database.cells import Y2K, from_arrays, held, is_plain_time, times_within_years
from fireworks.message import Message

Columns = Sequence[sa.Column[Any]]
Places = NDArray[np.int64]

_HEADER = 19
"""Bytes before the first row; the last four of them are the number of further ones."""

_INTEGERS = {20: ">i8", 21: ">i2", 23: ">i4"}
_FLOATS = {700: ">f4", 701: ">f8"}
_BOOLEAN, _BYTES, _TIMESTAMP = 16, 17, 1114
_TEXT = (25, 1042, 1043)
"""PostgreSQL's numbers for its types."""


def read(
    connection: sa.Connection, sql: str, parameters: drivers.Parameters, columns: Columns
) -> Message | None:
    """Return all rows of a SELECT; None where they have to be read in another way.

    Args:
        connection: A connection to PostgreSQL through psycopg.
        sql: What to read, as the driver takes it. The driver writes the parameters into COPY,
            which can have none bound to it.
        parameters: The parameters in it.
        columns: What each selected column is.

    Raises:
        WrongValue: A value is of another kind than declared.
        psycopg.Error: The server refused, or the connection was lost.
    """
    raw: Any = connection.connection.dbapi_connection
    if raw.info.encoding != "utf-8":
        return None
    # Until the transaction ends, nobody can give the columns other types.
    with raw.transaction() if raw.autocommit else nullcontext(), raw.cursor() as cursor:
        # COPY does not say of which types its columns are.
        cursor.execute(f"SELECT * FROM ({sql}) AS fireworks_types LIMIT 0", parameters)
        types = [each.type_code for each in cursor.description]
        if not all(map(_fits, types, map(held, columns))):
            return None
        data, starts = _received(raw, sql, parameters)
    try:
        return from_arrays(_parsed(data, starts, types), columns, len(starts))
    except pa.ArrowException:
        return None


def _fits(type_: int, kind: sa.types.TypeEngine[Any]) -> bool:
    """Return whether cells of a type are what is declared, and can be parsed here."""
    if is_plain_time(kind):
        return type_ == _TIMESTAMP
    if isinstance(kind, sa.Enum):
        return False
    return (
        (type_ in _INTEGERS and isinstance(kind, sa.Integer))
        or (type_ in _FLOATS and isinstance(kind, sa.Float))
        or (type_ == _BOOLEAN and isinstance(kind, sa.Boolean))
        or (type_ in _TEXT and isinstance(kind, sa.String))
        or (type_ == _BYTES and isinstance(kind, sa.LargeBinary))
    )


def _received(raw: Any, sql: str, parameters: drivers.Parameters) -> tuple[bytearray, Places]:
    """Return the bytes of all rows, and where each row begins."""
    next_row = raw.pgconn.get_copy_data
    # Rows that were kept as objects would have Python collect garbage again and again.
    data, sizes = bytearray(), array("q")
    add_size = sizes.append
    copy_sql = f"COPY ({sql}) TO STDOUT (FORMAT BINARY)"
    with raw.cursor() as cursor:
        cursor.adapters.register_dumper(int, _integer_dumper())
        # Without any parameters, the driver would leave %% as it is.
        with cursor.copy(copy_sql, parameters or {"none": None}) as copy:
            while row := copy.read():  # waits for the server
                size = len(row)
                while size > 0:  # what has arrived is taken without the driver's own loop
                    data += row
                    add_size(size)
                    size, row = next_row(1)
                if size < 0:
                    _finish(raw.pgconn)
                    break
    lengths = np.frombuffer(sizes, np.int64)
    starts = np.cumsum(lengths) - lengths
    # Before the first row stands a header, and behind the last one a row of -1 fields.
    starts[0] = _HEADER + int.from_bytes(data[_HEADER - 4 : _HEADER], "big")
    starts = starts[:-1]
    return data, starts[1:] if len(starts) and starts[0] == lengths[0] else starts


@cache
def _integer_dumper() -> type[Any]:
    from psycopg.adapt import Dumper

    class IntegerDumper(Dumper):
        """Integers in parentheses: ``-32768::SMALLINT`` is the negative of what is too large."""

        def dump(self, obj: int) -> bytes:
            return b"%d" % obj

        def quote(self, obj: int) -> bytes:
            return b"(%d)" % obj

    return IntegerDumper


def _finish(raw: Any) -> None:
    """Take what the server says behind the last row.

    Raises:
        psycopg.Error: It was not the last.
    """
    from psycopg import errors, pq

    results: list[Any] = []
    while (result := raw.get_result()) is not None:
        results.append(result)
    for result in results:
        if result.status != pq.ExecStatus.COMMAND_OK:
            raise errors.error_from_result(result)


def _parsed(data: bytearray, starts: Places, types: Sequence[int]) -> Generator[Any]:
    """Yield the cells of each column."""
    # Each field is the number of its bytes, -1 for NULL, and these bytes.
    sizes = _each_byte(data, ">i4")
    place = starts + 2  # the number of fields
    for type_ in types:
        size = sizes[place].astype(np.int64)
        place = place + 4
        missing = size < 0
        some_missing = bool(missing.any())
        if some_missing:
            size[missing] = 0
        yield _cells(data, place, size, missing if some_missing else None, type_)
        place = place + size


def _cells(
    data: bytearray, place: Places, size: Places, missing: NDArray[np.bool_] | None, type_: int
) -> Any:
    """Return the cells of one column as an array."""
    if type_ in _TEXT or type_ == _BYTES:
        return _slices(data, place, size, missing, type_)
    if missing is not None:
        place = np.where(missing, 0, place)
    if type_ in _FLOATS:
        values = _each_byte(data, _FLOATS[type_])[place].astype(np.float64)
    elif type_ == _BOOLEAN:
        values = np.frombuffer(data, np.bool_)[place]
    else:
        values = _each_byte(data, _INTEGERS.get(type_, ">i8"))[place].astype(np.int64)
    if type_ == _TIMESTAMP:
        times = (values + Y2K).view("datetime64[us]")
        if missing is not None:
            times[missing] = np.datetime64("NaT")
        return times_within_years(times)
    return values if missing is None else pa.array(values, mask=missing)


def _slices(
    data: bytearray, place: Places, size: Places, missing: NDArray[np.bool_] | None, type_: int
) -> Any:
    """Return text or bytes out of the rows."""
    # The rows as one Arrow array of which every second string is a cell, the others what lies
    # between two cells.
    bounds = np.zeros(2 * len(place) + 1, np.int64)
    bounds[1::2] = place
    bounds[2::2] = place + size
    buffers = [None, pa.py_buffer(bounds), pa.py_buffer(data)]
    strings = pa.Array.from_buffers(pa.large_binary(), 2 * len(place), buffers)
    chosen = pa.array(np.arange(1, 2 * len(place), 2), mask=missing)
    cells = strings.take(chosen)
    return cells.to_pylist() if type_ == _BYTES else cells.view(pa.large_string())


def _each_byte(data: bytearray, dtype: str) -> NDArray[Any]:
    """Return the number that begins at each byte."""
    last = len(data) - np.dtype(dtype).itemsize
    return np.ndarray((max(0, last + 1),), dtype, data, strides=(1,))
