"""Graphs put together at random agree with plain lists, whole and resumed anywhere."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fireworks import Source
from fireworks.sources import (
    BatchingSource,
    CachingSource,
    ConcatSource,
    FilterSource,
    InterleaveSource,
    MixSource,
    RepeaterSource,
    ShufflerSource,
    SubsetSource,
    ZipSource,
)
from tests.sources.sources_under_test import Renamed, Stream, even, rows

EPOCHS = 2


@dataclass
class Modelled:
    """A source, and the rows that it must give in each epoch as plain lists."""

    source: Source
    epochs: list[list[int]]
    size: int = 0
    steps: list[str] = field(default_factory=list)


def leaf(data) -> Modelled:
    count, first = data.draw(st.integers(1, 30)), data.draw(st.integers(0, 5))
    make = data.draw(st.sampled_from([rows, Stream]))
    numbers = list(range(first, first + count))
    return Modelled(make(count, first), [numbers] * (EPOCHS * 4), 1, [make.__name__])


def grown(data, one: Modelled) -> Modelled:
    """Put one more source behind, and do the same to the lists."""
    indexed, n = one.source.indexed, len(one.epochs[0])
    possible = ["batch", "filter", "branch"]
    if indexed and n:
        possible += ["shuffle", "cache", "subset"]
    if indexed and len(one.epochs) >= 2 * EPOCHS:  # each repeat takes two of them for one
        possible += ["repeat"]
    kind = data.draw(st.sampled_from(possible))
    source, epochs = one.source, one.epochs
    if kind == "batch":
        size, drop = data.draw(st.integers(1, 9)), data.draw(st.booleans())
        source = source >> BatchingSource(size, drop_last=drop)
        if drop:
            epochs = [each[: len(each) - len(each) % size] for each in epochs]
    elif kind == "filter":
        source = source >> FilterSource(even)
        if data.draw(st.booleans()):
            source.prepare()
        epochs = [[i for i in each if i % 2 == 0] for each in epochs]
    elif kind == "branch":
        source = ZipSource(inputs={"a": source, "b": source >> Renamed()}) >> Dropped()
    elif kind == "shuffle":
        source = source >> ShufflerSource(data.draw(st.integers(0, 9)))
        epochs = [
            [each[place] for place in source.order(epoch)] for epoch, each in enumerate(epochs)
        ]
    elif kind == "cache":
        policy = data.draw(st.sampled_from(["keep", "lru", "forecast"]))
        source = source >> CachingSource(max_rows=data.draw(st.integers(1, 40)), policy=policy)
    elif kind == "subset":
        chosen = data.draw(st.lists(st.integers(0, n - 1), max_size=20))
        source = source >> SubsetSource(np.array(chosen, np.int64))
        epochs = [[each[place] for place in chosen] for each in epochs]
    else:
        source = source >> RepeaterSource(2)
        epochs = [a + b for a, b in zip(epochs[::2], epochs[1::2], strict=True)]
    return Modelled(source, epochs, one.size + 1, [*one.steps, kind])


def joined(data, left: Modelled, right: Modelled) -> Modelled:
    kind = data.draw(st.sampled_from(["concat", "interleave", "mix"]))
    inputs = {"l": left.source, "r": right.source}
    pairs = list(zip(left.epochs, right.epochs, strict=False))
    if kind == "concat":
        source: Source = ConcatSource(inputs=inputs)
        epochs = [a + b for a, b in pairs]
    elif kind == "interleave":
        source = InterleaveSource(inputs=inputs)
        epochs = [
            [x for k in range(max(len(a), len(b))) for x in (*a[k : k + 1], *b[k : k + 1])]
            for a, b in pairs
        ]
    else:
        # Which one is drawn is the source's own affair: each one's rows come in their order.
        source = MixSource(
            {"l": 1, "r": 2}, seed=data.draw(st.integers(0, 9)), stop="all", inputs=inputs
        )
        epochs = [[]] * len(pairs)
    return Modelled(source, epochs, left.size + right.size + 1, [*left.steps, *right.steps, kind])


class Dropped(Source):
    def transform(self, message):
        return message[["i", "x_i"]]


def graph(data) -> Modelled:
    one = leaf(data)
    for _ in range(data.draw(st.integers(0, 3))):
        one = grown(data, one)
    if data.draw(st.booleans()):
        other = leaf(data)
        if other.source.indexed != one.source.indexed or data.draw(st.booleans()):
            other = grown(data, other)
        if min(len(one.epochs), len(other.epochs)) >= EPOCHS:
            one = joined(data, one, other)
    for _ in range(data.draw(st.integers(0, 2))):
        if one.steps[-1] != "mix":
            one = grown(data, one)
    return one


def numbers(items) -> list[int]:
    return [number for item in items for number in item["i"].tolist()]


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_reads_iteration_and_resume_agree_with_plain_lists(data):
    one = graph(data)
    source = one.source
    found = [list(source) for _ in range(EPOCHS)]
    if "mix" not in one.steps:
        assert [numbers(each) for each in found] == one.epochs[:EPOCHS], one.steps
        if source.indexed and source.num_rows:
            n = source.num_rows
            wanted = data.draw(st.lists(st.integers(0, EPOCHS * n - 1), max_size=20))
            expected = [one.epochs[row // n][row % n] for row in wanted]
            assert source.read(np.array(wanted, np.int64))["i"].tolist() == expected

    # Stop anywhere, go on: what was handed out and what comes after are the epochs, once.
    epoch = data.draw(st.integers(0, EPOCHS - 1))
    steps = data.draw(st.integers(0, len(found[epoch])))
    source.load_state_dict({**source.state_dict(), "epoch": epoch, "position": None})
    one_pass = iter(source)
    seen = [next(one_pass) for _ in range(steps)]
    state = json.loads(json.dumps(one_pass.state_dict()))
    source.load_state_dict(state)
    assert numbers([*seen, *source]) == numbers(found[epoch])
    for later in range(epoch + 1, EPOCHS):
        assert numbers(source) == numbers(found[later])


def training_graph() -> Source:
    """Shuffle, cache, filter, mix and batch."""
    left = rows(700) >> CachingSource(max_rows=200) >> ShufflerSource(1)
    right = Stream(300, first=1000, chunk_rows=25) >> FilterSource(even)
    mixed = MixSource({"l": 3, "r": 1}, seed=5, stop="all", inputs={"l": left, "r": right})
    return mixed >> BatchingSource(32)


@pytest.mark.slow
def test_a_thousand_random_stops_lose_and_repeat_no_row():
    generator = np.random.default_rng(0)
    seen: list[int] = []
    state = None
    for _ in range(1000):
        source = training_graph()
        if state is not None:
            source.load_state_dict(json.loads(state))
        one_pass = iter(source)
        for _ in range(int(generator.integers(1, 4))):
            batch = next(one_pass, None)
            if batch is None:  # the state was taken at the end of an epoch
                one_pass = iter(source)
                batch = next(one_pass)
            seen += batch["i"].tolist()
            state = json.dumps(source.state_dict())
    undisturbed = training_graph()
    expected: list[int] = []
    while len(expected) < len(seen):
        expected += numbers(undisturbed)
    assert len(seen) > 50_000
    assert seen == expected[: len(seen)]
