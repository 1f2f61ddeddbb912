"""From what users give to columns, and from one kind of column to another."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from fireworks.errors import WrongLength, WrongType
from fireworks.message.column import ArrowArray, Column
from fireworks.message.kinds.extension import ExtensionColumn
from fireworks.message.kinds.number import NumberColumn
from fireworks.message.kinds.object import ObjectColumn, object_array
from fireworks.message.kinds.ragged import from_matrix, ragged
from fireworks.message.kinds.string import StringColumn, encode
from fireworks.message.kinds.tensor import TensorColumn

_SCALARS = (str, bytes, int, float, complex, bool, type(None), np.generic)


def column_from(value: object, length: int | None) -> Column:
    """Turn what a user gave for a column into a column.

    Args:
        value: A tensor becomes a tensor column; a list, array, Series, Arrow array or other
            iterable a vector; a scalar is repeated.
        length: How many rows the table has, None where it is not known yet.

    Raises:
        WrongLength: It has another number of rows.
        WrongType: It cannot be a column.
    """
    if isinstance(value, torch.Tensor):
        if not value.ndim:
            return TensorColumn(value.expand(1 if length is None else length).clone())
        column: Column = TensorColumn(value)
        if value.shape[0] == length:
            return column  # as nearly always
    elif isinstance(value, np.ndarray) and value.ndim:
        column = from_numpy(value)
    elif isinstance(value, Column):
        column = value
    elif is_scalar(value):
        return _repeat(value, 1 if length is None else length)
    elif isinstance(value, pa.Array | pa.ChunkedArray):
        from fireworks.message.arrow import column_from_arrow

        column = column_from_arrow(value)
    elif is_pandas(value):
        column = from_pandas(value)
    elif isinstance(value, Mapping | set | frozenset):
        raise WrongType(
            f"a {type(value).__name__} cannot be a column; give a list, an array, a Series or a "
            f"tensor"
        )
    elif isinstance(value, Iterable):
        column = from_list(value if isinstance(value, list) else list(value))
    else:
        column = _repeat(value, 1 if length is None else length)
    if length is not None and len(column) != length:
        raise WrongLength(f"it has {len(column)} rows, the table has {length}")
    return column


def is_scalar(value: object) -> bool:
    """Whether a value stands for one cell and is repeated over the rows."""
    if isinstance(value, _SCALARS):
        return True
    return isinstance(value, np.ndarray) and value.ndim == 0


def is_pandas(value: object) -> bool:
    """Whether this is a Series, Index or array of pandas; does not import pandas."""
    if "pandas" not in sys.modules:
        return False
    import pandas as pd

    return isinstance(value, pd.Series | pd.Index | pd.api.extensions.ExtensionArray)


def _repeat(value: object, length: int) -> Column:
    from fireworks.message.rows import Rows

    if isinstance(value, np.ndarray):
        value = value[()]
    one = from_list([value])
    return one.take(Rows(np.zeros(length, np.int64)))


def from_numpy(array: np.ndarray[Any, Any]) -> Column:
    """A numpy array as a column; numbers and datetimes share its memory."""
    if array.ndim == 0:
        return _repeat(array[()], 1)
    kind = array.dtype.kind
    if array.ndim > 1:
        return from_matrix(array)
    if kind in "biufcmM":
        return NumberColumn(array.view() if array.dtype.isnative else array.astype(_native(array)))
    if kind == "U" or type(array.dtype).__name__ == "StringDType":
        return encode(pa.array(array.astype(object), pa.large_string()))
    if kind == "O":
        return _from_objects(array)
    if kind == "S":
        return ObjectColumn(array.astype(object))
    raise WrongType(
        f"a numpy array of dtype {array.dtype} cannot be a column"
        + ("; give it to Message itself, its fields become columns" if kind == "V" else "")
    )


def _from_objects(array: np.ndarray[Any, Any]) -> Column:
    """Strings are stored as strings and arrays end to end; other objects stay as they are."""
    if len(array):
        first = next((each for each in array if each is not None), None)
        if isinstance(first, str) and all(isinstance(each, str) or each is None for each in array):
            return encode(_strings(array))
        if isinstance(first, np.ndarray) and (column := ragged(array)) is not None:
            return column
    return ObjectColumn(array.view())


def _native(array: np.ndarray[Any, Any]) -> np.dtype[Any]:
    return array.dtype.newbyteorder("=")


def _strings(values: Sequence[object] | np.ndarray[Any, Any]) -> ArrowArray:
    try:
        return pa.array(values, pa.large_string(), from_pandas=False)
    except UnicodeEncodeError as error:
        raise WrongType(f"a string holds half a surrogate pair, no text: {error}") from None


def from_list(values: list[Any]) -> Column:
    """A list as a column: numbers, strings, datetimes and lists of numbers find their kind."""
    kinds = {type(each) for each in values}
    if kinds <= {str, type(None)} and str in kinds:
        return encode(_strings(values))
    if (kinds and kinds <= {int, float, bool, complex}) or any(
        issubclass(each, np.generic) for each in kinds
    ):
        if bool in kinds and len(kinds) > 1:
            return ObjectColumn(object_array(values))
        try:
            array = np.asarray(values)
        except (ValueError, OverflowError):
            return ObjectColumn(object_array(values))
        if array.ndim == 1 and array.dtype.kind in "biufcmM":
            return NumberColumn(array)
        if array.ndim == 1 and array.dtype.kind == "U":
            return from_numpy(array)
        return ObjectColumn(object_array(values))
    if kinds & {list, tuple, np.ndarray}:
        if kinds <= {list, tuple, np.ndarray} and (column := ragged(values)) is not None:
            return column
        return ObjectColumn(object_array(values))
    if torch.Tensor in kinds or not values:
        return ObjectColumn(object_array(values)) if values else NumberColumn(np.empty(0))
    import pandas as pd

    return from_pandas(pd.Series(object_array(values)).infer_objects())


def from_pandas(values: Any) -> Column:
    """A Series, Index or pandas array as a column; its index is not kept."""
    import pandas as pd

    array: Any = values.array if isinstance(values, pd.Series | pd.Index) else values
    dtype = array.dtype
    if isinstance(dtype, np.dtype) or isinstance(array, pd.arrays.NumpyExtensionArray):
        return from_numpy(np.asarray(array))
    if isinstance(dtype, pd.StringDtype):
        arrow = pa.array(array, from_pandas=True)
        if isinstance(arrow, pa.ChunkedArray):
            arrow = arrow.combine_chunks()
        return StringColumn(arrow.cast(pa.large_string()))
    return ExtensionColumn(array)


def stack(tensors: Sequence[torch.Tensor]) -> Column:
    """Tensors that are the cells of one column: one tensor where they agree, objects otherwise."""
    first = tensors[0]
    if all(each.shape == first.shape and each.dtype == first.dtype for each in tensors):
        return TensorColumn(torch.stack(list(tensors)))
    return ObjectColumn(object_array(tensors))
