"""A column type for tensors: bytes in NumPy's own format, with dtype and shape."""

from __future__ import annotations

import io
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from sqlalchemy import Dialect, LargeBinary
from sqlalchemy.dialects.sqlite.base import ischema_names
from sqlalchemy.types import TypeDecorator, TypeEngine, UserDefinedType

from fireworks.errors import DamagedFile, WrongType

_BFLOAT16 = np.dtype("V2")
"""NumPy has no bfloat16: its two bytes are stored as a void of two bytes."""


class _SQLiteBlob(UserDefinedType[bytes]):
    """SQLite keeps the declared name of a type, so that a reflected table knows its tensors."""

    cache_ok = True

    def get_col_spec(self, **_: object) -> str:
        return "TENSOR_BLOB"


class TensorType(TypeDecorator[torch.Tensor]):
    """One tensor a row, as bytes that ``numpy.load`` reads.

    The bytes carry dtype and shape, so rows of one column may differ in both. Tensors come back on
    the CPU, without gradients.
    """

    impl = LargeBinary
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Return what holds the bytes in this database."""
        return dialect.type_descriptor(_SQLiteBlob() if dialect.name == "sqlite" else LargeBinary())

    def process_bind_param(
        self, value: torch.Tensor | bytes | None, dialect: Dialect
    ) -> bytes | None:
        """Return a tensor's bytes; what is bytes already goes through as it is."""
        return value if value is None or isinstance(value, bytes) else encode(value[None])[0]

    def process_result_value(self, value: bytes | None, dialect: Dialect) -> torch.Tensor | None:
        """Return the tensor that the bytes hold."""
        return None if value is None else decode([value])[0]


# SQLAlchemy's table of type names is the one way to make it reflect a type of one's own.
cast("dict[str, Any]", ischema_names)["TENSOR_BLOB"] = TensorType


def encode(rows: torch.Tensor) -> list[bytes]:
    """Return each row of a tensor, shape (n, ...), as bytes in NumPy's format."""
    rows = rows.detach().cpu().contiguous()
    if rows.dtype == torch.bfloat16:
        array: NDArray[Any] = rows.view(torch.int16).numpy().view(_BFLOAT16)
    else:
        array = rows.numpy()
    header = io.BytesIO()
    description = {"descr": array.dtype.str, "fortran_order": False, "shape": array.shape[1:]}
    np.lib.format.write_array_header_1_0(header, description)
    start = header.getvalue()
    return [start + row.tobytes() for row in array]


def decode(cells: Sequence[bytes]) -> torch.Tensor:
    """Return cells that hold tensors of one dtype and shape as one tensor, shape (n, ...).

    Raises:
        DamagedFile: A cell holds no tensor, or less than it says.
        WrongType: The cells differ in dtype or shape, so that they make no column of one tensor.
    """
    if not cells:
        return torch.empty(0)
    first = cells[0]
    start, dtype, shape = _parsed(first[: _header_bytes(first)])
    header = first[:start]
    size = start + dtype.itemsize * int(np.prod(shape, dtype=np.int64))
    for row, cell in enumerate(cells):
        if cell[:start] != header:
            other = _parsed(cell[: _header_bytes(cell)])
            raise WrongType(
                f"Cells of one column differ: row 0 holds {dtype} of shape {shape}, row {row} "
                f"holds {other[1]} of shape {other[2]}; they make no tensor together."
            )
        if len(cell) != size:
            raise DamagedFile(f"The tensor in row {row} has {len(cell)} bytes instead of {size}.")
    # One copy of all bytes, then one that leaves the headers out.
    together = np.frombuffer(b"".join(cells), dtype=np.uint8).reshape(len(cells), size)
    values = together[:, start:].copy()
    bfloat16 = dtype == _BFLOAT16
    array = values.view(np.int16 if bfloat16 else dtype).reshape(len(cells), *shape)
    tensor = torch.from_numpy(array)
    return tensor.view(torch.bfloat16) if bfloat16 else tensor


def _header_bytes(cell: bytes) -> int:
    if cell[:8] != b"\x93NUMPY\x01\x00":
        raise DamagedFile(f"A cell that should hold a tensor begins with {cell[:8]!r}.")
    return 10 + int.from_bytes(cell[8:10], "little")


@lru_cache(maxsize=64)
def _parsed(header: bytes) -> tuple[int, np.dtype[Any], tuple[int, ...]]:
    """Return where the values begin, their dtype and their shape."""
    stream = io.BytesIO(header)
    try:
        np.lib.format.read_magic(stream)
        shape, _, dtype = np.lib.format.read_array_header_1_0(stream)
    except ValueError as error:
        raise DamagedFile(f"The header of a tensor cannot be read: {error}") from error
    return stream.tell(), dtype, tuple(shape)
