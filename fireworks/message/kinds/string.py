"""String columns: an Arrow array of values and, where they repeat, codes into it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch

from fireworks.errors import WrongType
from fireworks.message.column import ArrowArray, Column, Field
from fireworks.message.rows import Rows
from fireworks.message.series import as_series

if TYPE_CHECKING:
    import pandas as pd

Codes = np.ndarray[Any, np.dtype[np.signedinteger[Any]]]


class StringColumn(Column):
    """Strings and None.

    Row ``i`` is ``values[codes[i]]``, or ``values[i]`` where there are no codes. Arrow arrays never
    change, so a selection of rows shares the values and selects codes: a dictionary-coded column
    and rows taken from a plain one are the same thing. The codes are resolved when the strings are
    first read, and then forgotten, unless the values are a small dictionary.
    """

    __slots__ = ("_codes", "_decoded", "_values")

    def __init__(self, values: ArrowArray, codes: Codes | None = None) -> None:
        self._values = values
        self._codes = codes
        self._decoded: ArrowArray | None = None

    def __len__(self) -> int:
        return len(self._values) if self._codes is None else self._codes.shape[0]

    @property
    def field(self) -> Field:
        return Field("string", "str")

    @property
    def nbytes(self) -> int:
        return self.array.nbytes

    @property
    def array(self) -> ArrowArray:
        """The strings as one Arrow array."""
        if self._codes is None:
            return self._values
        if self._decoded is None:
            self._decoded = _decode(self._values, self._codes)
        return self._decoded

    def present(self, name: str) -> pd.Series:
        import pandas as pd

        array = pd.arrays.ArrowStringArray(self.array, dtype=_string_dtype())
        return as_series(array, name)

    def take(self, rows: Rows) -> StringColumn:
        codes = self._codes
        return StringColumn(self._values, rows.numpy if codes is None else codes.take(rows.numpy))

    def slice(self, rows: slice) -> StringColumn:
        if self._codes is not None:
            return StringColumn(self._values, self._codes[rows])
        start, stop, step = rows.indices(len(self._values))
        if step == 1:
            return StringColumn(self._values.slice(start, max(0, stop - start)))
        return StringColumn(self._values, np.arange(start, stop, step))

    def concat(self, others: Sequence[Column]) -> StringColumn:
        columns = [self, *(each for each in others if isinstance(each, StringColumn))]
        codes = [each._codes for each in columns if each._values is self._values]
        given = [each for each in codes if each is not None]
        if len(given) == len(columns):
            return StringColumn(self._values, np.concatenate(given))
        return StringColumn(pa.concat_arrays([each.array for each in columns]))

    def equals(self, other: Column, rtol: float, atol: float) -> bool:
        assert isinstance(other, StringColumn)
        if self._values is other._values and _same_codes(self._codes, other._codes):
            return True  # other codes would prove nothing: values may hold a string twice
        return self.array.equals(other.array)

    def dictionary(self) -> ArrowArray | None:
        """The strings as an Arrow dictionary array, or None where that would be no smaller.

        Codes may be only a selection of rows, and the values far more than those rows need.
        """
        if self._codes is None or len(self._values) > len(self._codes) // 2:
            return None
        return pa.DictionaryArray.from_arrays(pa.array(self._codes), self._values)

    def ranks(self) -> np.ndarray[Any, Any]:
        """Numbers in the order of the strings (by code points), NaN for None."""
        coded = self._values if self._codes is None else self.array
        coded = coded.dictionary_encode()
        order = pc.call_function("array_sort_indices", [coded.dictionary]).to_numpy()
        ranks = np.empty(len(order), np.int64)
        ranks[order] = np.arange(len(order))
        codes = coded.indices
        if not codes.null_count:
            return ranks.take(codes.to_numpy())
        missing = codes.is_null().to_numpy(zero_copy_only=False)
        if missing.all():
            return np.full(len(self), np.nan)
        return np.where(missing, np.nan, ranks.take(codes.fill_null(0).to_numpy()))

    def tensor(self) -> torch.Tensor:
        shown = f"row 0 is {self.array[0].as_py()!r:.60}" if len(self) else "no rows"
        raise WrongType(f"strings cannot be in a tensor ({shown})")

    def copy(self) -> StringColumn:
        return StringColumn(self.array)  # Arrow arrays are immutable

    def __reduce__(self) -> tuple[Any, ...]:
        # A selection of few rows must not carry all values along.
        return StringColumn, (pa.concat_arrays([self.array]),)


def _same_codes(a: Codes | None, b: Codes | None) -> bool:
    return a is not None and b is not None and np.array_equal(a, b)


_array_take = pc.get_function("array_take")
_UNCHECKED = pc.TakeOptions(boundscheck=False)


def _decode(values: ArrowArray, codes: Codes) -> ArrowArray:
    # What `values.take(codes)` does, in a third of the time for a batch: codes are always inside,
    # and wrapping their memory is far quicker than `pa.array`.
    buffer = pa.py_buffer(np.ascontiguousarray(codes))
    indices = pa.Array.from_buffers(_arrow_type(codes.dtype), len(codes), [None, buffer])
    return _array_take.call([values, indices], _UNCHECKED)


@cache
def _arrow_type(dtype: np.dtype[Any]) -> Any:
    return pa.from_numpy_dtype(dtype)


@cache
def _string_dtype() -> pd.StringDtype:
    import pandas as pd

    return pd.StringDtype("pyarrow", na_value=np.nan)


def encode(strings: ArrowArray) -> StringColumn:
    """Store strings that were built for us as dictionary codes where they repeat."""
    length = len(strings)
    sample = strings.slice(0, 1000)
    if length >= 16 and len(sample.unique()) <= len(sample) // 2:
        coded = strings.dictionary_encode(null_encoding="encode")
        if len(coded.dictionary) <= length // 2:
            return StringColumn(coded.dictionary, coded.indices.to_numpy())
    return StringColumn(strings)
