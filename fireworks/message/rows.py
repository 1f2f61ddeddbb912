"""Which rows are meant: every way of naming rows becomes one checked array of row numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import pyarrow as pa
import torch

from fireworks.errors import RowOutOfRange, WrongLength, WrongType

Int64Array = np.ndarray[Any, np.dtype[np.int64]]

_INT64 = np.dtype(np.int64)
_HIGHEST = np.iinfo(np.int64).max


class Rows:
    """Checked row numbers, in the form that each library wants them.

    Attributes:
        numpy: Row numbers, int64, shape ``(k,)``, each in ``[0, n)``; never written to.
    """

    __slots__ = ("_tensor", "numpy")

    def __init__(self, numpy: Int64Array) -> None:
        self.numpy = numpy
        self._tensor: torch.Tensor | None = None

    def __len__(self) -> int:
        return self.numpy.shape[0]

    @property
    def tensor(self) -> torch.Tensor:
        """The same row numbers as a torch tensor, sharing memory where it may."""
        if self._tensor is None:
            rows = self.numpy
            # torch cannot share an array that is read-only or runs backwards.
            if not rows.flags.writeable or rows.strides[0] < 0:
                rows = rows.copy()
            self._tensor = torch.from_numpy(rows)
        return self._tensor


def resolve(rows: object, length: int) -> Rows:
    """Check the row numbers, or the mask, given by a user.

    Args:
        rows: An integer, a sequence of integers, a mask of ``length`` booleans, as a list, range,
            numpy array, torch tensor, pandas Series or Arrow array.
        length: How many rows the table has.

    Raises:
        RowOutOfRange: A row number outside ``[-length, length)``.
        WrongLength: A mask of another length than the table's.
        WrongType: Something that names no rows, floating point numbers for example.
    """
    if type(rows) is Rows:
        return rows
    if type(rows) is np.ndarray and rows.dtype is _INT64 and rows.ndim == 1:
        numbers = rows
    else:
        numbers = _row_numbers(rows, length)
    if numbers.shape[0]:
        # Seen as unsigned, a negative number is larger than any length: one pass checks both ends.
        # `argmax` is quicker than `max`, on few rows and on many.
        try:
            unsigned = numbers.view(np.uint64)
            unchecked = unsigned[unsigned.argmax()] >= length
        except ValueError:  # the dtype of an array that is not contiguous cannot be viewed
            unchecked = True
        if unchecked:
            numbers = _wrap_negative(numbers, length)
    return Rows(numbers)


def _wrap_negative(numbers: Int64Array, length: int) -> Int64Array:
    outside = (numbers < -length) | (numbers >= length)
    if outside.any():
        position = int(outside.argmax())
        raise RowOutOfRange(
            f"{_outside(int(numbers[position]), length)} It is at position {position} of the "
            f"selection."
        )
    return np.where(numbers < 0, numbers + length, numbers)


def _outside(row: int, length: int) -> str:
    if not length:
        return f"Row {row} was asked for, but this table has no rows."
    return (
        f"Row {row} is outside this table of {length} rows. Rows go from 0 to {length - 1}, or "
        f"from -{length} to -1."
    )


def _row_numbers(rows: object, length: int) -> Int64Array:
    """Turn anything that names rows into an int64 array, not yet checked against the length."""
    if isinstance(rows, torch.Tensor):
        array = rows.detach().cpu().numpy()
    elif isinstance(rows, bool | np.bool_):
        raise WrongType(f"{rows!r} names no row. A mask needs one boolean for each row.")
    elif isinstance(rows, int | np.integer):
        if not -length <= rows < length:
            raise RowOutOfRange(_outside(int(rows), length))
        return np.array([rows], np.int64)
    elif isinstance(rows, range):
        return np.arange(rows.start, rows.stop, rows.step, dtype=np.int64)
    elif isinstance(rows, slice):
        return np.arange(*rows.indices(length), dtype=np.int64)
    elif isinstance(rows, np.ndarray):
        array = rows
    elif isinstance(rows, str | bytes | dict | set | tuple | float | None):
        raise WrongType(_cannot_select(rows))
    elif isinstance(rows, pa.Array | pa.ChunkedArray):
        array = np.array(cast(Any, rows).to_pylist())
    elif isinstance(rows, Sequence) and len(rows) == 0:
        return np.empty(0, np.int64)
    else:
        try:
            array = np.asarray(rows)
        except (TypeError, ValueError) as error:
            raise WrongType(_cannot_select(rows)) from error
    return _numbers_from_array(array, rows, length)


def _numbers_from_array(array: np.ndarray[Any, Any], rows: object, length: int) -> Int64Array:
    if array.ndim == 0:
        array = array.reshape(1)
    if array.ndim != 1:
        raise WrongType(
            f"Rows are selected by one dimension of row numbers or booleans, not by an array of "
            f"shape {array.shape}."
        )
    kind = array.dtype.kind
    if kind == "O" and len(array):
        array = _without_objects(array, rows, length)
        kind = array.dtype.kind
    if kind == "b":
        if array.shape[0] != length:
            raise WrongLength(
                f"A mask of {array.shape[0]} booleans cannot select from {length} rows. "
                f"It needs one boolean for each row."
            )
        return array.nonzero()[0]
    if kind in "iu":
        # As int64 such a number would count from the end.
        if array.dtype == np.uint64 and len(array) and array.max() > _HIGHEST:
            raise RowOutOfRange(_outside(int(array.max()), length))
        return array.astype(np.int64, copy=False)
    if array.shape[0] == 0:
        return np.empty(0, np.int64)
    raise WrongType(_cannot_select(rows))


def _without_objects(
    array: np.ndarray[Any, Any], rows: object, length: int
) -> np.ndarray[Any, Any]:
    """Find a dtype for a mask of dtype object or boolean, or a list that numpy found none for."""
    import pandas as pd

    missing = pd.isna(array)
    known = array[~missing]
    if len(known) and all(isinstance(each, bool | np.bool_) for each in known):
        if missing.any():
            raise WrongType(
                f"A mask says of each row whether it is selected, and this one does not of row "
                f"{int(missing.argmax())} (it is missing). Fill it: mask.fillna(False)."
            )
        return array.astype(bool)
    if not missing.any() and all(isinstance(each, int | np.integer) for each in array):
        furthest = max(array.tolist(), key=abs)
        if abs(furthest) > _HIGHEST:
            raise RowOutOfRange(_outside(furthest, length))
        return array.astype(np.int64)
    raise WrongType(_cannot_select(rows))


def _cannot_select(rows: object) -> str:
    dtype = getattr(rows, "dtype", None)
    what = f"{type(rows).__name__} of {dtype}" if dtype is not None else f"{rows!r:.60}"
    return (
        f"Rows cannot be selected by {what}. Give row numbers (integers), a mask of booleans, or "
        f"a slice."
    )


def last_of_each(rows: Int64Array) -> Int64Array | None:
    """Where each row number occurs last, or None where none occurs twice."""
    ordered = np.sort(rows)
    if not np.count_nonzero(ordered[1:] == ordered[:-1]):
        return None
    _, first = np.unique(rows[::-1], return_index=True)
    return len(rows) - 1 - first
