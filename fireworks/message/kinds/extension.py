"""Columns of dtypes that pandas brings: categories, datetimes with zones, nullable numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from fireworks.errors import WrongType
from fireworks.message.column import Column, Field
from fireworks.message.rows import Rows

if TYPE_CHECKING:
    import pandas as pd


class ExtensionColumn(Column):
    """A pandas extension array of any dtype that has no class of its own here."""

    __slots__ = ("_array",)

    def __init__(self, array: Any) -> None:
        self._array = array

    def __len__(self) -> int:
        return len(self._array)

    @property
    def field(self) -> Field:
        import pandas as pd

        dtype = self._array.dtype
        if isinstance(dtype, pd.CategoricalDtype):
            return Field("category", "category")
        kind = "datetime" if isinstance(dtype, pd.DatetimeTZDtype) else "extension"
        return Field(kind, str(dtype))

    @property
    def nbytes(self) -> int:
        return int(self._array.nbytes)

    @property
    def array(self) -> Any:
        return self._array

    def present(self, name: str) -> pd.Series:
        import pandas as pd

        # A shallow Series over the array itself would let an assignment to it reach this column.
        return pd.Series(self._array, name=name, copy=True)

    def take(self, rows: Rows) -> ExtensionColumn:
        return ExtensionColumn(self._array.take(rows.numpy))

    def slice(self, rows: slice) -> ExtensionColumn:
        return ExtensionColumn(self._array[rows])

    def concat(self, others: Sequence[Column]) -> ExtensionColumn:
        import pandas as pd

        arrays = [self._array, *(each.array for each in others)]
        dtypes = {each.dtype for each in arrays}
        if len(dtypes) > 1:
            if all(isinstance(each, pd.CategoricalDtype) for each in dtypes):
                from pandas.api.types import union_categoricals

                return ExtensionColumn(union_categoricals(arrays))
            names = ", ".join(sorted(str(each) for each in dtypes))
            raise WrongType(f"values of dtypes {names} cannot be in one column")
        joined = pd.concat([pd.Series(each, copy=False) for each in arrays], ignore_index=True)
        return ExtensionColumn(joined.array)

    def put(self, rows: Rows, values: Column) -> ExtensionColumn:
        changed = self._array.copy()
        try:
            changed[rows.numpy] = values.array
        except (TypeError, ValueError) as error:
            raise WrongType(
                f"values of dtype {values.array.dtype} do not fit a column of dtype "
                f"{self._array.dtype}: {error}"
            ) from error
        return ExtensionColumn(changed)

    def equals(self, other: Column, rtol: float, atol: float) -> bool:
        return self._array.dtype == other.array.dtype and bool(self._array.equals(other.array))

    def fits(self, other: Column) -> bool:
        return isinstance(other, ExtensionColumn) and self._array.dtype == other.array.dtype

    def tensor(self) -> torch.Tensor:
        dtype = self._array.dtype
        missing = self._array.isna()
        numeric = getattr(dtype, "numpy_dtype", None)
        if numeric is not None and np.dtype(numeric).kind in "biufc":
            if missing.any():
                raise WrongType(f"row {int(missing.argmax())} is missing ({dtype}); fill it first")
            return torch.from_numpy(np.array(self._array.to_numpy(dtype=numeric)))
        shown = self._array[0] if len(self._array) else None
        raise WrongType(f"values of dtype {dtype} cannot be in a tensor (row 0 is {shown!r:.60})")

    def copy(self) -> ExtensionColumn:
        return ExtensionColumn(self._array.copy())
