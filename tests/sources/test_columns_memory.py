"""Sources of what is in memory or is made by functions."""

from __future__ import annotations

import pickle
from collections import namedtuple
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import torch

from fireworks import Message, concat
from fireworks.errors import (
    ColumnNotFound,
    DuplicateColumn,
    WrongLength,
    WrongType,
    WrongValue,
)
from fireworks.source import Retry
from fireworks.sources import BatchingSource, FrameSource, FunctionSource, IterableSource


class TestFrame:
    @pytest.mark.parametrize("make", [pd.DataFrame, pl.DataFrame, pa.table])
    def test_tables_of_all_kinds(self, make):
        source = FrameSource(make({"a": [1, 2, 3], "s": ["x", "y", "z"]}))
        assert len(source) == 3
        assert source[[2, 0]].to_dict() == {"a": [3, 1], "s": ["z", "x"]}

    def test_columns_and_index(self):
        frame = pd.DataFrame({"a": [1, 2], "b": [3, 4], "c": [5, 6]}, index=["r", "s"])
        source = FrameSource(frame, columns=["c", "a"], index="row")
        assert source.read_all().to_dict() == {"c": [5, 6], "a": [1, 2], "row": ["r", "s"]}
        assert FrameSource(frame["b"]).read_all().columns == ["b"]

    def test_changes_of_the_frame_are_not_seen(self):
        frame = pd.DataFrame({"a": [1, 2]})
        source = FrameSource(frame)
        frame.loc[0, "a"] = 9
        assert source.read_all()["a"].tolist() == [1, 2]
        assert pickle.loads(pickle.dumps(source)).read_all()["a"].tolist() == [1, 2]

    def test_bad_input(self):
        with pytest.raises(WrongType, match="dict.*MessageSource"):
            FrameSource({"a": [1]})
        with pytest.raises(ColumnNotFound, match="Did you mean 'apple'"):
            FrameSource(pd.DataFrame({"apple": [1]}), columns=["aple"])
        with pytest.raises(WrongType, match="has no index"):
            FrameSource(pa.table({"a": [1]}), index="i")
        with pytest.raises(DuplicateColumn, match="'a' already"):
            FrameSource(pd.DataFrame({"a": [1]}), index="a")


@dataclass
class Point:
    x: int
    y: str


Pair = namedtuple("Pair", "x y")


def points():
    return (Point(i, str(i)) for i in range(5))


class TestIterable:
    @pytest.mark.parametrize(
        "elements",
        [
            [{"x": i, "y": str(i)} for i in range(5)],
            [Point(i, str(i)) for i in range(5)],
            [Pair(i, str(i)) for i in range(5)],
            [{"x": [i], "y": [str(i)]} for i in range(5)],
            [Message({"x": [0, 1], "y": ["0", "1"]}), Message({"x": [2, 3, 4], "y": list("234")})],
            [pd.DataFrame({"x": range(5), "y": list("01234")})],
            [pa.record_batch({"x": range(5), "y": list("01234")})],
            points,
            pa.table({"x": range(5), "y": list("01234")}).to_batches(2),
        ],
        ids=lambda each: type(each).__name__,
    )
    def test_all_that_can_be_rows(self, elements):
        source = IterableSource(elements, chunk_rows=2)
        assert not source.indexed
        for _ in range(2):
            assert concat(list(source)).to_dict() == {"x": [0, 1, 2, 3, 4], "y": list("01234")}
        assert [len(batch) for batch in source >> BatchingSource(3)] == [3, 2]

    def test_chunks(self):
        records = [{"x": i} for i in range(5)]
        assert [len(chunk) for chunk in IterableSource(records, chunk_rows=2)] == [2, 2, 1]
        mixed = [{"x": 1}, Message({"x": [2, 3]}), {"x": 4}]
        assert [chunk["x"].tolist() for chunk in IterableSource(mixed)] == [[1], [2, 3], [4]]
        assert list(IterableSource([])) == []

    def test_it_reads_no_further_than_asked(self):
        asked = []

        def endless():
            while True:
                asked.append(1)
                yield {"x": len(asked)}

        assert IterableSource(endless, chunk_rows=2).take(3)["x"].tolist() == [1, 2, 3]
        assert len(asked) == 4

    def test_what_dicts_are(self):
        lists = [{"x": [1, 2, 3]}, {"x": [4]}]
        assert IterableSource(lists).read_all()["x"].tolist() == [1, 2, 3, 4]
        rows = IterableSource(lists, dicts="records").read_all()
        assert [each.tolist() for each in rows["x"]] == [[1, 2, 3], [4]]
        # The first decides for all.
        rows = IterableSource([{"x": [1], "y": 0}, {"x": [2, 3], "y": 1}]).read_all()
        assert len(rows) == 2
        batches = [{"x": torch.zeros(2, 3), "y": torch.zeros(2)}]
        assert IterableSource(batches).schema["x"].shape == (3,)

    def test_missing_cells_and_new_columns(self):
        source = IterableSource([{"x": 1, "y": "a"}, {"x": 2}, {"x": 3}], chunk_rows=2)
        assert source.read_all()["y"].isna().tolist() == [False, True, True]
        wrong = IterableSource([{"name": 1}, {"name": 2}, {"nmae": 3}], chunk_rows=2)
        with pytest.raises(ColumnNotFound, match="Element 2 .*'nmae'.*Did you mean 'name'"):
            wrong.read_all()

    def test_an_iterator_can_be_run_through_once(self):
        source = IterableSource({"x": i} for i in range(3))
        assert source.read_all()["x"].tolist() == [0, 1, 2]
        with pytest.raises(WrongValue, match=r"iterator \(generator\).*only once.*function"):
            list(source)

    def test_resuming_a_list_does_not_step_through_it(self, caplog):
        source = IterableSource([{"x": i} for i in range(9)], chunk_rows=2)
        one_pass = iter(source)
        next(one_pass)
        state = source.state_dict()
        fresh = IterableSource([{"x": i} for i in range(9)], chunk_rows=2)
        fresh.load_state_dict(state)
        assert concat(list(fresh))["x"].tolist() == list(range(2, 9))
        assert not caplog.records

    def test_bad_input(self):
        untyped: Any = IterableSource
        for bad in (3, "abc", {"x": [1]}, Message({"x": [1]})):
            with pytest.raises(WrongType, match="iterable of Messages, dicts or records"):
                untyped(bad)
        with pytest.raises(WrongType, match="Element 1 is 5 "):
            list(IterableSource([{"x": 1}, 5]))
        with pytest.raises(WrongType, match="must return an iterable; it returned int"):
            list(untyped(lambda: 3))
        with pytest.raises(WrongValue, match="chunk_rows"):
            IterableSource([], chunk_rows=0)
        with pytest.raises(WrongValue, match="dicts"):
            untyped([], dicts="rows")

    def test_pickling(self):
        assert pickle.loads(pickle.dumps(IterableSource(points))).read_all()["x"].sum() == 10
        with pytest.raises(WrongType, match="given an iterator"):
            pickle.dumps(IterableSource(points()))
        with pytest.raises(WrongType, match="top of a module"):
            pickle.dumps(IterableSource(lambda: []))


