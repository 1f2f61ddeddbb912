"""Whole columns as the bytes that PostgreSQL's COPY takes in binary, which neither side parses.

The format: https://www.postgresql.org/docs/current/sql-copy.html#SQL-COPY-BINARY-FORMAT. A row is
the number of its columns, then for each its length in bytes, or -1 for NULL, and the bytes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import sqlalchemy as sa
from numpy.typing import NDArray

from fireworks.database.cells import Y2K
from fireworks.database.kinds.kind import Cells

BEGINNING = b"PGCOPY\n\xff\r\n\0" + bytes(8)
END = b"\xff\xff"

_ROWS = 16_384
"""Rows whose bytes are made at once."""

_UTC = pa.timestamp("us", "UTC")

# By the number of a type in PostgreSQL: which declared types are sent as it, what their cells are,
# and how numbers are sent; text and bytes, which differ in length, as they are.
_TYPES: dict[int, tuple[Any, pa.DataType, str | None]] = {
    16: (sa.Boolean, pa.bool_(), "?"),
    17: (sa.LargeBinary, pa.large_binary(), None),
    20: (sa.Integer, pa.int64(), ">i8"),
    21: (sa.SmallInteger, pa.int16(), ">i2"),
    23: (sa.Integer, pa.int32(), ">i4"),
    25: (sa.String, pa.large_string(), None),
    700: (sa.Float, pa.float32(), ">f4"),
    701: (sa.Float, pa.float64(), ">f8"),
    1043: (sa.String, pa.large_string(), None),
    1114: (sa.DateTime, pa.timestamp("us"), ">i8"),
    1184: (sa.DateTime, _UTC, ">i8"),
}
_INT4, _TIMESTAMPS = 23, (1114, 1184)


def is_sent(declared: sa.types.TypeEngine[Any], number: int) -> bool:
    """Return whether cells of a declared type can be sent in binary to a column of PostgreSQL.

    Args:
        declared: The type of SQL.
        number: What PostgreSQL calls the type that the column has in truth.
    """
    known = _TYPES.get(number)
    if known is None or not isinstance(declared, known[0]) or isinstance(declared, sa.Enum):
        return False
    if isinstance(declared, sa.DateTime):
        return declared.timezone == (number == _TIMESTAMPS[1])
    return number != _INT4 or not isinstance(declared, sa.BigInteger)  # it might be cut off


def encoded(across: Sequence[Cells], numbers: Sequence[int]) -> Iterator[memoryview]:
    """Yield the bytes of rows, some thousand at a time, without beginning and end.

    Args:
        across: The cells of each column, checked against its declared type.
        numbers: The type of each column in PostgreSQL.
    """
    arrays = [
        pa.array(cells, _TYPES[number][1]) for cells, number in zip(across, numbers, strict=True)
    ]
    for start in range(0, len(arrays[0]), _ROWS):
        yield _rows([each.slice(start, _ROWS) for each in arrays], numbers)


def _rows(arrays: Sequence[Any], numbers: Sequence[int]) -> memoryview:
    """Return the bytes of some rows: those of fields with one length, joined with the others."""
    num_rows = len(arrays[0])
    parts: list[Any] = []
    fixed: list[tuple[str, Any]] = [(">i2", len(arrays))]
    for array, number in zip(arrays, numbers, strict=True):
        dtype = _TYPES[number][2]
        if dtype is None:
            lengths = pc.call_function("binary_length", [array]).fill_null(-1)
            cells = array.cast(pa.large_binary()).fill_null(b"")
        else:
            size = np.dtype(dtype).itemsize
            values = _numbers(array, number)
            if not array.null_count:
                fixed += [(">i4", size), (dtype, values)]
                continue
            there = array.is_valid().to_numpy(zero_copy_only=False)
            lengths = np.where(there, size, -1)
            cells = _binary(values[there].astype(dtype), np.where(there, size, 0))
        fixed.append((">i4", lengths))
        parts += [_block(fixed, num_rows), cells]
        fixed = []
    if fixed:
        parts.append(_block(fixed, num_rows))
    if len(parts) > 1:
        nothing = pa.scalar(b"", pa.large_binary())
        parts = [pc.call_function("binary_join_element_wise", [*parts, nothing])]
    _, offsets, data = parts[0].buffers()
    last = np.frombuffer(offsets, np.int64)[num_rows]
    return memoryview(data)[:last]


def _numbers(array: Any, number: int) -> NDArray[Any]:
    """Return the values, anything where they are missing."""
    if number in _TIMESTAMPS:
        return array.view(pa.int64()).fill_null(0).to_numpy() - Y2K
    if array.null_count:
        array = array.fill_null(pa.scalar(0).cast(array.type))
    return array.to_numpy(zero_copy_only=False)


def _block(fixed: Sequence[tuple[str, Any]], num_rows: int) -> Any:
    """Return fields, which are numbers or arrays of them, side by side as binary values."""
    rows = np.empty(num_rows, [(str(place), dtype) for place, (dtype, _) in enumerate(fixed)])
    for place, (_, values) in enumerate(fixed):
        rows[str(place)] = values
    return _binary(rows, np.full(num_rows, rows.dtype.itemsize))


def _binary(data: NDArray[Any], sizes: NDArray[Any]) -> Any:
    """Return an Arrow array of bytes that follow each other in memory."""
    offsets = np.concatenate([[0], np.cumsum(sizes)])
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(data)]
    return pa.Array.from_buffers(pa.large_binary(), len(sizes), buffers)
