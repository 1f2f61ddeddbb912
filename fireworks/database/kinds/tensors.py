"""Tensors and arrays as cells: bytes in NumPy's own format, with dtype and shape."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import sqlalchemy as sa
import torch
from numpy.typing import NDArray

from fireworks.database.kinds.kind import Kind, Place, Spec, each_cell
from fireworks.database.kinds.objects import bytes_type
from fireworks.errors import DamagedFile, WrongType, WrongValue
from fireworks.message.column import Column
from fireworks.message.kinds.object import ObjectColumn, object_array
from fireworks.message.kinds.ragged import RaggedColumn
from fireworks.message.kinds.tensor import TensorColumn

# What NumPy does not have is stored as integers in a field of that name.
_CARRIERS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


@dataclass(frozen=True)
class TensorKind(Kind):
    """One tensor a row.

    Attributes:
        dtype: The dtype of a column without rows, such as ``"float32"``; cells bring their own.
        shape: The shape of such a column's rows.
        stacked: Whether the rows make one tensor; else each is an object, or None.
    """

    name = "tensor"
    dtype: str | None = None
    shape: tuple[int, ...] | None = None
    stacked: bool = True

    @property
    def spec(self) -> Spec:
        shape = None if self.shape is None else list(self.shape)
        return {"kind": self.name, "dtype": self.dtype, "shape": shape, "stacked": self.stacked}

    @property
    def holds(self) -> sa.types.TypeEngine[Any]:
        return bytes_type()

    def read(self, cells: Sequence[Any], nullable: bool) -> Column:
        if not self.stacked:
            tensors = [each if each is None else decode([_bytes(each)])[0] for each in cells]
            return ObjectColumn(object_array(tensors))
        if None in cells:
            raise WrongValue(
                "a row without a tensor (NULL); declare it TensorType(stacked=False) to get one "
                "object a row"
            )
        if not cells:
            dtype = getattr(torch, self.dtype) if self.dtype else None
            return TensorColumn(torch.empty((0, *(self.shape or ())), dtype=dtype))
        return TensorColumn(decode([_bytes(each) for each in cells]))

    def write(self, column: Column, place: Place) -> list[Any]:
        if isinstance(column, TensorColumn):
            return list(encode(column.array))
        if not isinstance(column, ObjectColumn):
            raise place.wrong_kind(column, "tensors")

        def convert(value: Any) -> bytes:
            if not isinstance(value, torch.Tensor):
                raise TypeError
            return encode(value[None])[0]

        return each_cell(column, place, "tensors", convert)

    def bind(self, cell: Any, dialect: str) -> Any:
        return encode(cell[None])[0] if isinstance(cell, torch.Tensor) else cell


@dataclass(frozen=True)
class ArrayKind(Kind):
    """One NumPy array a row.

    Attributes:
        dtype: Their dtype, where they make a ragged column; else each is an object, or None.
    """

    name = "array"
    dtype: str | None = None

    @property
    def spec(self) -> Spec:
        return {"kind": self.name, "dtype": self.dtype}

    @property
    def holds(self) -> sa.types.TypeEngine[Any]:
        return bytes_type()

    def read(self, cells: Sequence[Any], nullable: bool) -> Column:
        if self.dtype is None:
            found = [each if each is None else decode_array(_bytes(each)) for each in cells]
            return ObjectColumn(object_array(found))
        arrays = [decode_array(_bytes(each)) for each in cells]
        for each in arrays:
            if each.ndim != 1:
                raise WrongValue(f"an array of shape {each.shape} among those of one dimension")
        offsets = np.zeros(len(arrays) + 1, np.int64)
        np.cumsum([len(each) for each in arrays], out=offsets[1:])
        empty = np.empty(0, self.dtype)
        values = np.concatenate([empty, *arrays], dtype=empty.dtype, casting="equiv")
        return RaggedColumn(values, offsets)

    def write(self, column: Column, place: Place) -> list[Any]:
        if isinstance(column, RaggedColumn):
            return [encode_array(each) for each in column.cells()]
        if not isinstance(column, ObjectColumn):
            raise place.wrong_kind(column, "arrays")

        def convert(value: Any) -> bytes:
            if not isinstance(value, np.ndarray):
                raise TypeError
            if value.dtype.hasobject or value.dtype.kind == "V":
                raise WrongValue(f"it takes arrays of numbers, not of {value.dtype}")
            return encode_array(value)

        return each_cell(column, place, "arrays", convert)

    def bind(self, cell: Any, dialect: str) -> Any:
        return encode_array(cell) if isinstance(cell, np.ndarray) else cell


def _bytes(cell: Any) -> bytes:
    if isinstance(cell, bytes | bytearray | memoryview):
        return bytes(cell)
    raise WrongValue(f"{cell!r:.60}")


def encode_array(array: NDArray[Any]) -> bytes:
    """Return an array as bytes that ``numpy.load`` reads."""
    array = np.ascontiguousarray(array).reshape(array.shape)
    return _header(array.dtype, array.shape) + array.tobytes()


def decode_array(cell: bytes) -> NDArray[Any]:
    """Return the array that bytes hold, in memory of its own.

    Raises:
        DamagedFile: They hold no array, or less than they say.
    """
    start, dtype, shape = _parsed(cell[: _header_bytes(cell)])
    _check_size(cell, start, dtype, shape, 0)
    return np.frombuffer(cell, dtype, offset=start).reshape(shape).copy()


def encode(rows: torch.Tensor) -> list[bytes]:
    """Return each row of a tensor, shape (n, ...), as bytes that ``numpy.load`` reads.

    Raises:
        WrongType: The tensor is sparse or quantized.
    """
    if rows.layout != torch.strided or rows.is_quantized:
        raise WrongType(f"a tensor of layout {rows.layout} cannot be stored; use .to_dense()")
    rows = rows.detach().cpu().resolve_conj().resolve_neg().contiguous()
    name = _name(rows.dtype)
    if name is None:
        array: NDArray[Any] = rows.numpy()
    else:
        carrier = rows.view(_CARRIERS[rows.element_size()]).numpy()
        array = carrier.view(np.dtype([(name, carrier.dtype)]))
    start = _header(array.dtype, array.shape[1:])
    return [start + row.tobytes() for row in array]


def decode(cells: Sequence[bytes]) -> torch.Tensor:
    """Return cells that hold tensors of one dtype and shape as one tensor, shape (n, ...).

    Raises:
        DamagedFile: A cell holds no tensor, or less than it says.
        WrongType: The cells differ in dtype or shape, so that they make no column of one tensor.
    """
    first = cells[0]
    start, dtype, shape = _parsed(first[: _header_bytes(first)])
    header = first[:start]
    size = start + dtype.itemsize * int(np.prod(shape, dtype=np.int64))
    for row, cell in enumerate(cells):
        if cell[:start] != header:
            other = _parsed(cell[: _header_bytes(cell)])
            raise WrongType(
                f"cells of one column differ: row 0 holds {_torch_name(dtype)} of shape {shape}, "
                f"row {row} holds {_torch_name(other[1])} of shape {other[2]}; they make no tensor "
                "together. Declared TensorType(stacked=False), they come as one object a row."
            )
        _check_size(cell, start, dtype, shape, row)
    # One copy of all bytes, then one that leaves the headers out.
    together = np.frombuffer(b"".join(cells), dtype=np.uint8).reshape(len(cells), size)
    values = together[:, start:].copy()
    named = dtype.names
    plain = dtype if named is None else dtype[0]
    tensor = torch.from_numpy(values.view(plain).reshape(len(cells), *shape))
    return tensor if named is None else tensor.view(getattr(torch, named[0]))


def _name(dtype: torch.dtype) -> str | None:
    """Return the name of a dtype that NumPy does not have; None for one that it has."""
    try:
        torch.empty(0, dtype=dtype).numpy()
    except TypeError:
        return str(dtype).removeprefix("torch.")
    return None


def _torch_name(dtype: np.dtype[Any]) -> str:
    return dtype.name if dtype.names is None else dtype.names[0]


def _header(dtype: np.dtype[Any], shape: tuple[int, ...]) -> bytes:
    header = io.BytesIO()
    description = {
        "descr": np.lib.format.dtype_to_descr(dtype),
        "fortran_order": False,
        "shape": shape,
    }
    np.lib.format.write_array_header_1_0(header, description)
    return header.getvalue()


def _check_size(
    cell: bytes, start: int, dtype: np.dtype[Any], shape: tuple[int, ...], row: int
) -> None:
    size = start + dtype.itemsize * int(np.prod(shape, dtype=np.int64))
    if len(cell) != size:
        raise DamagedFile(f"The tensor in row {row} has {len(cell)} bytes instead of {size}.")


def _header_bytes(cell: bytes) -> int:
    if cell[:8] != b"\x93NUMPY\x01\x00":
        raise DamagedFile(f"A cell that should hold a tensor begins with {cell[:8]!r}.")
    return 10 + int.from_bytes(cell[8:10], "little")


@lru_cache(maxsize=256)
def _parsed(header: bytes) -> tuple[int, np.dtype[Any], tuple[int, ...]]:
    """Return where the values begin, their dtype and their shape."""
    stream = io.BytesIO(header)
    try:
        np.lib.format.read_magic(stream)
        shape, fortran, dtype = np.lib.format.read_array_header_1_0(stream)
    except ValueError as error:
        raise DamagedFile(f"The header of a tensor cannot be read: {error}") from error
    if fortran or dtype.hasobject or (dtype.names is not None and len(dtype.names) != 1):
        raise DamagedFile(f"A tensor of {dtype} in Fortran's order or of objects is none of ours.")
    return stream.tell(), dtype, tuple(shape)
