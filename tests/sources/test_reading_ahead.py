"""Caches that hear what comes next, and orders too long to store."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
import torch

from fireworks import Message, Source
from fireworks.sources import BatchingSource, CachingSource, SamplerSource, ShufflerSource
from fireworks.sources.permutation import STORED_ROWS, KeyedPermutation


class Disk(Source):
    """Slow to read; knows which thread asked for what."""

    def __init__(self, num_rows, seconds=0.0):
        self.num_rows = num_rows
        self.seconds = seconds
        self.background = []
        self.foreground = []

    def read(self, rows):
        time.sleep(self.seconds)
        log = self.foreground if threading.current_thread() is MAIN else self.background
        log.extend(rows.tolist())
        return Message({"i": rows, "x": torch.zeros(len(rows), 32)})


MAIN = threading.main_thread()


def numbers(items):
    return [number for item in items for number in item["i"].tolist()]


def test_a_pass_over_a_shuffle_reads_ahead_in_the_background():
    disk = Disk(2000, seconds=0.001)
    source = (
        disk
        >> CachingSource(max_rows=600, policy="forecast")
        >> ShufflerSource(0)
        >> BatchingSource(50)
    )
    seen = []
    for batch in source:
        time.sleep(0.004)  # a training step
        seen += numbers([batch])
    assert sorted(seen) == list(range(2000))
    assert len(disk.background) > 10 * len(disk.foreground)
    assert len(disk.background) + len(disk.foreground) <= 2600  # the next epoch's start is there


def test_the_next_epoch_is_announced_before_this_one_ends():
    disk = Disk(400)
    source = disk >> CachingSource(max_rows=200, policy="forecast") >> ShufflerSource(0)
    source = source >> BatchingSource(20)
    order = [source.input.order(epoch).tolist() for epoch in range(2)]
    list(source)
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline and not set(order[1][:50]) <= set(source.cached_ids.tolist()):
        time.sleep(0.01)
    assert set(order[1][:50]) <= set(source.cached_ids.tolist())


def test_keep_reads_ahead_only_what_fits():
    disk = Disk(1000)
    source = disk >> CachingSource(max_rows=100) >> ShufflerSource(0) >> BatchingSource(20)
    for _ in range(3):
        assert sorted(numbers(source)) == list(range(1000))
    assert len(disk.background) + len(disk.foreground) <= 1000 + 2 * 900 + 200
    assert source.cached.rows == 100


def test_an_error_of_reading_ahead_comes_where_the_rows_are_read():
    class Fails(Disk):
        def read(self, rows):
            if 77 in rows:
                raise OSError("no such sector")
            return super().read(rows)

    source = Fails(100) >> CachingSource(max_rows=80, policy="lru") >> BatchingSource(10)
    seen = []
    with pytest.raises(OSError, match="no such sector"):
        for batch in source:
            seen += numbers([batch])
    assert seen == list(range(70))


@pytest.mark.parametrize("n", [1, 2, 3, 5, 97, 1000, STORED_ROWS + 1, 100_003])
def test_a_keyed_order_is_a_permutation(n):
    order = KeyedPermutation(n, [1, 2])(np.arange(n))
    assert np.array_equal(np.sort(order), np.arange(n))


def test_a_keyed_order_of_any_part_is_that_of_the_whole():
    whole = KeyedPermutation(100_003, [7])(np.arange(100_003))
    places = np.random.default_rng(0).integers(0, 100_003, 5000)
    assert np.array_equal(KeyedPermutation(100_003, [7])(places), whole[places])


def test_a_thousand_million_rows_need_no_memory():
    class Numbers(Source):
        num_rows = 10**9

        def read(self, rows):
            return Message({"i": rows})

    source = Numbers() >> ShufflerSource(0) >> BatchingSource(4096)
    last = source[len(source) - 1]["i"].to_numpy()
    first = source[0]["i"].to_numpy()
    assert len(set(first) | set(last)) == len(first) + len(last)
    assert first.max() > 9 * 10**8


def test_places_of_long_orders_are_uniform():
    # Pearson's chi-square over 40 x 40 cells of (place, row) in 60 orders. The 0.1 % points at
    # 39 * 39 = 1521 degrees of freedom are 1354 and 1698. The keys are fixed.
    n = 70_001
    cells = np.zeros((40, 40))
    for key in range(60):
        order = KeyedPermutation(n, [key])(np.arange(n))
        cells += np.histogram2d(np.arange(n), order, bins=40)[0]
    expected = cells.sum() / 1600
    assert 1354 < ((cells - expected) ** 2 / expected).sum() < 1698


def test_all_orders_of_six_rows_come_equally_often():
    source = Disk(6) >> ShufflerSource(0)
    seen: dict[tuple[int, ...], int] = {}
    for epoch in range(36_000):
        key = tuple(source.order(epoch).tolist())
        seen[key] = seen.get(key, 0) + 1
    assert len(seen) == 720
    # 838 is the 0.1 % point of chi-square at 719 degrees of freedom.
    assert sum((count - 50) ** 2 / 50 for count in seen.values()) < 838


@pytest.mark.slow
@pytest.mark.parametrize("policy", ["keep", "forecast"])
def test_memory_stays_within_its_budget(policy):
    # 1 GB in rows of 4 kB through a cache of 100 MB, in a process of its own, against the same with
    # next to no cache. The C library is told not to keep what was freed: it would for the next use.
    program = """
