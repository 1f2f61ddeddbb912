"""Object columns: any Python objects, in a numpy array of references."""

from __future__ import annotations

import copy
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from fireworks.errors import WrongType
from fireworks.message.column import Column, Field
from fireworks.message.rows import Rows

if TYPE_CHECKING:
    import pandas as pd

Array = np.ndarray[Any, Any]


class ObjectColumn(Column):
    """A one-dimensional numpy array of dtype object.

    Args:
        array: Becomes read-only; of an array that is somebody else's, give a view.
    """

    __slots__ = ("_array",)

    def __init__(self, array: Array) -> None:
        array.setflags(write=False)
        self._array = array

    def __len__(self) -> int:
        return self._array.shape[0]

    @property
    def field(self) -> Field:
        return Field("object", "object")

    @property
    def nbytes(self) -> int:
        """Bytes of the references, and of what arrays, tensors and strings among them hold."""
        return self._array.nbytes + sum(cell_bytes(each) for each in self._array)

    @property
    def array(self) -> Array:
        return self._array

    def present(self, name: str) -> pd.Series:
        import pandas as pd

        return pd.Series(self._array, name=name, dtype=object, copy=False)

    def take(self, rows: Rows) -> ObjectColumn:
        return ObjectColumn(self._array.take(rows.numpy))

    def slice(self, rows: slice) -> ObjectColumn:
        return ObjectColumn(self._array[rows])

    def put(self, rows: Rows, values: Column) -> ObjectColumn:
        changed = self._array.copy()
        changed[rows.numpy] = values.array
        return ObjectColumn(changed)

    def concat(self, others: Sequence[Column]) -> ObjectColumn:
        return ObjectColumn(np.concatenate([self._array, *(each.array for each in others)]))

    def equals(self, other: Column, rtol: float, atol: float) -> bool:
        pairs = zip(self._array, other.array, strict=True)
        return all(same_cell(a, b, rtol, atol) for a, b in pairs)

    def tensor(self) -> torch.Tensor:
        rows = [_as_tensor(value, row) for row, value in enumerate(self._array)]
        if not rows:
            raise WrongType("an object column without rows has no dtype that a tensor could have")
        first = rows[0]
        for row, each in enumerate(rows):
            if each.shape != first.shape:
                raise WrongType(
                    f"row {row} has shape {tuple(each.shape)} and row 0 {tuple(first.shape)}; the "
                    f"rows of a tensor have one shape (pad them first)"
                )
            if each.device != first.device:
                raise WrongType(
                    f"row {row} is on {each.device} and row 0 on {first.device}; move them first"
                )
        dtype = first.dtype
        for each in rows:
            dtype = torch.promote_types(dtype, each.dtype)
        return torch.stack([each.to(dtype) for each in rows])

    def copy(self) -> ObjectColumn:
        return ObjectColumn(copy.deepcopy(self._array))

    def __reduce__(self) -> tuple[Any, ...]:
        return ObjectColumn, (self._array,)  # read-only again when it is unpickled


def cell_bytes(cell: object) -> int:
    """Bytes that a cell holds, besides the reference to it."""
    if isinstance(cell, np.ndarray | torch.Tensor):
        return cell.nbytes
    if isinstance(cell, list | tuple):
        return 8 * len(cell) + sum(cell_bytes(each) for each in cell)
    if isinstance(cell, dict):
        return 16 * len(cell) + sum(cell_bytes(each) for pair in cell.items() for each in pair)
    return 0 if cell is None else sys.getsizeof(cell)


def object_array(values: Sequence[Any]) -> Array:
    """A one-dimensional object array of exactly these values, whatever they contain."""
    array = np.empty(len(values), object)
    for row, value in enumerate(values):
        array[row] = value
    return array


def _as_tensor(value: object, row: int) -> torch.Tensor:
    if isinstance(value, torch.Tensor):
        return value
    try:
        array = np.asarray(value)
        if array.dtype.kind in "biufc":
            return torch.from_numpy(array.copy())
    except (TypeError, ValueError):
        pass
    raise WrongType(f"row {row} is {value!r:.60}, which cannot be part of a tensor")


def same_cell(a: object, b: object, rtol: float, atol: float) -> bool:
    """Whether two cells are equal, NaN being equal to NaN and types counting."""
    if a is b:
        return True
    if type(a) is not type(b):
        return False
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        if a.dtype != b.dtype or a.shape != b.shape:
            return False
        if a.dtype == object:
            return all(same_cell(x, y, rtol, atol) for x, y in zip(a.flat, b.flat, strict=True))
        if (rtol or atol) and a.dtype.kind in "fc":
            return bool(np.allclose(a, b, rtol, atol, equal_nan=True))
        return bool(np.array_equal(a, b, equal_nan=a.dtype.kind in "fcmM"))
    if isinstance(a, torch.Tensor) and isinstance(b, torch.Tensor):
        from fireworks.message.kinds.tensor import TensorColumn

        return TensorColumn(a[None]).equals(TensorColumn(b[None]), rtol, atol)
    if isinstance(a, list | tuple) and isinstance(b, list | tuple):
        return len(a) == len(b) and all(
            same_cell(x, y, rtol, atol) for x, y in zip(a, b, strict=True)
        )
    if isinstance(a, dict) and isinstance(b, dict):
        return list(a) == list(b) and all(same_cell(a[key], b[key], rtol, atol) for key in a)
    if isinstance(a, float) and isinstance(b, float):
        return a == b or (a != a and b != b) or abs(a - b) <= atol + rtol * abs(b)
    try:
        return bool(a == b)
    except (TypeError, ValueError):
        return False