def squares(rows: np.ndarray) -> dict[str, object]:
    return {"square": rows**2}


class TestFunction:
    def test_rows_as_asked_for(self):
        source = FunctionSource(squares, 10)
        assert len(source) == 10
        assert source[[3, 1, 3]]["square"].tolist() == [9, 1, 9]
        assert source.read(np.array([13]))["square"].tolist() == [9]
        assert concat(list(source)) == source.read_all()

    def test_the_function_may_change_the_rows_that_it_gets(self):
        def clumsy(rows):
            rows += 1
            return {"row": rows}

        rows = np.array([1, 2])
        FunctionSource(clumsy, 10).read(rows)
        assert rows.tolist() == [1, 2]

    def test_no_rows_have_columns_whatever_the_function_does_without_rows(self):
        source = FunctionSource(lambda rows: {"n": np.array([rows.max()] * len(rows))}, 5)
        assert source[[]].columns == ["n"]
        assert len(FunctionSource(squares, 0).read_all()) == 0

    def test_retry(self):
        tries = []

        def fails(rows):
            tries.append(1)
            if len(tries) < 3:
                raise ConnectionError("no")
            return {"x": rows}

        source = FunctionSource(fails, 3, on_error=Retry(2, wait=0.001))
        assert source[1]["x"].tolist() == [1]
        assert len(tries) == 3
        tries.clear()
        with pytest.raises(ConnectionError):
            FunctionSource(fails, 3, on_error=Retry(1, wait=0.001)).read(np.array([1]))
        with pytest.raises(ConnectionError):
            tries.clear()
            FunctionSource(fails, 3).read(np.array([1]))

    def test_bad_input(self):
        untyped: Any = FunctionSource
        with pytest.raises(WrongLength, match="squares_of_two, was asked for 3 rows and returned"):

            def squares_of_two(rows):
                return {"x": [1, 4]}

            FunctionSource(squares_of_two, 3).read_all()
        with pytest.raises(WrongType, match="takes a function"):
            untyped([1], 3)
        with pytest.raises(WrongType, match="cannot be made of int"):
            untyped(lambda rows: 3, 3).read_all()
        for bad in (-1, 2.5, None):
            with pytest.raises(WrongValue, match="num_rows"):
                untyped(squares, bad)
        with pytest.raises(WrongValue, match="IterableSource"):
            untyped(squares, 3, on_error="skip")

    def test_pickling(self):
        source = FunctionSource(squares, 4)
        assert pickle.loads(pickle.dumps(source)).read_all() == source.read_all()
        with pytest.raises(WrongType, match="top of a module"):
            pickle.dumps(FunctionSource(lambda rows: {"x": rows}, 3))