import itertools, resource, sys
import numpy as np, torch
from fireworks import Message, Source
from fireworks.sources import BatchingSource, CachingSource, SamplerSource, ShufflerSource

torch.set_num_threads(1)

class Rows(Source):
    num_rows = 250_000
    def read(self, rows):
        return Message({"x": torch.zeros(len(rows), 1024)})

budget = int(sys.argv[1])
source = Rows() >> CachingSource(max_bytes=budget, policy=sys.argv[2]) >> ShufflerSource(0)
for batch in itertools.islice(source >> BatchingSource(256), 250):
    pass  # the cache is full after the first hundred; what follows is more of the same
stats = source.input.cached
assert stats.bytes <= budget
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
"""

    def peak(budget: int) -> int:
        done = subprocess.run(
            [sys.executable, "-c", program, str(budget), policy],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "MALLOC_TRIM_THRESHOLD_": "131072"},
        )
        return int(done.stdout)

    budget = 100_000_000
    assert peak(budget) - peak(1_500_000) <= 1.1 * budget


def test_a_cache_by_bytes_reads_ahead_in_its_first_epoch():
    disk = Disk(2000, seconds=0.001)
    row = disk.read(np.arange(1)).nbytes
    disk.foreground.clear()
    source = disk >> CachingSource(max_bytes=1000 * row) >> ShufflerSource(0) >> BatchingSource(50)
    for batch in itertools.islice(source, 8):
        assert len(batch) == 50
        time.sleep(0.01)  # a training step
    assert len(disk.background) > len(disk.foreground)


def test_a_sampler_that_looks_ahead_announces_into_the_next_epoch():
    announced = []

    class Hears(Disk):
        def expect(self, rows, deadline):
            announced.append(rows.tolist())
            return rows

    def make() -> Source:
        return Hears(40) >> SamplerSource(seed=0, lookahead=2, batch_size=10)

    source = make()
    read = [numbers([batch]) for _ in range(3) for batch in source]
    assert [[row % 40 for row in rows] for rows in announced[: len(read)]] == read
    assert len(announced) == len(read) + 2
    assert [rows[0] // 40 for rows in announced] == [0] * 4 + [1] * 4 + [2] * 4 + [3] * 2
    # The next epoch of a source that was resumed at its start is the same.
    fresh = make()
    state = {**source.state_dict(), "epoch": 2, "position": None}
    fresh.load_state_dict(state, source.state_rows())
    assert [numbers([batch]) for batch in fresh] == read[8:]


def test_a_change_of_weights_between_epochs_keeps_what_was_announced():
    source = Disk(40) >> SamplerSource(seed=0, lookahead=2, batch_size=10)
    list(source)
    source.update(np.arange(40), np.arange(40) == 7)
    drawn = [numbers([batch]) for batch in source]
    assert set(drawn[0]) != {7} != set(drawn[1])
    assert set(drawn[2]) == set(drawn[3]) == {7}
