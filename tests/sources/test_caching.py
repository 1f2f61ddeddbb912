"""A cache in the graph asks upstream only for what it does not hold."""

from __future__ import annotations

import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from fireworks import Message, Source
from fireworks.errors import WrongValue
from fireworks.sources import BatchingSource, CachingSource, ShufflerSource


class Reader(Source):
    """Counts what it is asked for."""

    def __init__(self, num_rows):
        self.num_rows = num_rows
        self.asked = []

    def read(self, rows):
        self.asked.extend(rows.tolist())
        return Message({"i": rows, "x": torch.as_tensor(rows).float()})


def order(source):
    return [value for item in source for value in item["i"].tolist()]


def test_a_second_epoch_reads_nothing_again():
    reader = Reader(100)
    batches = reader >> CachingSource(max_rows=100) >> ShufflerSource(0) >> BatchingSource(7)
    first, second = order(batches), order(batches)
    assert sorted(first) == sorted(second) == list(range(100))
    assert first != second
    assert sorted(reader.asked) == list(range(100))
    assert (batches.cached.hits, batches.cached.misses) == (100, 100)


def test_by_default_what_does_not_fit_is_read_again():
    reader = Reader(100)
    batches = reader >> CachingSource(max_rows=30) >> ShufflerSource(0) >> BatchingSource(10)
    for _ in range(3):
        assert sorted(order(batches)) == list(range(100))
    assert batches.cached.rows == 30
    assert len(reader.asked) == 100 + 2 * 70


@pytest.mark.parametrize("policy", ["keep", "lru"])
@pytest.mark.parametrize("max_rows", [1, 13, 1000])
def test_any_rows_in_any_order_are_the_inputs(policy, max_rows):
    source = Reader(50) >> CachingSource(max_rows=max_rows, policy=policy)
    generator = np.random.default_rng(0)
    for _ in range(50):
        rows = generator.integers(0, 50, generator.integers(0, 30))
        read = source.read(rows)
        assert read["i"].tolist() == rows.tolist()
        assert read["x"].tolist() == rows.tolist()


def test_below_a_shuffle_rows_are_kept_by_their_place_in_the_epoch():
    shuffled = Reader(20) >> ShufflerSource(5)
    cached = shuffled >> CachingSource(max_rows=100) >> BatchingSource(6)
    expected = [shuffled.order(epoch).tolist() for epoch in range(3)]
    assert [order(cached) for _ in range(3)] == expected


def test_eight_threads_read_the_right_rows():
    source = Reader(200) >> CachingSource(max_rows=50, policy="lru")

    def work(seed: int) -> bool:
        generator = np.random.default_rng(seed)
        return all(
            source.read(rows)["i"].tolist() == rows.tolist()
            for rows in (generator.integers(0, 200, 32) for _ in range(100))
        )

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(8)))


def test_a_copy_has_a_cache_of_its_own():
    source = Reader(10) >> CachingSource(max_rows=10)
    source.read_all()
    copy = pickle.loads(pickle.dumps(source))
    assert copy.cached.rows == 0
    assert order(copy) == list(range(10))


@pytest.mark.parametrize("options", [{}, {"max_rows": 0}, {"max_rows": 5, "policy": "best"}])
def test_bad_limits_and_policies(options):
    with pytest.raises(WrongValue):
        CachingSource(**options)
