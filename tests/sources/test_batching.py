"""The last batch, and batches of similar lengths."""

from __future__ import annotations

import numpy as np
import pytest

from fireworks.errors import ColumnNotFound, WrongType, WrongValue
from fireworks.sources import BatchingSource, MessageSource, ShufflerSource
from tests.sources.sources_under_test import Stream, rows


def words(num_rows: int = 1000) -> MessageSource:
    lengths = np.random.default_rng(0).integers(1, 80, num_rows)
    return MessageSource({"i": np.arange(num_rows), "word": ["x" * n for n in lengths]})


@pytest.mark.parametrize("make", [rows, Stream])
@pytest.mark.parametrize(
    ("options", "last"),
    [
        ({}, [20, 21, 22]),
        ({"drop_last": True}, [15, 16, 17, 18, 19]),
        ({"pad": True}, [20, 21, 22, 20, 21]),
    ],
)
def test_the_last_batch(make, options, last):
    batches = list(make(23) >> BatchingSource(5, **options))
    assert batches[-1]["i"].tolist() == last
    assert {len(batch) for batch in batches[:-1]} == {5}


def test_padding_goes_round_where_few_rows_are_left():
    (batch,) = rows(2) >> BatchingSource(5, pad=True)
    assert batch["i"].tolist() == [0, 1, 0, 1, 0]


def test_buckets_hold_rows_of_similar_length_each_once_and_in_another_order_every_epoch():
    batches = words(5000) >> BatchingSource(10, bucket_by="word", seed=0)
    epochs = [list(batches) for _ in range(2)]
    orders = [[i for batch in epoch for i in batch["i"]] for epoch in epochs]
    assert orders[0] != orders[1]
    for epoch, order in zip(epochs, orders, strict=True):
        assert sorted(order) == list(range(5000))
        spread = [np.ptp(batch["word"].str.len()) for batch in epoch]
        assert np.mean(spread) < 3
        firsts = [batch["word"].str.len().iloc[0] for batch in epoch]
        assert firsts != sorted(firsts)


def test_buckets_by_numbers_and_by_lists():
    numbers = MessageSource({"n": [5, 1, 5, 1]}) >> BatchingSource(2, bucket_by="n", seed=0)
    assert sorted(batch["n"].tolist() for batch in numbers) == [[1, 1], [5, 5]]
    lists = MessageSource({"l": [[0] * 5, [0], [1] * 5, [1]]})
    batches = lists >> BatchingSource(2, bucket_by="l", seed=0)
    assert sorted([len(each) for each in batch["l"]] for batch in batches) == [[1, 1], [5, 5]]


def test_bad_options():
    with pytest.raises(WrongValue, match="drop_last or pad"):
        BatchingSource(5, drop_last=True, pad=True)
    with pytest.raises(WrongValue, match="go together"):
        BatchingSource(5, bucket_by="word")
    with pytest.raises(ColumnNotFound, match="Did you mean 'word'"):
        (words() >> BatchingSource(5, bucket_by="words", seed=0)).read_all()
    with pytest.raises(WrongType, match="leave the shuffle away"):
        _ = (words() >> ShufflerSource(0) >> BatchingSource(5, bucket_by="word", seed=0))[0]
    with pytest.raises(WrongType, match="stream"):
        list(Stream() >> BatchingSource(5, bucket_by="i", seed=0))
