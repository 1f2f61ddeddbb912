"""What users of pandas reach for."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from fireworks import Message
from fireworks.errors import ColumnNotFound, WrongType, WrongValue


@pytest.fixture
def message() -> Message:
    return Message(
        {
            "x": torch.tensor([[1.0, 2], [3, float("nan")], [5, 6], [1, 2]]),
            "y": torch.tensor([1, 2, 3, 1]),
            "v": [0.5, None, 1.5, 0.5],
            "k": ["b", None, "a", "b"],
        }
    )


def test_head_and_tail(message: Message) -> None:
    assert message.head(2) == message[:2]
    assert message.tail(1) == message[3:]
    assert message.head() == message.tail(9) == message
    assert message.head(-1) == message[:-1]
    assert message.tail(-1) == message[1:]


def test_describe(message: Message) -> None:
    table = message.describe()
    assert table.columns == ["statistic", "y", "v"]
    row = table.array("statistic").to_pylist().index("mean")
    assert table["y"][row] == 1.75
    with pytest.raises(WrongValue):
        message[["x"]].describe()


def test_query(message: Message) -> None:
    assert message.query("y > 1 and k == 'a'") == message[[2]]
    assert message.query("v < @limit", limit=1) == message[[0, 3]]
    for expression in ("y >", "z > 1", "y + 1", "@nothing > 1"):
        with pytest.raises(WrongValue, match="query"):
            message.query(expression)


def test_groupby(message: Message) -> None:
    means = message.groupby("k").agg("mean")
    assert means["k"].tolist()[:2] == ["a", "b"]
    assert means["x"][:2].tolist() == [[5, 6], [1, 2]]
    assert means["y"].tolist() == [3, 1, 2]
    named = message.groupby(["k", "y"]).agg(n=("v", "count"), top=("x", "max"))
    assert named.columns == ["k", "y", "n", "top"]
    assert named["n"].tolist() == [1, 2, 0]
    assert message.groupby("k").size()["count"].tolist() == [1, 2, 1]
    assert message.groupby("k").agg({"y": "sum"})["y"].tolist() == [3, 2, 2]
    groups = dict(message.drop("v").groupby("y"))
    assert list(groups) == [1, 2, 3]
    assert groups[1] == message.drop("v")[[0, 3]]
    assert len(message.groupby("y")) == 3


@pytest.mark.parametrize("name", ["sum", "mean", "min", "max", "first", "last"])
def test_groups_of_tensors_as_pandas_has_them(name: str) -> None:
    generator = np.random.default_rng(0)
    keys, values = generator.integers(0, 5, 50), generator.normal(size=(50, 2))
    grouped = Message({"k": keys, "x": torch.from_numpy(values)}).groupby("k").agg(name)
    expected = pd.DataFrame(values).groupby(keys).agg(name)
    assert np.allclose(grouped["x"].numpy(), expected.to_numpy())


def test_bad_groups(message: Message) -> None:
    with pytest.raises(ColumnNotFound):
        message.groupby("z")
    with pytest.raises(ColumnNotFound):
        message.groupby("k").agg({"z": "sum"})
    with pytest.raises(WrongType, match="no aggregate 'median'"):
        message.groupby("k").agg({"x": "median"})
    with pytest.raises(WrongType, match="'k' has no aggregate 'mean'"):
        message.groupby("y").agg({"k": "mean"})
    with pytest.raises(WrongValue, match="Nothing to aggregate"):
        message.groupby("y").agg()
    with pytest.raises(WrongType, match="cannot be grouped"):
        Message({"o": [{}, {}], "v": [1, 2]}).groupby("o")


def test_value_counts_and_duplicates(message: Message) -> None:
    counts = message.value_counts("k")
    assert counts["count"].tolist() == [2, 1, 1]
    assert counts["k"].tolist()[0] == "b"
    assert message.drop_duplicates() == message[:3]
    assert message.drop_duplicates(["x", "k"]) == message[:3]
    assert message.value_counts(["y", "v"])["count"].tolist() == [2, 1, 1]


def test_missing_values(message: Message) -> None:
    missing = message.isna()
    assert missing["x"].tolist() == [[False] * 2, [False, True], [False] * 2, [False] * 2]
    assert missing["k"].tolist() == [False, True, False, False]
    assert not missing["y"].any()
    assert message.dropna() == message[[0, 2, 3]]
    assert message.dropna("y") == message
    filled = message.fillna(0)
    assert filled["v"].tolist() == [0.5, 0, 1.5, 0.5]
    assert filled["x"][1].tolist() == [3, 0]
    assert filled[["k"]] == message[["k"]]
    assert message.fillna({"k": "none"})["k"].tolist() == ["b", "none", "a", "b"]
    with pytest.raises(WrongType, match="'k' cannot be filled with 0"):
        message.fillna({"k": 0})
    with pytest.raises(ColumnNotFound):
        message.fillna({"z": 0})


def test_assign(message: Message) -> None:
    more = message.assign(one=1, double=lambda m: m["y"] * 2, k=["z"] * 4)
    assert more["double"].tolist() == [2, 4, 6, 2]
    assert more["one"].tolist() == [1] * 4
    assert message["k"].tolist()[0] == "b"


def test_dict(message: Message) -> None:
    values = message[["y", "v", "k"]].to_dict()
    assert torch.equal(values["y"], message["y"])
    assert values["k"] == ["b", None, "a", "b"]
    assert values["v"][0] == 0.5
    assert Message(values) == message[["y", "v", "k"]]


def test_repr() -> None:
    message = Message({"x": torch.zeros(100, 3), "name": ["<b>"] * 100, "r": [[1, 2]] * 100})
    text = repr(message)
    assert "tensor[3] float32" in text
    assert "[100 rows x 3 columns]" in text
    assert len(text.splitlines()) == 2 + 5 + 1 + 5 + 1
    page = message._repr_html_()
    assert "&lt;b&gt;" in page
    assert "<b>" not in page
    assert "meta" in repr(message.to("meta"))
    assert "1 row " in repr(message[0])
