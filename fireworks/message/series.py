"""Series of arrays that pandas keeps as they are.

`pandas.Series(array)` takes longer than gathering the 256 values in it. What it would look for is
known here, so the Series is put together from the parts that the constructor itself ends with.
These are pandas' own and not public: where a version lacks them, the constructor is used.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd


def as_series(array: Any, name: str) -> pd.Series:
    """A Series that shares the memory of an array.

    Args:
        array: A one-dimensional numpy array of numbers or booleans, or a pandas array.
        name: The Series' name.
    """
    return _maker()(array, name)


@cache
def _maker() -> Callable[[Any, str], pd.Series]:
    import pandas as pd

    def constructed(array: Any, name: str) -> pd.Series:
        return pd.Series(array, name=name, copy=False)

    try:
        from pandas.core.indexes.api import default_index
        from pandas.core.internals import SingleBlockManager

        from_array: Any = SingleBlockManager.from_array
        from_manager: Any = pd.Series._from_mgr  # pyright: ignore
    except (ImportError, AttributeError):
        return constructed

    def assembled(array: Any, name: str) -> pd.Series:
        manager = from_array(array, default_index(len(array)))
        series = from_manager(manager, manager.axes)
        object.__setattr__(series, "_name", name)  # the Series' own looks for a column first
        return series

    return assembled
