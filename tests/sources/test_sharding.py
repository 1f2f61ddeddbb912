"""Rows dealt out to ranks: the epoch exactly once, whoever takes over."""

from __future__ import annotations

import json

import pytest

from fireworks import Source
from fireworks.errors import StateMismatch, WrongLength, WrongValue
from fireworks.sources import BatchingSource, FilterSource, ShardSource, ShufflerSource
from tests.sources.sources_under_test import even, rows


def ranks(world: int, num_rows: int = 96, batch: int = 4, **options) -> list[Source]:
    return [
        rows(num_rows)
        >> ShufflerSource(1)
        >> ShardSource(rank, world, **options)
        >> BatchingSource(batch)
        for rank in range(world)
    ]


def numbers(items) -> list[int]:
    return [number for item in items for number in item["i"].tolist()]


@pytest.mark.parametrize("world", [1, 2, 3, 4, 8])
def test_all_ranks_together_are_the_epoch(world):
    for _ in range(2):
        together = [number for source in ranks(world) for number in numbers(source)]
        assert sorted(together) == list(range(96))


def test_ranks_take_turns_in_the_global_order():
    order = numbers(rows(96) >> ShufflerSource(1))
    assert [numbers(source) for source in ranks(3)] == [order[rank::3] for rank in range(3)]


@pytest.mark.parametrize(("uneven", "expected"), [("pad", [8, 8, 8]), ("drop", [7, 7, 7])])
def test_uneven(uneven, expected):
    found = [numbers(source) for source in ranks(3, num_rows=23, uneven=uneven)]
    assert list(map(len, found)) == expected
    together = [number for each in found for number in each]
    assert len(set(together)) == min(23, sum(expected))


def test_uneven_is_an_error_where_asked():
    with pytest.raises(WrongLength, match="23 rows cannot be dealt out evenly to 3"):
        len(ranks(3, num_rows=23, uneven="error")[0])


@pytest.mark.parametrize(("before", "after"), [(4, 2), (2, 4), (4, 1), (1, 2), (4, 4), (3, 1)])
@pytest.mark.parametrize("steps", [0, 2, 4, 6])
def test_other_ranks_take_over_without_losing_or_repeating_a_row(before, after, steps):
    first = ranks(before)
    seen, states = [], []
    for source in first:
        one_pass = iter(source)
        taken = [next(one_pass) for _ in range(steps)]
        seen += numbers(taken)
        states.append(json.dumps(source.state_dict()))
    assert len(set(states)) == 1
    for source in ranks(after):
        source.load_state_dict(json.loads(states[0]))
        seen += numbers(source)
    assert sorted(seen) == list(range(96))


def test_a_row_at_which_the_new_ranks_cannot_stand():
    source = ranks(2)[0]
    next(iter(source))
    with pytest.raises(StateMismatch, match="8 rows were consumed by 2 ranks; 3 ranks"):
        ranks(3)[0].load_state_dict(source.state_dict())


def test_a_filter_behind_the_shard_ties_it_to_its_ranks():
    def filtered(world: int) -> Source:
        return ranks(world)[0] >> FilterSource(even) >> BatchingSource(3)

    source = filtered(2)
    next(iter(source))
    state = source.state_dict()
    filtered(2).load_state_dict(state)
    with pytest.raises(StateMismatch, match="taken with 2 ranks; here are 4"):
        filtered(4).load_state_dict(state)


@pytest.mark.parametrize(("rank", "world"), [(2, 2), (-1, 2), (0, 0)])
def test_bad_ranks(rank, world):
    with pytest.raises(WrongValue, match="no rank"):
        ShardSource(rank, world)
