"""Every kind of column, both ways, on the three databases: described, and found by its name."""

from __future__ import annotations

import datetime
import decimal
import uuid
from collections.abc import Callable
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest
import sqlalchemy as sa
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fireworks import Message, create_table
from fireworks.database import TableSource, TensorType
from fireworks.database.engine import reflect
from fireworks.errors import WrongType, WrongValue

D = decimal.Decimal
BERLIN = ZoneInfo("Europe/Berlin")


def rows(column: Any, name: str = "x") -> Message:
    return Message({"id": np.arange(len(column)), name: column})


def objects(*cells: Any) -> np.ndarray[Any, Any]:
    array = np.empty(len(cells), object)
    for row, cell in enumerate(cells):
        array[row] = cell
    return array


def limits(dtype: str) -> list[int]:
    info = np.iinfo(dtype)
    return [int(info.min), -0, 1, int(info.max)]


VECTORS: dict[str, Callable[[], Any]] = {
    **{
        dtype: lambda dtype=dtype: np.array(limits(dtype), dtype)
        for dtype in ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32")
    },
    **{
        dtype: lambda dtype=dtype: pd.array([*limits(dtype.lower()), None], dtype)
        for dtype in ("Int8", "Int16", "Int32", "Int64", "UInt8", "UInt16", "UInt32")
    },
    "Int64 all missing": lambda: pd.array([None, None], "Int64"),
    "float64": lambda: np.array([0.0, -0.0, 0.1, 1e308, -5e-324, 2**53 + 2.0, np.nan]),
    "float32": lambda: np.array([0.1, 3.4e38, 1e-45, np.nan], np.float32),
    "float16": lambda: np.array([0.1, 65504, 6e-8, np.nan], np.float16),
    "Float64": lambda: pd.array([0.1, None, -1e300], "Float64"),
    "Float32": lambda: pd.array([0.1, None], "Float32"),
    "bool": lambda: np.array([True, False]),
    "boolean": lambda: pd.array([True, None, False], "boolean"),
    "text": lambda: ["", " a ", "A", "naïve", "日本語", "🎆\u200d🔬", "'; drop table x; --", "\\%_\n\t"],
    "text with None": lambda: pd.Series(["", None, "a"], dtype="str"),
    "long text": lambda: ["é" * 100_000, "b"],
    "bytes": lambda: objects(b"", b"\x00\xff'\\", None, b"x" * 100_000),
    "dates": lambda: objects(datetime.date(1, 1, 1), None, datetime.date(9999, 12, 31)),
    "times": lambda: objects(datetime.time(), None, datetime.time(23, 59, 59, 999_999)),
    "datetimes": lambda: np.array(
        ["1000-01-01T00:00:00", "NaT", "9999-12-31T23:59:59.999999"], "datetime64[us]"
    ),
    "datetimes in ns": lambda: np.array(["2026-01-02T03:04:05.678901", "NaT"], "datetime64[ns]"),
    "datetimes in s": lambda: np.array(["2026-01-02T03:04:05", "NaT"], "datetime64[s]"),
    "datetimes in UTC": lambda: pd.to_datetime(["2026-01-02 03:04:05.678901", None], utc=True),
    "datetimes in a zone": lambda: pd.to_datetime(
        ["2026-10-25 00:30", "2026-10-25 01:30", None], utc=True
    ).tz_convert("Europe/Berlin"),
    "datetimes at an offset": lambda: pd.Series(
        pd.to_datetime(["2026-01-02 03:04:05+02:00", None])
    ),
    "durations": lambda: np.array([0, 1, -1, 86_400_000_000 * 40, "NaT"], "timedelta64[us]"),
    "durations in s": lambda: np.array([5, "NaT"], "timedelta64[s]"),
    "decimals": lambda: objects(D("0.1"), D("-12345678901234567890.123456789"), None, D("1E+3")),
    "UUIDs": lambda: objects(uuid.UUID(int=0), None, uuid.UUID(int=2**128 - 1)),
    "JSON": lambda: objects({"b": [1, 2.5, None], "a": {"é": "\x00'"}}, None, [], {}),
    "categories": lambda: pd.Categorical(["b", None, "a"], ["b", "int", "a", ""], ordered=True),
    "categories of integers": lambda: pd.Categorical([3, 1], [1, 2, 3]),
    "categories without rows of each": lambda: pd.Categorical(["x", "x"], ["x", 'q"uo\'te']),
    "arrays": lambda: [np.array([1, 2]), np.array([], int), np.array([3])],
    "arrays of floats": lambda: [[0.5], [], [1.5, float("inf")]],
    "arrays of any shape": lambda: objects(np.eye(2), None, np.zeros((0, 3), np.int8)),
    "tensors of any shape": lambda: objects(torch.ones(2), None, torch.eye(3).bfloat16()),
}

DTYPES = [
    dtype
    for name in dir(torch)
    if isinstance(dtype := getattr(torch, name), torch.dtype)
    and dtype in {torch.bool, torch.bfloat16}
    | {getattr(torch, f"{sign}int{bits}") for sign in ("", "u") for bits in (8, 16, 32, 64)}
    | {torch.float16, torch.float32, torch.float64}
    | {torch.complex32, torch.complex64, torch.complex128}
    | {torch.float8_e4m3fn, torch.float8_e5m2}
]


def written(message: Message, engine: sa.Engine, name: str = "rows") -> sa.Table:
    table = create_table(name, message, engine)
    with TableSource(table, engine) as target:
        target.insert(message)
    return table


class TestVectors:
    @pytest.mark.parametrize("make", VECTORS.values(), ids=VECTORS.keys())
    def test_come_back_as_they_went_in(self, engine, make):
        message = rows(make())
        table = written(message, engine)
        assert TableSource(table, engine).read_all() == message
        assert TableSource("rows", engine).read_all() == message
        # In batches, each of which has the same kind.
        source = TableSource("rows", engine)
        for i in range(len(message)):
            assert source[i] == message[i : i + 1]

    @pytest.mark.parametrize("make", VECTORS.values(), ids=VECTORS.keys())
    def test_a_reflected_table_takes_them(self, engine, make):
        message = rows(make())
        create_table("rows", message, engine)
        with TableSource("rows", engine) as target:
            target.upsert(message)
            target.upsert(message)
        assert TableSource("rows", engine).read_all() == message

    @pytest.mark.parametrize("make", VECTORS.values(), ids=VECTORS.keys())
    def test_without_rows(self, engine, make):
        message = rows(make())
        create_table("rows", message, engine)
        assert TableSource("rows", engine).read_all() == message[:0]


class TestTensors:
    @pytest.mark.parametrize("shape", [(), (3,), (2, 0), (1, 2, 3)])
    def test_of_every_dtype_and_shape(self, engine, shape):
        bits = torch.randint(0, 2, (4, *shape), generator=torch.Generator().manual_seed(0))
        message = Message(
            {"id": np.arange(4), **{str(dtype): bits.float().to(dtype) for dtype in DTYPES}}
        )
        assert len(message.columns) > 17
        written(message, engine)
        assert TableSource("rows", engine).read_all() == message
        assert TableSource("rows", engine)[[]] == message[:0]
