"""What holds for a column of every kind."""

from __future__ import annotations

import copy
import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import torch

from fireworks import Message, concat, merge

pytestmark = pytest.mark.filterwarnings("ignore:ComplexHalf support is experimental")


@pytest.fixture
def message(values: Any) -> Message:
    return Message({"key": np.arange(6), "column": values})


def test_equal_to_itself_and_a_deep_copy_only(message: Message) -> None:
    assert message == message
    assert message == copy.deepcopy(message)
    assert message[:5] != message
    assert message != message.assign(key=np.arange(6.0))


def test_rows_by_number_slice_and_mask_agree(message: Message) -> None:
    mask = np.array([True, False, True, True, False, False])
    assert message[[0, 2, 3]] == message[mask] == message.take([0, 2, -3])
    assert message[1:4] == message[[1, 2, 3]]
    assert message[::2] == message[[0, 2, 4]]
    assert message[::-1] == message[[5, 4, 3, 2, 1, 0]]
    assert message[4] == message[-2] == message[4:5]
    assert message[[2, 2]] == concat([message[2], message[2]])


def test_no_rows_keep_the_dtype(message: Message) -> None:
    for empty in (message[:0], message[[]], message[np.zeros(6, bool)]):
        assert len(empty) == 0
        assert empty.schema == message.schema
        assert concat([empty, message]) == concat([message, empty]) == message


def test_split_and_concat(message: Message) -> None:
    assert concat([message[:2], message[2:5], message[5:]]) == message
    assert message[:3].append(message[3:]) == message
    assert concat([message[k] for k in range(6)]) == message


def test_assigned_rows(message: Message) -> None:
    before, changed = copy.deepcopy(message), copy.copy(message)
    changed[[0, 5, 3]] = message[[1, 2, 4]]
    assert changed == message[[1, 1, 2, 4, 4, 2]].assign(key=changed["key"])
    assert message == before


def test_of_a_row_assigned_twice_the_last_stays(message: Message) -> None:
    given = message[[1, 2, 4, 5] * 20]
    changed = copy.copy(message)
    changed[[3, 0, 3, 0] * 20] = given
    assert changed == message[[5, 1, 2, 4, 4, 5]].assign(key=changed["key"])


def test_deleted_rows(message: Message) -> None:
    rest = copy.copy(message)
    del rest[[1, -1]]
    assert rest == message[[0, 2, 3, 4]]


def test_pickle_and_torch_save(message: Message) -> None:
    assert pickle.loads(pickle.dumps(message)) == message
    assert pickle.loads(pickle.dumps(message[1:4])) == message[1:4]
    buffer = io.BytesIO()
    torch.save(message, buffer)
    buffer.seek(0)
    assert torch.load(buffer, weights_only=False) == message


@pytest.mark.parametrize("rows", [slice(None), slice(1, 4), slice(0, 0)])
def test_files(message: Message, rows: slice, tmp_path: Path) -> None:
    part = message[rows]
    part.save(tmp_path / "m.arrow")
    assert Message.load(tmp_path / "m.arrow") == part
    part.to_parquet(tmp_path / "m.parquet")
    assert Message.from_parquet(tmp_path / "m.parquet") == part


@pytest.mark.parametrize("rows", [slice(None), slice(1, 4), slice(0, 0)])
def test_arrow(message: Message, rows: slice) -> None:
    part = message[rows]
    assert Message(pa.table(part)) == part
    assert Message(part.to_arrow()) == part


def test_polars(message: Message) -> None:
    for part in (message, message[2:5], message[:0]):
        assert Message(pl.DataFrame(part.to_arrow())) == part
        assert Message(pl.from_arrow(part)) == part  # a Series of structs


def test_dataframe_and_back(message: Message) -> None:
    frame = message.dataframe()
    assert isinstance(frame, pd.DataFrame)
    assert list(frame.columns) == message.columns
    assert len(frame) == 6
    if message.schema["column"].dtype not in ("datetime64[D]", "datetime64[h]"):
        assert Message(frame) == message.to_vectors()  # pandas has no days and hours


def test_views_and_shapes(message: Message) -> None:
    assert message.shape == (6, 2)
    assert message.nbytes > 0
    assert list(message) == ["key", "column"]
    assert repr(message)
    assert "<table" in message._repr_html_()
    assert merge([message[["key"]], message[["column"]]]) == message
    assert message.rename(column="other").rename({"other": "column"}) == message
    assert [set(row) for row in message.rows()] == [{"key", "column"}] * 6
