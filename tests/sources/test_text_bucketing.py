"""Batches of similar lengths."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fireworks.errors import WrongType, WrongValue
from fireworks.sources import bucketed_order


def padding(lengths: np.ndarray, order: np.ndarray, batch_size: int) -> float:
    """The part of all cells that would be padding."""
    batches = [order[i : i + batch_size] for i in range(0, len(order), batch_size)]
    cells = sum(len(batch) * lengths[batch].max() for batch in batches)
    return 1 - lengths.sum() / cells


@settings(deadline=None)
@given(
    st.lists(st.integers(0, 50), max_size=200),
    st.integers(1, 40),
    st.integers(0, 9),
    st.integers(1, 5),
)
def test_every_row_once(lengths, batch_size, seed, pool):
    order = bucketed_order(lengths, batch_size, seed=seed, pool_batches=pool)
    assert order.dtype == np.int64
    assert sorted(order.tolist()) == list(range(len(lengths)))


def test_lengths_in_a_batch_are_similar():
    lengths = np.random.default_rng(0).lognormal(4, 0.7, 50_000).astype(int) + 1
    shuffled = bucketed_order(lengths, 64, seed=1, pool_batches=1)
    bucketed = bucketed_order(lengths, 64, seed=1)
    assert padding(lengths, shuffled, 64) > 0.5
    assert padding(lengths, bucketed, 64) < 0.1
    in_one_pool = bucketed_order(lengths, 64, seed=1, pool_batches=1000)
    assert padding(lengths, in_one_pool, 64) < 0.03


def test_in_one_pool_batches_are_exactly_sorted():
    lengths = np.random.default_rng(0).permutation(1000)
    order = bucketed_order(lengths, 10, seed=0)
    spans = [np.ptp(lengths[order[i : i + 10]]) for i in range(0, 1000, 10)]
    assert spans == [9] * 100
    firsts = lengths[order[::10]]
    assert (np.diff(firsts) < 0).any()  # the batches themselves are shuffled


def test_seed_and_epoch_decide():
    lengths = np.arange(1000)

    def order(**how) -> bytes:
        return bucketed_order(lengths, 8, pool_batches=4, **how).tobytes()

    assert order(seed=1) == order(seed=1, epoch=0)
    assert len({order(seed=1), order(seed=2), order(seed=1, epoch=1)}) == 3


def test_the_short_batch_is_last_and_its_rows_are_any():
    lengths = np.arange(103)
    left = [bucketed_order(lengths, 10, seed=0, epoch=epoch)[100:] for epoch in range(400)]
    counts = np.bincount(np.concatenate(left), minlength=103)
    assert ((counts - counts.mean()) ** 2 / counts.mean()).sum() < 155  # chi-square, p = 0.0005


def test_ties_are_in_random_order():
    orders = {bucketed_order(np.ones(6), 2, seed=0, epoch=e).tobytes() for e in range(8000)}
    assert len(orders) == 720


def test_bad_input():
    with pytest.raises(WrongType, match=r"shape \(2, 2\)"):
        bucketed_order(np.ones((2, 2)), 2, seed=0)
    with pytest.raises(WrongType, match="dtype"):
        bucketed_order(["a"], 2, seed=0)
    with pytest.raises(WrongValue, match="row 1 is NaN"):
        bucketed_order([1, np.nan], 2, seed=0)
    for bad in ({"batch_size": 0}, {"seed": -1}, {"epoch": -1}, {"pool_batches": 0}, {"seed": 0.5}):
        with pytest.raises(WrongValue, match=next(iter(bad))):
            bucketed_order([1, 2], **{"batch_size": 2, "seed": 0, **bad})
