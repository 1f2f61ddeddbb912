"""How many rows and missing values an Arrow IPC file has, without reading its columns.

pyarrow tells neither without decoding the record batches. The file's footer says where each batch
is, and the head of a batch how many rows and missing values each of its columns has: both are
flatbuffers, of which the few fields needed are read here (Arrow's `File.fbs`, `Message.fbs`).
"""

from __future__ import annotations

import os
import struct
from collections.abc import Sequence
from typing import BinaryIO

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from fireworks.sources.column_kinds import ArrowSchema, ArrowType

_MAGIC = b"ARROW1"
_BLOCK = np.dtype([("offset", "<i8"), ("head", "<i4"), ("pad", "<i4"), ("body", "<i8")])
_NODE = np.dtype([("length", "<i8"), ("nulls", "<i8")])


def batch_counts(file: BinaryIO) -> list[tuple[int, NDArray[np.int64]]]:
    """Return, for each record batch, its rows and the missing values of each of its nodes.

    A column is one node, and one more for each column nested in it (see `node_count`).

    Raises:
        ValueError: It is no whole Arrow IPC file.
    """
    try:
        blocks = _blocks(file)
    except (struct.error, IndexError) as error:
        raise ValueError(f"its footer is damaged ({error})") from error
    counts: list[tuple[int, NDArray[np.int64]]] = []
    for block in blocks:
        try:
            counts.append(_counts(file, int(block["offset"]), int(block["head"])))
        except (struct.error, IndexError, ValueError, OSError) as error:
            raise ValueError(f"the head of record batch {len(counts)} is damaged") from error
    return counts


def node_count(kind: ArrowType) -> int:
    """Return how many nodes a column of a type has in a record batch."""
    if isinstance(kind, pa.BaseExtensionType):
        return node_count(kind.storage_type)
    if isinstance(kind, pa.DictionaryType):
        return 1
    return 1 + sum(node_count(kind.field(i).type) for i in range(kind.num_fields))


def first_nodes(schema: ArrowSchema) -> Sequence[int]:
    """Return at which node each column begins."""
    counts = [node_count(field.type) for field in schema]
    return [sum(counts[:i]) for i in range(len(counts))]


def _blocks(file: BinaryIO) -> NDArray[np.void]:
    end = file.seek(0, os.SEEK_END)
    file.seek(max(0, end - 10))
    tail = file.read(10)
    if len(tail) < 10 or tail[4:] != _MAGIC:
        raise ValueError("it does not end as an Arrow IPC file")
    (size,) = struct.unpack("<i", tail[:4])
    if not 0 < size <= end - 10:
        raise ValueError("its footer is damaged")
    file.seek(end - 10 - size)
    footer = file.read(size)
    return _vector(footer, _root(footer), 3, _BLOCK)


def _counts(file: BinaryIO, offset: int, size: int) -> tuple[int, NDArray[np.int64]]:
    file.seek(offset)
    head = file.read(size)
    # A marker of four bytes before the length came with Arrow 0.15.
    head = head[8 if head[:4] == b"\xff\xff\xff\xff" else 4 :]
    message = _root(head)
    at = _field(head, message, 2)
    if not at:
        raise ValueError("it is no record batch")
    batch = at + _number(head, "<I", at)
    rows = _field(head, batch, 0)
    nodes = _vector(head, batch, 1, _NODE)
    return _number(head, "<q", rows) if rows else 0, nodes["nulls"].astype(np.int64)


# Flatbuffers: a table begins with the distance to its list of fields, which says where each is.


def _number(buffer: bytes, form: str, at: int) -> int:
    return struct.unpack_from(form, buffer, at)[0]


def _root(buffer: bytes) -> int:
    return _number(buffer, "<I", 0)


def _field(buffer: bytes, table: int, index: int) -> int:
    """Return where a field of a table is; 0 where it is left out."""
    fields = table - _number(buffer, "<i", table)
    if 4 + 2 * index >= _number(buffer, "<H", fields):
        return 0
    place = _number(buffer, "<H", fields + 4 + 2 * index)
    return table + place if place else 0


def _vector(buffer: bytes, table: int, index: int, dtype: np.dtype[np.void]) -> NDArray[np.void]:
    at = _field(buffer, table, index)
    if not at:
        return np.empty(0, dtype)
    at += _number(buffer, "<I", at)
    length = _number(buffer, "<I", at)
    if at + 4 + length * dtype.itemsize > len(buffer):
        raise IndexError("a list is longer than the footer")
    return np.frombuffer(buffer, dtype, length, at + 4)
