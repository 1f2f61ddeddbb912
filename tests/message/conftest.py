"""A column of every kind that a Message holds."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch

ROWS = 6

DTYPES = [
    torch.bool,
    torch.uint8,
    torch.uint16,
    torch.uint32,
    torch.uint64,
    torch.int8,
    torch.int16,
    torch.int32,
    torch.int64,
    torch.float16,
    torch.bfloat16,
    torch.float32,
    torch.float64,
    torch.complex32,
    torch.complex64,
    torch.complex128,
    torch.float8_e4m3fn,
    torch.float8_e5m2,
]

NUMBERS = [
    "?",
    *(f"i{k}" for k in (1, 2, 4, 8)),
    *(f"u{k}" for k in (1, 2, 4, 8)),
    "f2",
    "f4",
    "f8",
]
NUMBERS += ["c8", "c16"]


def tensor_of(dtype: torch.dtype, *shape: int) -> torch.Tensor:
    if dtype == torch.complex32:  # torch warns of it
        return torch.view_as_complex(tensor_of(torch.float16, *shape, 2))
    values = torch.arange(ROWS * int(np.prod(shape)), dtype=torch.float64) % 7
    return values.reshape(ROWS, *shape).to(dtype)


KINDS: dict[str, Callable[[], Any]] = {
    **{
        f"tensor {dtype} {shape}": lambda dtype=dtype, shape=shape: tensor_of(dtype, *shape)
        for dtype in DTYPES
        for shape in [(), (3,)]
    },
    "tensor of three dimensions": lambda: tensor_of(torch.float32, 2, 4),
    "tensor without elements": lambda: torch.empty(ROWS, 2, 0, 3),
    "tensor with NaN": lambda: torch.tensor([1, float("nan"), float("inf"), -0.0, 2, 3]),
    "tensor that is a view": lambda: torch.arange(24.0).reshape(2, 12).T[::2],
    "tensor conjugated": lambda: tensor_of(torch.complex64).conj(),
    **{f"number {name}": lambda name=name: (np.arange(ROWS) % 4).astype(name) for name in NUMBERS},
    "number with NaN": lambda: np.array([1.5, np.nan, np.inf, -np.inf, -0.0, 2]),
    "number not contiguous": lambda: np.arange(2 * ROWS)[::2],
    "number backwards": lambda: np.arange(ROWS)[::-1],
    **{
        f"datetime {unit}": lambda unit=unit: np.array(
            ["2020-01-01", "NaT", "1969-12-31", "2024-02-29", "2020-01-01", "2021-05-05"],
            f"M8[{unit}]",
        )
        for unit in ["D", "h", "s", "ms", "us", "ns"]
    },
    "timedelta": lambda: np.array([1, 2, -3, 4, 0, 6], "m8[ms]"),
    "datetime with a zone": lambda: pd.date_range("2024-03-30", periods=ROWS, tz="Europe/Berlin"),
    "datetime with an offset": lambda: pd.date_range("2024", periods=ROWS, tz="+05:30"),
    "datetime with a zone, missing": lambda: pd.to_datetime(
        ["2024-01-01", None, "2024-01-02", None, None, "2024-01-03"], utc=True
    ),
    "string": lambda: ["a", "", "ß∂ƒ", "日本語", "👩‍👩‍👧", "nul\0byte"],
    "string with None": lambda: ["a", None, "b", None, "", "a"],
    "string all None": lambda: pa.array([None] * ROWS, pa.string()),
    "string that repeats": lambda: np.array(["yes", "no"] * 3),
    "string view": lambda: pa.array(list("abcdef"), pa.string_view()),
    "category": lambda: pd.Categorical(list("abcabc")),
    "category ordered, unused, missing": lambda: pd.Categorical(
        ["lo", None, "hi", "lo", "hi", None], categories=["none", "lo", "hi", "max"], ordered=True
    ),
    "category of numbers": lambda: pd.Categorical([3, 1, 2, 3, 1, 2], categories=[3, 2, 1]),
    "nullable integer": lambda: pd.array([1, None, 3, 2**62 + 1, None, -1], "Int64"),
    "nullable integer, nothing missing": lambda: pd.array(range(ROWS), "Int16"),
    "nullable boolean": lambda: pd.array([True, None, False, True, None, False], "boolean"),
    "nullable float": lambda: pd.array([1.5, None, 2.5, 0, -1, None], "Float32"),
    "period": lambda: pd.period_range("2020-01", periods=ROWS, freq="M"),
    "interval": lambda: pd.interval_range(0, ROWS),
    "arrow date": lambda: pd.array([datetime.date(2020, 1, 1)] * ROWS, "date32[day][pyarrow]"),
    "arrow decimal": lambda: pa.array([Decimal("1.50"), None] * 3, pa.decimal128(10, 2)),
    "ragged": lambda: [[1, 2], [], [3], [4, 5, 6], [], [7]],
    "ragged floats": lambda: [np.array([1.5, np.nan]), *[np.zeros(k) for k in range(ROWS - 1)]],
    "ragged int16": lambda: [np.arange(k, dtype=np.int16) for k in range(ROWS)],
    "matrix": lambda: np.arange(ROWS * 3).reshape(ROWS, 3),
    "cells of several dimensions": lambda: list(np.arange(ROWS * 4.0).reshape(ROWS, 2, 2)),
    "cells of several shapes": lambda: [np.ones((k, 2)) for k in range(ROWS)],
    "cells of tensors": lambda: [torch.ones(k, 2) for k in range(ROWS)],
    "cells with None": lambda: [None, np.ones(2), None, np.zeros((1, 1)), np.ones(0), None],
    "lists of strings": lambda: [["a", "b"], [], ["c"], ["d", None], ["e"], []],
    "nested lists": lambda: [[[1], [2, 3]], [], [[]], [[4]], [[5, 6]], []],
    "dicts": lambda: [{"a": 1, "b": ["x"]}] * ROWS,
    "dicts that differ": lambda: [{"a": 1}, {"b": "x"}, {}, {"a": None}, {"c": {}}, {"a": 2.5}],
    "bytes": lambda: [b"a", b"", b"\0\xff", b"x", b"y", b"z"],
    "mixed": lambda: [1, "a", 2.5, None, True, [1, "b", {"c": None}]],
    "dates": lambda: [datetime.date(2020, 1, 1), None, datetime.date(1, 1, 1)] * 2,
    "big integers": lambda: [2**80, 1, -(2**70), 0, 5, 6],
    "booleans with None": lambda: [True, None, False, None, True, True],
}


@pytest.fixture(params=KINDS)
def values(request: pytest.FixtureRequest) -> Any:
    """The values of a column of six rows, of each kind."""
    return KINDS[request.param]()
