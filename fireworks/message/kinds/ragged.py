"""Ragged columns: one array of numbers per row, kept as all values end to end and offsets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import torch

from fireworks.errors import WrongType
from fireworks.message.column import ArrowArray, Column, Field
from fireworks.message.kinds.object import ObjectColumn, object_array
from fireworks.message.rows import Rows

if TYPE_CHECKING:
    import pandas as pd

Array = np.ndarray[Any, Any]


class RaggedColumn(Column):
    """Row ``i`` is ``values[offsets[i]:offsets[i + 1]]``, a one-dimensional array.

    ``offsets`` (int64) has one entry more than there are rows and need not begin at 0.
    """

    __slots__ = ("_offsets", "_values")

    def __init__(self, values: Array, offsets: Array) -> None:
        self._values = values
        self._offsets = offsets

    def __len__(self) -> int:
        return self._offsets.shape[0] - 1

    @property
    def field(self) -> Field:
        return Field("ragged", str(self._values.dtype))

    @property
    def nbytes(self) -> int:
        held = int(self._offsets[-1] - self._offsets[0])
        return held * self._values.dtype.itemsize + self._offsets.nbytes

    @property
    def values(self) -> Array:
        """The values of these rows end to end."""
        return self._values[self._offsets[0] : self._offsets[-1]]

    @property
    def offsets(self) -> Array:
        """Where each row begins and ends in `values`; begins at 0."""
        first = self._offsets[0]
        return self._offsets - first if first else self._offsets

    @property
    def array(self) -> ArrowArray:
        """An Arrow list array that shares the memory of the values."""
        return pa.LargeListArray.from_arrays(self.offsets, pa.array(self.values))

    def cells(self) -> Array:
        """An object array of one read-only array per row."""
        values = self._values.view()
        values.flags.writeable = False
        bounds = self._offsets.tolist()
        array = np.empty(len(self), object)
        for row in range(len(self)):
            array[row] = values[bounds[row] : bounds[row + 1]]
        return array

    def present(self, name: str) -> pd.Series:
        return ObjectColumn(self.cells()).present(name)

    def take(self, rows: Rows) -> RaggedColumn:
        starts = self._offsets[:-1].take(rows.numpy)
        lengths = self._offsets[1:].take(rows.numpy) - starts
        offsets = np.zeros(len(rows) + 1, np.int64)
        np.cumsum(lengths, out=offsets[1:])
        # Where each value comes from: its row's start, and its place in the row.
        origin = np.arange(offsets[-1])
        origin += np.repeat(starts - offsets[:-1], lengths)
        return RaggedColumn(self._values.take(origin), offsets)

    def slice(self, rows: slice) -> RaggedColumn:
        start, stop, step = rows.indices(len(self))
        if step != 1:
            return self.take(Rows(np.arange(start, stop, step)))
        return RaggedColumn(self._values, self._offsets[start : max(start, stop) + 1])

    def concat(self, others: Sequence[Column]) -> RaggedColumn:
        columns = [self, *(each for each in others if isinstance(each, RaggedColumn))]
        ends = np.cumsum([0, *(len(each.values) for each in columns)])
        offsets = [np.zeros(1, np.int64)]
        offsets += [each.offsets[1:] + end for each, end in zip(columns, ends, strict=False)]
        return RaggedColumn(
            np.concatenate([each.values for each in columns]), np.concatenate(offsets)
        )

    def equals(self, other: Column, rtol: float, atol: float) -> bool:
        assert isinstance(other, RaggedColumn)
        from fireworks.message.kinds.number import NumberColumn

        return np.array_equal(self.offsets, other.offsets) and NumberColumn(self.values).equals(
            NumberColumn(other.values), rtol, atol
        )

    def tensor(self) -> torch.Tensor:
        lengths = np.diff(self._offsets)
        if len(lengths) and (lengths != lengths[0]).any():
            row = int((lengths != lengths[0]).argmax())
            raise WrongType(
                f"row {row} has {lengths[row]} values and row 0 has {lengths[0]}; the rows of a "
                f"tensor have one shape (pad them first)"
            )
        width = int(lengths[0]) if len(lengths) else 0
        return torch.from_numpy(self.values.copy()).reshape(len(self), width)

    def copy(self) -> RaggedColumn:
        return RaggedColumn(self.values.copy(), self.offsets.copy())


def ragged(cells: Sequence[Any] | Array) -> RaggedColumn | None:
    """Store lists or arrays of numbers end to end, or None where they are anything else."""
    arrays: list[Array] = []
    dtypes: set[np.dtype[Any]] = set()
    for cell in cells:
        if not isinstance(cell, list | tuple | np.ndarray):
            return None
        try:
            array = np.asarray(cell)
        except ValueError:  # lists of lists of several lengths
            return None
        if array.ndim != 1 or array.dtype.kind not in "biuf":
            return None
        arrays.append(array)
        # An empty list has no dtype of its own.
        if len(array) or isinstance(cell, np.ndarray):
            dtypes.add(array.dtype)
    exact = all(not isinstance(cell, np.ndarray) for cell in cells)
    if len(dtypes) > 1 and (not exact or {each.kind for each in dtypes} - {"i", "f"}):
        return None
    dtype = np.result_type(*dtypes) if dtypes else np.dtype(float)
    lengths = [len(array) for array in arrays]
    offsets = np.zeros(len(arrays) + 1, np.int64)
    np.cumsum(lengths, out=offsets[1:])
    values = [array.astype(dtype, copy=False) for array in arrays]
    return RaggedColumn(np.concatenate(values) if values else np.empty(0, dtype), offsets)


def from_matrix(matrix: Array) -> Column:
    """A numpy array of several dimensions: each row is a cell."""
    if matrix.ndim == 2 and matrix.dtype.kind in "biuf":
        width = matrix.shape[1]
        return RaggedColumn(
            np.ascontiguousarray(matrix).reshape(-1), np.arange(len(matrix) + 1) * width
        )
    return ObjectColumn(object_array(list(matrix)))
