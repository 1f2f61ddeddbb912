"""How many rows a cache that hears of what comes saves its input, against the best that can be."""

from __future__ import annotations

import heapq
import itertools
import threading
import time

import numpy as np
import pytest

from fireworks import Message, Source
from fireworks.sources import BatchingSource, CachingSource, SamplerSource, ShufflerSource

ROWS, HELD, BATCH = 4_000, 400, 20


class Counted(Source):
    num_rows = ROWS

    def __init__(self):
        super().__init__()
        self.rows_read = 0

    def read(self, rows):
        self.rows_read += len(rows)
        return Message({"i": rows})


class Listening(Counted):
    """Wants to hear of rows, and remembers which it heard of."""

    def __init__(self):
        super().__init__()
        self.announced = []

    def lookahead(self):
        return 200

    def expect(self, rows, deadline):
        self.announced += rows.tolist()
        return rows

    def release(self, rows):
        for row in rows.tolist():
            self.announced.remove(row)


def belady(asked):
    """Hits of a cache that always keeps the rows whose next use is nearest."""
    following, seen = np.empty(len(asked), np.int64), {}
    for place in range(len(asked) - 1, -1, -1):
        row = int(asked[place])
        following[place] = seen.get(row, 2 * len(asked) + place)
        seen[row] = place
    held, furthest, hits = {}, [], 0
    for row, use in zip(asked.tolist(), following.tolist(), strict=True):
        if row in held:
            hits += 1
        elif len(held) == HELD:
            while held.get(furthest[0][1]) != -furthest[0][0]:  # used since
                heapq.heappop(furthest)
            if -furthest[0][0] <= use:
                continue
            del held[heapq.heappop(furthest)[1]]
        held[row] = use
        heapq.heappush(furthest, (-use, row))
    return hits


def read(batches, epochs):
    return np.concatenate([batch.array("i") for _ in range(epochs) for batch in batches])


# One batch is read ahead beside a full cache where it is small (20), and none where it is not (50).
@pytest.mark.parametrize("batch", [20, 50])
@pytest.mark.parametrize("policy", ["keep", "forecast"])
def test_reshuffled_epochs_hit_as_often_as_the_best_cache(policy, batch):
    top = Counted()
    cache = top >> CachingSource(max_rows=HELD, policy=policy)
    batches = cache >> ShufflerSource(0) >> BatchingSource(batch)
    asked = read(batches, 4)
    hits = len(asked) - top.rows_read
    assert belady(asked) == 3 * HELD
    assert 0.99 * 3 * HELD <= hits <= 3 * HELD
    assert (batches.cached.hits, batches.cached.misses) == (hits, top.rows_read)


@pytest.mark.parametrize("sigma", [1, 2])
def test_forecasts_of_weighted_draws_come_near_to_the_best(sigma):
    weights = np.exp(sigma * np.random.default_rng(0).normal(size=ROWS))
    top = Counted()
    cache = top >> CachingSource(max_rows=HELD, policy="forecast")
    asked = read(cache >> SamplerSource(weights, seed=0) >> BatchingSource(BATCH), 3)
    assert len(asked) - top.rows_read >= 0.95 * belady(asked)


@pytest.mark.parametrize("sigma", [1, 2])
def test_forecasts_of_a_sampler_that_looks_ahead_come_near_to_the_best(sigma):
    weights = np.exp(sigma * np.random.default_rng(0).normal(size=ROWS))
    top = Counted()
    cache = top >> CachingSource(max_rows=HELD, policy="forecast")
    sampler = SamplerSource(
        weights, seed=0, num_draws=3 * ROWS, batch_size=BATCH, lookahead=6 * HELD // BATCH
    )
    asked = read(cache >> sampler, 1)
    assert len(asked) - top.rows_read >= 0.95 * belady(asked)


class Slow(Counted):
    """Slow enough for rows to be read ahead of a full cache."""

    def __init__(self):
        super().__init__()
        self.ahead = 0

    def read(self, rows):
        time.sleep(0.001)
        self.ahead += len(rows) if threading.current_thread().name == "prefetch" else 0
        return super().read(rows)


@pytest.mark.parametrize("policy", ["keep", "forecast"])
def test_reading_ahead_of_a_full_cache_costs_no_hits(policy):
    top = Slow()
    cache = top >> CachingSource(max_rows=HELD, policy=policy)
    batches = cache >> ShufflerSource(0) >> BatchingSource(BATCH)
    asked = []
    for batch in itertools.chain(batches, batches):
        asked.append(batch.array("i"))
        time.sleep(0.003)  # a training step
    asked = np.concatenate(asked)
    assert len(asked) - top.rows_read >= 0.99 * belady(asked)
    assert top.ahead > 0.8 * top.rows_read


def test_a_row_is_announced_once_for_each_time_it_is_read():
    top = Listening()
    batches = top >> BatchingSource(BATCH)
    for _ in range(2):
        for _ in batches:
            pass
    beyond = len(top.announced) - (2 * ROWS - BATCH)  # the first rows are read at once
    assert 0 < beyond <= 200
    assert top.announced == list(range(BATCH, 2 * ROWS + beyond))


def test_what_an_abandoned_pass_announced_is_taken_back():
    top = Listening()
    batches = top >> BatchingSource(BATCH)
    first = iter(batches)
    for _ in range(5):
        next(first)
    first.close()
    next(iter(batches))
    read = list(range(BATCH, 5 * BATCH))
    assert top.announced[: len(read)] == read
    again = top.announced[len(read) :]
    assert again == list(range(BATCH, BATCH + len(again)))
