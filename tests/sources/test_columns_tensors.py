"""Columns as tensors: converted, padded, looked up, moved."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fireworks import Message, concat
from fireworks.errors import (
    ColumnNotFound,
    DuplicateColumn,
    RowOutOfRange,
    WrongType,
    WrongValue,
)
from fireworks.sources import (
    BatchingSource,
    DeviceSource,
    EmbeddingSource,
    MessageSource,
    PadSource,
    TensorSource,
)


class TestTensor:
    def test_all_or_some_columns(self):
        rows = MessageSource({"a": [1, 2], "b": [0.5, 1.5], "s": ["x", "y"]})
        some = (rows >> TensorSource(["a", "b"], dtype=torch.float32)).read_all()
        assert some["a"].dtype == some["b"].dtype == torch.float32
        assert some["s"].tolist() == ["x", "y"]
        assert (rows >> TensorSource("a")).read_all()["a"].dtype == torch.int64
        whole = MessageSource({"a": [1, 2], "b": torch.ones(2)}) >> TensorSource()
        assert whole.read_all()["a"].tolist() == [1, 2]
        assert isinstance(rows.message.array("a"), np.ndarray)

    def test_bad_input(self):
        rows = MessageSource({"a": [1, 2], "s": ["x", "y"]})
        with pytest.raises(WrongType, match="'s'.*row 0 is 'x'"):
            (rows >> TensorSource()).read_all()
        with pytest.raises(ColumnNotFound, match="'b'"):
            (rows >> TensorSource("b")).read_all()
        untyped: Any = TensorSource
        with pytest.raises(WrongType, match="dtype of torch"):
            untyped(dtype="float32")


LISTS = [[1, 2, 3], [], [4], [5, 6]]


def ragged() -> MessageSource:
    return MessageSource({"t": LISTS, "i": range(4)})


class TestPad:
    def padded(self, **options) -> list:
        return (ragged() >> PadSource("t", **options)).read_all()["t"].tolist()

    def test_to_the_longest(self):
        rows = (ragged() >> PadSource("t")).read_all()
        assert rows["t"].tolist() == [[1, 2, 3], [0, 0, 0], [4, 0, 0], [5, 6, 0]]
        assert rows["t_length"].tolist() == [3, 0, 1, 2]
        assert rows["t"].dtype == rows["t_length"].dtype == torch.int64
        assert rows.columns == ["t", "i", "t_length"]

    def test_to_a_width(self):
        assert self.padded(max_length=2) == [[1, 2], [0, 0], [4, 0], [5, 6]]
        assert self.padded(max_length=4, value=-1)[0] == [1, 2, 3, -1]
        source = ragged() >> PadSource("t", max_length=2)
        assert source.read_all()["t_length"].tolist() == [2, 0, 1, 2]
        assert source[1]["t"].shape == (1, 2)

    def test_at_the_left(self):
        assert self.padded(side="left") == [[1, 2, 3], [0, 0, 0], [0, 0, 4], [0, 5, 6]]
        assert self.padded(side="left", max_length=2) == [[2, 3], [0, 0], [0, 4], [5, 6]]

    def test_no_wider_than_needed(self):
        source = ragged() >> PadSource("t", max_length=2, fixed=False)
        assert source[1:3]["t"].tolist() == [[0], [4]]
        assert source[:2]["t"].tolist() == [[1, 2], [0, 0]]

    def test_each_kind_of_list(self):
        rows = MessageSource(
            {
                "f": [[0.5], [1.5, 2.5]],
                "m": torch.ones(2, 2),
            }
        )
        found = (rows >> PadSource(["f", "m"], value=np.nan, max_length=3)).read_all()
        assert found["f"].isnan().sum() == 3
        assert (rows >> PadSource("f", value=0.1)).read_all()["f"][0, 1] == 0.1
        assert found["m_length"].tolist() == [2, 2]
        assert found["m"].dtype == torch.float32

    def test_rows_taken_from_anywhere(self):
        source = ragged() >> PadSource("t", max_length=2)
        whole = source.read_all()
        assert source[[3, 0]] == whole[[3, 0]]
        assert concat(list(source >> BatchingSource(3))) == whole
        sliced = MessageSource(ragged().message[2:]) >> PadSource("t")
        assert sliced.read_all()["t"].tolist() == [[4, 0], [5, 6]]

    @settings(deadline=None)
    @given(
        st.lists(st.lists(st.integers(1, 9), max_size=5), min_size=1, max_size=8),
        st.integers(1, 6),
        st.sampled_from(["left", "right"]),
    )
    def test_against_lists(self, lists, width, side):
        lists = [[7], *lists]
        found = (MessageSource({"t": lists}) >> PadSource("t", max_length=width, side=side))[:]
        for row, tensor in zip(lists, found["t"].tolist(), strict=True):
            kept = row[:width] if side == "right" else row[-width:]
            fill = [0] * (width - len(kept))
            assert tensor == (kept + fill if side == "right" else fill + kept)

    def test_no_rows(self):
        empty = ragged()[[]]
        assert (MessageSource(empty) >> PadSource("t")).read_all()["t"].shape == (0, 0)

    def test_bad_input(self):
        untyped: Any = PadSource
        with pytest.raises(WrongValue, match="at least one column"):
            PadSource([])
        for bad in (0, 1.5):
            with pytest.raises(WrongValue, match="max_length"):
                untyped("t", max_length=bad)
        with pytest.raises(WrongValue, match="side"):
            untyped("t", side="both")
        for bad in (0.5, np.nan, 2**70):
            with pytest.raises(WrongValue, match="does not fit column 't' of int64"):
                self.padded(value=bad)
        with pytest.raises(WrongType, match="strings of str.*TokenizerSource"):
            (MessageSource({"t": ["a"]}) >> PadSource("t")).read_all()
        with pytest.raises(WrongType, match="row 1 is 'a'"):
            (MessageSource({"t": [[1], "a"]}) >> PadSource("t")).read_all()
        with pytest.raises(DuplicateColumn, match="'t_length'"):
            rows = MessageSource({"t": LISTS, "t_length": range(4)})
            (rows >> PadSource("t")).read_all()
        with pytest.raises(ColumnNotFound, match="Did you mean 'tokens'"):
            (MessageSource({"tokens": LISTS}) >> PadSource("tokns")).read_all()


class TestEmbedding:
    table = torch.arange(6.0).view(3, 2)

    def test_vectors_of_ids(self):
        rows = MessageSource({"t": [2, 0], "w": torch.tensor([[0, 1, 1], [2, 2, 0]])})
        source = rows >> EmbeddingSource(self.table, "t") >> EmbeddingSource(self.table, "w")
        assert source.read_all()["t"].tolist() == [[4, 5], [0, 1]]
        assert source.read_all()["w"].shape == (2, 3, 2)
        kept = rows >> EmbeddingSource(self.table.numpy(), "t", output="vector")
        assert kept[0]["t"].tolist() == [2]
        assert kept[0]["vector"].tolist() == [[4, 5]]
        assert pickle.loads(pickle.dumps(kept)).read_all() == kept.read_all()

    def test_behind_padding(self):
        source = ragged() >> PadSource("t", max_length=2) >> EmbeddingSource(torch.eye(7), "t")
        assert source.read_all()["t"].shape == (4, 2, 7)

    def test_bad_input(self):
        with pytest.raises(RowOutOfRange, match="Row 1 of 't' has the id 3; .* 0 to 2"):
            (MessageSource({"t": [0, 3]}) >> EmbeddingSource(self.table, "t")).read_all()
        with pytest.raises(RowOutOfRange, match="Row 0 of 't' has the id -1"):
            (MessageSource({"t": [-1]}) >> EmbeddingSource(self.table, "t")).read_all()
        with pytest.raises(WrongType, match="integers; 't' has torch.float64"):
            (MessageSource({"t": [0.0]}) >> EmbeddingSource(self.table, "t")).read_all()
        with pytest.raises(WrongType, match="pad them first"):
            (ragged() >> EmbeddingSource(self.table, "t")).read_all()
        with pytest.raises(WrongValue, match=r"shape \(3,\)"):
            EmbeddingSource(torch.ones(3), "t")
        with pytest.raises(WrongType, match="no numbers"):
            EmbeddingSource([["a"]], "t")
        with pytest.raises(WrongType, match="on meta"):
            rows = MessageSource({"t": [0]}) >> EmbeddingSource(self.table.to("meta"), "t")
            rows.read_all()


class TestDevice:
    def test_moves_tensors_only(self):
        message = Message({"x": torch.ones(2), "y": torch.ones(2), "s": ["a", "b"]})
        moved = (MessageSource(message) >> DeviceSource("meta", columns="x")).read_all()
        assert moved["x"].device.type == "meta"
        assert moved["y"].device.type == "cpu"
        assert moved["s"].tolist() == ["a", "b"]
        assert message["x"].device.type == "cpu"
        source = MessageSource(message) >> DeviceSource("cpu", non_blocking=True)
        assert pickle.loads(pickle.dumps(source)).read_all() == message

    def test_bad_input(self):
        with pytest.raises(WrongValue, match="'gpu' is no device"):
            DeviceSource("gpu")
        rows = MessageSource({"x": torch.ones(2)})
        with pytest.raises(ColumnNotFound):
            (rows >> DeviceSource("cpu", columns="z")).read_all()
        with pytest.raises(WrongValue, match="torch sees .* CUDA devices"):
            (rows >> DeviceSource("cuda:99")).read_all()

    @pytest.mark.gpu
    @pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
    @pytest.mark.parametrize("non_blocking", [False, True])
    def test_to_a_gpu_and_back(self, non_blocking):
        message = Message({"x": torch.randn(1000, 64), "s": ["a"] * 1000})
        given = message.pin_memory() if non_blocking else message
        source = MessageSource(given) >> DeviceSource("cuda", non_blocking=non_blocking)
        moved = source[100:200]
        assert moved.device == torch.device("cuda:0")
        assert moved.cpu() == message[100:200]
