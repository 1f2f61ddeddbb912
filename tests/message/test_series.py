"""The Series that a Message presents are what pandas' constructor gives, to the last attribute."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from fireworks import Message
from fireworks.message.series import as_series

STRING = pd.StringDtype("pyarrow", na_value=np.nan)
ARRAYS: dict[str, Any] = {
    **{
        kind: np.arange(3).astype(kind)
        for kind in ("?", "i1", "u8", "i8", ">i4", "f2", "f4", "f8", "c8", "c16", "M8[s]", "m8[ns]")
    },
    "nan": np.array([np.nan, np.inf, -0.0]),
    "longdouble": np.arange(3, dtype=np.longdouble),
    "no rows": np.empty(0),
    "strings": pd.arrays.ArrowStringArray(
        pa.array(["a", None, "é"], pa.large_string()), dtype=STRING
    ),
}


@pytest.fixture(params=ARRAYS)
def array(request: pytest.FixtureRequest) -> Any:
    return ARRAYS[request.param]


def test_is_the_series_that_the_constructor_makes(array: Any):
    series, constructed = as_series(array, "n"), pd.Series(array, name="n", copy=False)
    pd.testing.assert_series_equal(series, constructed, check_index_type="equiv")
    assert type(series.index) is pd.RangeIndex
    assert vars(series).keys() == vars(constructed).keys()
    assert type(series._mgr._block) is type(constructed._mgr._block)
    assert (series.attrs, series.flags) == (constructed.attrs, constructed.flags)


def test_shares_memory(array: Any):
    if isinstance(array, np.ndarray):
        assert np.shares_memory(as_series(array, "n").to_numpy(), array) == bool(len(array))


def test_this_pandas_has_the_parts():
    """Where pandas lacks the parts, its constructor is used: its tested versions have them."""
    import fireworks.message.series as series

    assert series._maker().__name__ == "assembled"


@pytest.mark.parametrize(
    "again", [copy.copy, copy.deepcopy, lambda s: pickle.loads(pickle.dumps(s))]
)
def test_copies_and_travels(array: Any, again: Any):
    series, constructed = as_series(array, "n"), pd.Series(array, name="n", copy=False)
    pd.testing.assert_series_equal(again(series), again(constructed))


def test_works_in_all_that_pandas_does():
    message = Message({"f": np.array([3.0, 1.0, 2.0]), "s": ["b", "a", "b"]})
    f, s = message["f"], message["s"]
    assert f.sort_values().index.tolist() == [1, 2, 0]
    assert f.groupby(s).sum().to_dict() == {"a": 1.0, "b": 5.0}
    assert pd.DataFrame({"f": f, "s": s}).shape == (3, 2)
    assert pd.concat([f, f]).index.tolist() == [0, 1, 2] * 2
    assert s.str.upper().tolist() == ["B", "A", "B"]
    assert f.rename("g").name == "g" and f.name == "f"


def test_a_change_of_one_is_seen_by_no_other():
    message = Message({"f": np.array([3.0, 1.0, 2.0])})
    changed, kept = message["f"], message["f"]
    changed.index.name = "row"
    changed.attrs["unit"] = "m"
    assert kept.index.name is None and not kept.attrs
    with pytest.raises(ValueError, match="read-only"):
        changed.iloc[0] = 9.0
    assert changed.tolist() == message["f"].tolist() == [3.0, 1.0, 2.0]
