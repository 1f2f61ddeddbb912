"""Number columns: a numpy array of numbers, booleans, or datetimes without a zone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from fireworks.errors import WrongType
from fireworks.message.column import Column, Field
from fireworks.message.rows import Rows
from fireworks.message.series import as_series

if TYPE_CHECKING:
    import pandas as pd

Array = np.ndarray[Any, Any]


class NumberColumn(Column):
    """A one-dimensional numpy array of kind b, i, u, f, c, M or m.

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
        kind = "datetime" if self._array.dtype.kind in "mM" else "number"
        return Field(kind, str(self._array.dtype))

    @property
    def nbytes(self) -> int:
        return self._array.nbytes

    @property
    def array(self) -> Array:
        return self._array

    def present(self, name: str) -> pd.Series:
        return as_series(self._array, name)

    def take(self, rows: Rows) -> NumberColumn:
        return NumberColumn(self._array.take(rows.numpy))

    def slice(self, rows: slice) -> NumberColumn:
        return NumberColumn(self._array[rows])

    def put(self, rows: Rows, values: Column) -> NumberColumn:
        new = values.array
        if not np.can_cast(new.dtype, self._array.dtype, "same_kind"):
            raise WrongType(
                f"values of dtype {new.dtype} do not fit a column of dtype {self._array.dtype}; "
                f"convert them first"
            )
        changed = self._array.copy()
        changed[rows.numpy] = new
        return NumberColumn(changed)

    def concat(self, others: Sequence[Column]) -> NumberColumn:
        arrays = [self._array, *(each._array for each in others if isinstance(each, NumberColumn))]
        try:
            return NumberColumn(np.concatenate(arrays))
        except TypeError as error:  # datetimes and numbers
            kinds = ", ".join(sorted({str(array.dtype) for array in arrays}))
            raise WrongType(f"values of dtypes {kinds} cannot be in one column") from error

    def equals(self, other: Column, rtol: float, atol: float) -> bool:
        assert isinstance(other, NumberColumn)
        a, b = self._array, other._array
        if a.shape != b.shape or a.dtype != b.dtype:
            return False
        inexact = a.dtype.kind in "fcmM"
        if (rtol or atol) and a.dtype.kind in "fc":
            return bool(np.allclose(a, b, rtol, atol, equal_nan=True))
        return bool(np.array_equal(a, b, equal_nan=inexact))

    def fits(self, other: Column) -> bool:
        return isinstance(other, NumberColumn) and self._array.dtype == other._array.dtype

    def tensor(self) -> torch.Tensor:
        kind = self._array.dtype.kind
        if kind in "mM":
            raise WrongType(
                f"datetimes ({self._array.dtype}) are no numbers; convert them first, for example "
                f"to seconds"
            )
        array = self._array
        # torch reads native byte order only, and no floats wider than 64 bits.
        if not array.dtype.isnative:
            array = array.astype(array.dtype.newbyteorder("="))
        if array.dtype in (np.longdouble, np.clongdouble):
            array = array.astype(np.float64 if kind == "f" else np.complex128)
        return torch.from_numpy(array.copy() if array is self._array else array)

    def copy(self) -> NumberColumn:
        return NumberColumn(self._array.copy())

    def __reduce__(self) -> tuple[Any, ...]:
        return NumberColumn, (self._array,)  # read-only again when it is unpickled
