"""Rows beside the rows that have the same key."""

from __future__ import annotations

import numpy as np
import pytest

from fireworks.errors import ColumnNotFound, DuplicateColumn, WiringError, WrongLength, WrongValue
from fireworks.sources import (
    BatchingSource,
    IterableSource,
    JoinSource,
    MessageSource,
    ShufflerSource,
    ZipSource,
)
from tests.sources.sources_under_test import rows

LEFT = {"key": ["b", "a", "c", "a"], "x": [1, 2, 3, 4]}
RIGHT = {"key": ["a", "b", "c"], "y": [10, 20, 30]}


def join(left=LEFT, right=RIGHT, **options) -> JoinSource:
    return JoinSource(
        "key",
        inputs={"left": MessageSource(left), "right": MessageSource(right)},
        **options,
    )


def pairs(source) -> list[tuple[int, int]]:
    message = source.read_all()
    return list(zip(message["x"], message["y"], strict=True))


def test_one_to_one_and_many_to_one():
    assert pairs(join()) == [(1, 20), (2, 10), (3, 30), (4, 10)]
    assert join().read_all().columns == ["key", "x", "y"]


def test_one_to_many():
    right = {"key": ["a", "b", "a", "c"], "y": [1, 2, 3, 4]}
    assert pairs(join(right=right)) == [(1, 2), (2, 1), (2, 3), (3, 4), (4, 1), (4, 3)]


@pytest.mark.parametrize("shuffled", ["left", "right", "both", "behind"])
def test_partners_stay_together_in_every_epoch_wherever_a_shuffle_stands(shuffled):
    left = rows(500)
    right = MessageSource({"i": np.arange(500)[::-1].copy(), "y": np.arange(500)[::-1] * 2})
    if shuffled in ("left", "both"):
        left = left >> ShufflerSource(1)
    if shuffled in ("right", "both"):
        right = right >> ShufflerSource(2)
    joined = JoinSource("i", inputs={"left": left, "right": right})
    assert joined.indexed == (shuffled in ("right", "behind"))
    batches = joined >> BatchingSource(64)
    if shuffled == "behind":
        batches = joined >> ShufflerSource(3) >> BatchingSource(64)
    for _ in range(2):
        whole = [(i, y) for batch in batches for i, y in zip(batch["i"], batch["y"], strict=True)]
        assert sorted(i for i, _ in whole) == list(range(500))
        assert all(y == 2 * i for i, y in whole)


def test_a_streamed_left_side():
    left = IterableSource([{"key": "a", "x": 1}, {"key": "c", "x": 2}])
    joined = JoinSource("key", inputs={"left": left, "right": MessageSource(RIGHT)})
    assert not joined.indexed
    assert pairs(joined) == [(1, 10), (2, 30)]


def test_rows_without_a_partner():
    left = {"key": ["a", "z", "q"], "x": [1, 2, 3]}
    with pytest.raises(WrongValue, match="2 rows .* no partner, with key 'z', 'q'.*missing='drop'"):
        join(left=left).read_all()
    assert pairs(join(left=left, missing="drop")) == [(1, 10)]


def test_bad_joins():
    with pytest.raises(ColumnNotFound, match="right input .* no column 'key'"):
        join(right={"k": [1]}).read_all()
    with pytest.raises(DuplicateColumn, match="'x'"):
        join(right={"key": ["a", "b", "c"], "x": [1, 2, 3]}).read_all()
    with pytest.raises(WiringError, match="'left' and 'right'"):
        JoinSource("key", inputs={"a": MessageSource(LEFT), "b": MessageSource(RIGHT)}).read_all()
    with pytest.raises(WrongValue, match="'error' or 'drop'"):
        join(missing="keep")


def test_zipped_sources_of_different_lengths():
    zipped = ZipSource(inputs={"a": rows(5), "b": rows(4, column="k")})
    with pytest.raises(WrongLength, match=r"a: 5, b: 4"):
        zipped.read_all()
    loose = ZipSource(strict=False, inputs={"a": rows(5), "b": rows(4, column="k")})
    assert len(loose) == 4
    with pytest.raises(DuplicateColumn, match="'i'"):
        ZipSource(inputs={"a": rows(5), "b": rows(5)}).read_all()
