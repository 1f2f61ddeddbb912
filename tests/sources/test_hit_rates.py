"""How many rows a cache that hears of what comes saves its input, against the best that can be."""

from __future__ import annotations

import numpy as np

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
    held, hits = {}, 0
    later = {row: np.flatnonzero(asked == row).tolist()[::-1] for row in set(asked.tolist())}
    for place, row in enumerate(asked.tolist()):
        later[row].pop()
        use = later[row][-1] if later[row] else 10**9 + place
        hits += row in held
        if row in held or len(held) < HELD:
            held[row] = use
            continue
        last = max(held, key=held.__getitem__)
        if held[last] > use:
            del held[last]
            held[row] = use
    return hits


def read(batches, epochs):
    return np.concatenate([batch.array("i") for _ in range(epochs) for batch in batches])


def test_reshuffled_epochs_hit_what_was_kept():
    top = Counted()
    batches = top >> CachingSource(max_rows=HELD) >> ShufflerSource(0) >> BatchingSource(BATCH)
    asked = read(batches, 4)
    hits = len(asked) - top.rows_read
    assert hits == 3 * HELD == belady(asked)
    assert (batches.cached.hits, batches.cached.misses) == (hits, top.rows_read)


def test_forecasts_of_weighted_draws_come_near_to_the_best():
    weights = np.exp(np.random.default_rng(0).normal(size=ROWS))
    top = Counted()
    cache = top >> CachingSource(max_rows=HELD, policy="forecast")
    asked = read(cache >> SamplerSource(weights, seed=0) >> BatchingSource(BATCH), 3)
    assert len(asked) - top.rows_read >= 0.93 * belady(asked)


def test_forecasts_of_a_sampler_that_looks_ahead_come_near_to_the_best():
    weights = np.exp(np.random.default_rng(0).normal(size=ROWS))
    top = Counted()
    cache = top >> CachingSource(max_rows=HELD, policy="forecast")
    sampler = SamplerSource(
        weights, seed=0, num_draws=3 * ROWS, batch_size=BATCH, lookahead=6 * HELD // BATCH
    )
    asked = read(cache >> sampler, 1)
    assert len(asked) - top.rows_read >= 0.93 * belady(asked)


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
