"""Every kind of column, both ways, on the three databases: described, and found by its name."""

from __future__ import annotations

import datetime
import decimal
import uuid
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
import sqlalchemy as sa
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy.orm import DeclarativeBase, Session, mapped_column

from fireworks import Message, create_table
from fireworks.database import TableSource, TensorType
from fireworks.database.engine import reflect
from fireworks.database.parameters import to_records
from fireworks.errors import WrongType, WrongValue

D = decimal.Decimal


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
    "text": lambda: [
        "",
        " a ",
        "A",
        "naïve",
        "日本語",
        "🎆\u200d🔬",
        "'; drop table x; --",
        "\\%_\n\t",
    ],
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
    "categories without rows of each": lambda: pd.Categorical(["x", "x"], ["x", "q\"uo'te"]),
    "arrays": lambda: [np.array([1, 2]), np.array([], int), np.array([3])],
    "arrays of floats": lambda: [[0.5], [], [1.5, float("inf")]],
    "arrays of any shape": lambda: objects(np.eye(2), None, np.zeros((0, 3), np.int8)),
    "tensors of any shape": lambda: objects(torch.ones(2), None, torch.eye(3).bfloat16()),
}

DTYPES = [
    dtype
    for name in dir(torch)
    if isinstance(dtype := getattr(torch, name), torch.dtype)
    and dtype
    in {torch.bool, torch.bfloat16}
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
        table = create_table("rows", message, engine)
        assert TableSource("rows", engine).read_all() == message[:0]
        for described in (table, "rows"):
            with TableSource(described, engine) as source:
                source.upsert(message)
                source.upsert(message)
            assert source.read_all() == message
            assert source.query() == message
        # Each row by itself is of the same kind.
        assert list(source) == [message[i : i + 1] for i in range(len(message))]
        # And through statements of SQLAlchemy, value by value.
        with TableSource("rows", engine) as source:
            source.delete(sa.true())
            for row in range(len(message)):
                source.insert(message[row : row + 1])
        assert source.query() == message


@pytest.mark.filterwarnings("ignore:ComplexHalf support is experimental")
class TestTensors:
    @pytest.mark.parametrize("shape", [(), (3,), (2, 0), (1, 2, 3)])
    def test_of_every_dtype_and_shape(self, engine, shape):
        bits = torch.randint(0, 2, (4, *shape), generator=torch.Generator().manual_seed(0))
        columns = {str(dtype): bits.float().to(dtype) for dtype in DTYPES}
        message = Message({"id": np.arange(4), **columns})
        assert len(columns) == 18
        written(message, engine)
        assert TableSource("rows", engine).read_all() == message
        assert TableSource("rows", engine)[[]] == message[:0]

    def test_of_several_shapes_in_one_column(self, engine):
        message = rows(torch.ones(2, 3))
        create_table("rows", message, engine)
        with TableSource("rows", engine) as source:
            source.insert(message)
            source.insert({"id": [2], "x": torch.ones(1, 5)})
        assert source[2]["x"].shape == (1, 5)
        with pytest.raises(WrongValue, match=r"float32 of shape \(3,\), row 2 .*\(5,\).*stacked"):
            source.read_all()
        table = reflect("rows", engine)
        table.columns["x"].type = TensorType(stacked=False)
        assert TableSource(table, engine).read_all()["x"].iloc[2].shape == (5,)

    def test_larger_than_a_blob_of_mariadb(self, engine):
        message = rows(torch.arange(2 * 50_000).reshape(2, 50_000))
        written(message, engine)
        assert TableSource("rows", engine).read_all() == message

    def test_of_a_mapped_class(self, engine):
        class Base(DeclarativeBase):
            pass

        class Row(Base):
            __tablename__ = "rows"
            id = mapped_column(sa.Integer, primary_key=True)
            x = mapped_column(TensorType, nullable=False, comment="the users own")

        Base.metadata.create_all(engine)
        message = rows(torch.eye(2))
        with TableSource(Row, engine) as source:
            source.insert(message)
        assert TableSource("rows", engine).read_all() == message
        with Session(engine) as session:
            session.add(Row(id=7, x=torch.zeros(3)))
            session.commit()
            assert torch.equal(session.get(Row, 7).x, torch.zeros(3))
        if engine.dialect.name != "sqlite":
            (column,) = sa.inspect(engine).get_columns("rows")[1:]
            assert column["comment"].startswith("the users own fireworks {")

    def test_sparse(self, engine):
        with pytest.raises(WrongType, match="to_dense"):
            written(rows(torch.eye(3).to_sparse()), engine)


class TestTypesOfSql:
    """Types that a user names, and those of tables that others made."""

    def test_by_name(self, engine):
        zoned = pd.to_datetime(["2026-01-02 03:04:05.678901"], utc=True).tz_convert("Asia/Tokyo")
        cells = {
            "small": (sa.SmallInteger, pd.array([3], "Int64")),
            "big": (sa.BigInteger(), pd.array([2**63 - 1], "Int64")),
            "flag": (sa.Boolean, pd.array([True], "boolean")),
            "number": (sa.Float, [0.1]),
            "exact": (sa.Numeric(20, 5), objects(D("123456789012345.12345"))),
            "text": (sa.Text, ["é\u0301"]),
            "short": (sa.String(10), ["é" * 10]),
            "day": (sa.Date, objects(datetime.date(2026, 1, 2))),
            "clock": (sa.Time, objects(datetime.time(3, 4, 5, 678901))),
            "when": (sa.DateTime, np.array(["2026-01-02T03:04:05.678901"], "datetime64[us]")),
            "instant": (sa.DateTime(timezone=True), zoned.tz_convert("UTC")),
            "span": (sa.Interval, np.array([-1_000_001], "timedelta64[us]")),
            "which": (sa.Uuid, objects(uuid.UUID(int=5))),
            "document": (sa.JSON, objects({"a": [1, None]})),
            "choice": (sa.Enum("int", "b", name="choice"), pd.Categorical(["b"], ["int", "b"])),
            "blob": (sa.LargeBinary, objects(b"\x00" * 70_000)),
            "tensor": (TensorType, torch.ones(1, 2)),
        }
        types = {"id": sa.Integer, **{name: kind for name, (kind, _) in cells.items()}}
        message = Message({"id": [1], **{name: values for name, (_, values) in cells.items()}})
        nothing = {name: objects(None) for name in types if name not in ("id", "tensor")}
        for described in (create_table("rows", types, engine), "rows"):
            with TableSource(described, engine) as source:
                source.upsert(message)
            assert source.read_all() == message
            with source:
                source.update({"id": [1], **nothing})
            empty = source.read_all().drop(["id", "tensor"])
            assert all(empty.isna()[name].tolist() == [True] for name in empty.columns)
            kinds = {name: each.dtype for name, each in message.schema.items()}
            assert {name: each.dtype for name, each in source.schema.items()} == kinds

    def test_arrays_of_postgresql(self, engine):
        types = {"id": sa.Integer, "x": sa.ARRAY(sa.Integer), "t": sa.ARRAY(sa.Text)}
        if engine.dialect.name != "postgresql":
            with pytest.raises(WrongType, match="cannot be created in"):
                create_table("rows", types, engine)
            assert sa.inspect(engine).get_table_names() == []
            return
        message = Message(
            {"id": [1, 2, 3], "x": objects([1, None], [], None), "t": objects(["{,}"], None, [""])}
        )
        for described in (create_table("rows", types, engine), "rows"):
            with TableSource(described, engine) as source:
                source.upsert(message)
            assert source.read_all() == message
        ragged = Message({"id": [4], "x": [np.array([1, 2])]})
        with source:
            source.insert(ragged)
        assert source[3]["x"].tolist() == [[1, 2]]

    def test_of_mariadb(self, engine):
        if engine.dialect.name != "mariadb":
            return
        with engine.begin() as connection:
            connection.execute(sa.text(
                "CREATE TABLE t (id INT PRIMARY KEY, u BIGINT UNSIGNED NOT NULL, f FLOAT, "
                "d DOUBLE, b BOOL, e ENUM('a','B'), m MEDIUMINT, j JSON, y YEAR, t TIMESTAMP(6))"
            ))  # fmt: skip
        message = Message(
            {
                "id": [1, 2],
                "u": np.array([0, 2**64 - 1], np.uint64),
                "f": [np.float64(np.float32(0.1)), np.nan],
                "d": [0.1, -5e-324],
                "b": pd.array([True, None], "boolean"),
                "e": pd.Categorical(["B", None], ["a", "B"]),
                "m": pd.array([-(2**23), 2**23 - 1], "Int64"),
                "j": objects("[1]", None),
                "y": objects(2026, None),
                "t": np.array(["2026-01-02T03:04:05.678901"] * 2, "datetime64[us]"),
            }
        )
        with TableSource("t", engine) as source:
            source.insert(message)
        assert source.read_all() == message
        for name, value in (("u", -1), ("m", 2**23), ("id", 2**31)):
            with pytest.raises(
                WrongValue, match=f"Row 0: {value} does not fit the column {name!r}"
            ):
                source.insert(message[:1].assign(**{"id": [9], name: [value]}))

    def test_unsigned_to_64_bits(self, engine):
        message = rows(np.array([0, 2**63 - 1, 2**64 - 1], np.uint64))
        table = create_table("rows", message, engine)
        source = TableSource(table, engine)
        if engine.dialect.name == "sqlite":  # whose integers are signed
            with pytest.raises(WrongValue, match=f"Row 2: {2**64 - 1} does not fit"):
                source.insert(message)
            message = message[:2]
        with source:
            source.insert(message)
        assert TableSource("rows", engine).read_all() == message

    def test_infinity(self, engine):
        message = rows([0.5, float("-inf"), float("nan")])
        table = create_table("rows", message, engine)
        if engine.dialect.name == "mariadb":
            with pytest.raises(WrongValue, match="Row 1: -inf .*'x'.*database has no infinity"):
                TableSource(table, engine).insert(message)
            return
        with TableSource(table, engine) as source:
            source.insert(message)
        assert TableSource("rows", engine).read_all() == message

    def test_nul_in_text(self, engine):
        message = rows(["a", "b\0c"])
        table = create_table("rows", message, engine)
        if engine.dialect.name == "postgresql":
            with pytest.raises(WrongValue, match=r"Row 1: 'b\\x00c' .*no NUL"):
                TableSource(table, engine).insert(message)
            return
        with TableSource(table, engine) as source:
            source.insert(message)
        assert TableSource("rows", engine).read_all() == message


class TestValuesThatDoNotFit:
    TYPES = {  # noqa: RUF012
        "id": sa.Integer,
        "small": sa.SmallInteger,
        "short": sa.String(3),
        "exact": sa.Numeric(5, 2),
        "when": sa.DateTime,
        "instant": sa.DateTime(timezone=True),
        "day": sa.Date,
        "choice": sa.Enum("a", "b", name="choice"),
        "flag": sa.Boolean,
        "number": sa.Double,
        "document": sa.JSON,
    }

    @pytest.mark.parametrize(
        ("name", "cells", "what"),
        [
            ("small", [1, 40_000], "Row 1: 40000 .*'small'.*-32768 to 32767"),
            ("small", [1, 2**70], f"Row 1: {2**70} .*'small'"),
            ("small", [1, 1.5], "Row 1: 1.5 .*integers"),
            ("small", ["1", "2"], "'small' is a vector .str. in the rows.*takes integers"),
            ("small", torch.ones(2), "'small' is a tensor in the rows"),
            ("short", ["abc", "abcd"], "Row 1: 'abcd' .*'short'.*3 characters"),
            ("short", [1, 2], "'short' is a vector .int64. in the rows.*takes text"),
            ("exact", objects(D("1.25"), D("1000")), r"Row 1: Decimal\('1000'\).*3 digits before"),
            ("exact", objects(D("1.25"), D("0.001")), "Row 1: .*2 behind"),
            ("exact", objects(D("1.25"), D("NaN")), "Row 1: .*finite"),
            ("exact", [1.25, 0.5], "takes Decimals"),
            ("when", np.array(["2026-01-01T00:00:00.1234567"] * 2, "M8[ns]"), "whole microseconds"),
            ("when", np.array(["2026-01-01", "12026-01-01"], "M8[s]"), "Row 1: .*years 1 to 9999"),
            ("when", pd.to_datetime(["2026-01-01"] * 2, utc=True), "without a zone"),
            ("instant", np.array(["2026-01-01"] * 2, "M8[s]"), "with a zone"),
            ("day", np.array(["2026-01-01", "2026-01-01T01"], "M8[s]"), "Row 1: .*without a time"),
            ("choice", ["a", "c"], "Row 1: 'c' .*it takes 'a', 'b'"),
            ("flag", [1, 2], "takes booleans"),
            ("number", np.array([1, 2**60]), f"Row 1: {2**60} .*53 bits"),
            ("number", [True, False], "takes floating point numbers"),
            ("document", objects({"a": 1}, {1: 2}), "Row 1: .*JSON would not give it back"),
            ("document", objects({"a": 1}, {"b": float("nan")}), "Row 1: .*no JSON"),
        ],
    )  # fmt: skip
    def test_are_named(self, tmp_path, name, cells, what):
        # Found before the database is asked: the same on all of them, but for what SQLite takes.
        for url in (f"sqlite:///{tmp_path}/x.sqlite", "postgresql+psycopg://h/d"):
            dialect = sa.create_engine(url).dialect
            table = create_table("rows", self.TYPES)
            message = Message({"id": [1, 2], name: cells})
            takes_any = (name in ("small", "short") and "Row 1: 4" in what) or "abcd" in what
            if dialect.name == "sqlite" and takes_any:
                continue
            with pytest.raises((WrongValue, WrongType), match=what):
                to_records(message, table, dialect)

    def test_nothing_is_half_written(self, engine):
        table = create_table("rows", self.TYPES, engine, key=["id", "small"])
        source = TableSource(table, engine)
        with source:
            source.insert({"id": [1], "small": [0], "number": [0.5]})
            with pytest.raises(WrongValue, match="Row 1: None .*'id'.*NOT NULL"):
                source.insert({"id": pd.array([1, None], "Int64"), "small": [1, 2]})
            with pytest.raises(WrongValue, match="Row 1: 1.5"):
                source.insert({"id": [2, 3], "small": [1.0, 1.5]})
        assert source.read_all()["id"].tolist() == [1]


class TestHypothesis:
    @settings(
        suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=15
    )
    @given(found=st.lists(
        st.tuples(
            st.integers(-(2**63), 2**63 - 1),
            st.floats(allow_infinity=False),
            st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")),
            st.binary(max_size=20),
            st.datetimes(min_value=datetime.datetime(1000, 1, 1)),
            st.decimals(allow_nan=False, allow_infinity=False, places=5, min_value=-10**9,
                        max_value=10**9),
        ),
        min_size=1, max_size=20,
    ))  # fmt: skip
    def test_any_values(self, engine, found):
        numbers, floats, texts, blobs, times, decimals = zip(*found, strict=True)
        message = Message(
            {
                "id": np.arange(len(found)),
                "number": np.array(numbers, np.int64),
                "float": np.array(floats),
                "text": pd.Series(texts, dtype="str"),
                "blob": objects(*blobs),
                "time": np.array(times, "datetime64[us]"),
                "decimal": objects(*decimals),
            }
        )
        with engine.begin() as connection:
            sa.Table("rows", sa.MetaData()).drop(connection, checkfirst=True)
        written(message, engine)
        assert TableSource("rows", engine).read_all() == message


def test_what_has_no_column_type():
    for cells in (
        objects({1, 2}),
        objects(1, "a"),
        objects(1, None),
        objects(None, None),
        np.array([1j]),
        pd.Categorical([1.5]),
        pd.interval_range(0, 2),
    ):
        with pytest.raises(WrongType, match="'x'"):
            create_table("rows", rows(cells))
    with pytest.raises(WrongType, match="key 'x' is a tensor"):
        create_table("rows", rows(torch.ones(2)), key="x")
