"""The data graph against the loop one would write by hand, and against its peers at their best."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

import grain
import numpy as np
import torch
from grain._src.python.experimental.index_shuffle.python import index_shuffle_module
from loaders import epochs, hit_rates, parquet_folder
from timing import describe_machine, options
from timing.rounds import interleaved, table
from torch.utils.data import DataLoader
from torchdata import nodes
from torchdata.stateful_dataloader import StatefulDataLoader

from fireworks import Message, Source
from fireworks.sources import (
    BatchingSource,
    CachingSource,
    MapSource,
    MessageSource,
    SamplerSource,
    ShufflerSource,
)
from fireworks.sources.permutation import KeyedPermutation

BATCH = 256
STAGES = 8


def main() -> None:
    short = options(__doc__ or "").short
    rounds = 5 if short else 7
    torch.set_num_threads(1)  # more only wait for each other on batches of this size
    packages = ("torch", "numpy", "pyarrow", "grain", "torchdata", "datasets", "tensordict")
    print(f"## Sources\n\n{describe_machine(*packages)},")
    print(f"one torch thread, {rounds} rounds.")
    shuffled_epoch(20_000 if short else 100_000, rounds)
    overhead(rounds)
    first_batch(rounds)
    state(rounds)
    order(10**6 if short else 10**8, rounds)
    reshuffled_hits(20_000 if short else 100_000)
    weighted_hits(20_000 if short else 100_000)
    parquet(400_000 if short else 5_000_000, 1 if short else 5)


def shuffled_epoch(num_rows: int, rounds: int) -> None:
    """Rows a second of a shuffled epoch in memory: shuffle, scale a column, batch."""
    ways = epochs(num_rows, BATCH)
    for way in ways.values():
        way()
    seconds = interleaved(ways, rounds)
    title = f"Shuffled epoch of {num_rows:,} rows of (f32[64], i64, f64, string), 3 stages"
    table(title, "rows/s", seconds, lambda spent: num_rows / spent)


class Same(Source):
    """A stage that does nothing."""

    def transform(self, message: Message) -> Message:
        """Return the rows as they are."""
        return message


class OneBatch(Source):
    """The same batch again and again, by index."""

    def __init__(self, batches: int) -> None:
        super().__init__()
        self.num_rows = batches * BATCH
        self.message = Message({"i": torch.arange(BATCH)})

    def read(self, rows: np.ndarray) -> Message:
        """Return the batch."""
        return self.message


class OneBatchStream(Source):
    """The same batch again and again, as a stream."""

    def __init__(self, batches: int) -> None:
        super().__init__()
        self.batches = batches
        self.message = Message({"i": torch.arange(BATCH)})

    def stream(self, start: object = None) -> Iterator[Message]:
        """Yield the batch."""
        for _ in range(self.batches):
            yield self.message


def overhead(rounds: int, batches: int = 2_000) -> None:
    """Microseconds that one more stage, which does nothing, costs each batch."""
    message = Message({"i": torch.arange(BATCH)})

    def same(each: object) -> object:
        return each

    def fireworks(stages: int, *, batched_first: bool) -> Source:
        source: Source = OneBatch(batches)
        if batched_first:
            source = source >> BatchingSource(BATCH)
        for _ in range(stages):
            source = source >> Same()
        return source if batched_first else source >> BatchingSource(BATCH)

    def stream(stages: int) -> Source:
        source: Source = OneBatchStream(batches)
        for _ in range(stages):
            source = source >> Same()
        return source

    def generators(stages: int) -> Iterator[object]:
        items: Iterator[object] = (message for _ in range(batches))
        for _ in range(stages):
            items = map(same, items)
        return items

    def torchdata_nodes(stages: int) -> nodes.Loader[object]:
        node: nodes.BaseNode[object] = nodes.IterableWrapper([message] * batches)
        for _ in range(stages):
            node = nodes.Mapper(node, same)
        return nodes.Loader(node)

    def grain_map(stages: int) -> object:
        items = grain.MapDataset.range(batches)  # it would take a Message apart
        for _ in range(stages):
            items = items.map(same)
        return items.to_iter_dataset(grain.ReadOptions(num_threads=0, prefetch_buffer_size=0))

    def timed(make: Callable[[int], object], stages: int) -> Callable[[], float]:
        def run() -> float:
            items = make(stages)
            start = time.perf_counter()
            for _ in items:  # type: ignore[attr-defined]
                pass
            return (time.perf_counter() - start) / batches

        return run

    makers: dict[str, Callable[[int], object]] = {
        "generators": generators,
        "Fireworks, stages before batching": lambda n: fireworks(n, batched_first=False),
        "Fireworks, stages after batching": lambda n: fireworks(n, batched_first=True),
        "Fireworks, a stream": stream,
        "torchdata.nodes": torchdata_nodes,
        "grain": grain_map,
    }
    counts = (1, 1 + STAGES)
    seconds = interleaved(
        {f"{name} {n}": timed(make, n) for name, make in makers.items() for n in counts}, rounds
    )
    print("\n### Overhead per batch and stage, synchronous\n")
    print("| way | of the fastest rounds µs | of the median rounds µs |\n|---|---:|---:|")
    for name in makers:
        few, many = (seconds[f"{name} {n}"] for n in counts)
        fastest, middle = ((of(many) - of(few)) / STAGES * 1e6 for of in (min, statistics.median))
        print(f"| {name} | {fastest:.2f} | {middle:.2f} |", flush=True)


class Disk(Source):
    """Rows that take a while to come, however many."""

    def __init__(self, num_rows: int, seconds: float) -> None:
        super().__init__()
        self.num_rows = num_rows
        self.seconds = seconds

    def read(self, rows: np.ndarray) -> Message:
        """Wait, and return the rows' numbers."""
        time.sleep(self.seconds)
        return Message({"i": torch.from_numpy(rows)})

    def __getitems__(self, rows: list[int]) -> Message:
        """The same for a DataLoader."""
        return self.read(np.array(rows))


def _as_it_is(batch: Message) -> Message:
    return batch


def first_batch(rounds: int, num_rows: int = 1_000_000, seconds: float = 0.02) -> None:
    """Milliseconds to the first batch, where one read takes 20."""
    disk = Disk(num_rows, seconds)
    kept: list[object] = []  # what is abandoned is tidied up afterwards

    def fireworks(cache: str | None) -> Callable[[], float]:
        def run() -> float:
            start = time.perf_counter()
            source: Source = Disk(num_rows, seconds)
            if cache is not None:
                source = source >> CachingSource(max_rows=num_rows // 10, policy=cache)
            batches = source >> ShufflerSource(0) >> BatchingSource(BATCH)
            next(iter(batches))
            spent = time.perf_counter() - start
            time.sleep(2 * seconds)  # what is being read ahead comes to its end
            return spent

        return run

    def loader(workers: int) -> Callable[[], float]:
        def run() -> float:
            start = time.perf_counter()
            batches = DataLoader(
                disk, BATCH, shuffle=True, collate_fn=_as_it_is, num_workers=workers
            )
            kept[:] = [iterator := iter(batches)]
            next(iterator)
            spent = time.perf_counter() - start
            kept.clear()
            return spent

        return run

    ways = {
        "one read": lambda: disk.read(np.arange(BATCH)) and None,
        "Fireworks": fireworks(None),
        "Fireworks with a cache": fireworks("keep"),
        "Fireworks with a forecasting cache": fireworks("forecast"),
        "torch DataLoader, no workers": loader(0),
        "torch DataLoader, 2 workers": loader(2),
    }
    title = f"Time to the first batch of {num_rows:,} shuffled rows, one read 20 ms"
    table(title, "ms", interleaved(ways, rounds), lambda spent: spent * 1e3)


def state(rounds: int, calls: int = 500) -> None:
    """Microseconds and bytes of the state in the middle of an epoch."""
    rows = Message({"x": torch.randn(100_000, 4)})
    graph = MessageSource(rows) >> CachingSource(max_rows=10_000) >> ShufflerSource(0)
    graph = graph >> MapSource({"x": _double}) >> BatchingSource(BATCH)
    batches = iter(graph)
    loader = StatefulDataLoader(range(100_000), BATCH, shuffle=True)
    loaded = iter(loader)
    for _ in range(10):
        next(batches), next(loaded)

    def times(take: Callable[[], object], calls: int) -> Callable[[], float]:
        def run() -> float:
            start = time.perf_counter()
            for _ in range(calls):
                take()
            return (time.perf_counter() - start) / calls

        return run

    ways = {
        "Fireworks": times(graph.state_dict, calls),
        "torchdata StatefulDataLoader": times(loader.state_dict, 20),
    }
    table(
        "state_dict in the middle of an epoch: memory, cache, shuffle, map, batch",
        "µs",
        interleaved(ways, rounds),
        lambda spent: spent * 1e6,
    )
    size = len(json.dumps(graph.state_dict()))
    other = len(json.dumps(loader.state_dict(), default=_as_list))
    print(f"\nAs JSON: Fireworks {size:,} bytes, StatefulDataLoader {other:,} bytes.")
    batches.close()


def _double(x: torch.Tensor) -> torch.Tensor:
    return x * 2


def _as_list(value: object) -> object:
    return value.tolist() if isinstance(value, torch.Tensor) else repr(value)


def order(num_rows: int, rounds: int, block: int = 4_096) -> None:
    """Nanoseconds an index of a shuffled order."""
    part = min(num_rows, 10**7)
    few = min(num_rows, 200_000)

    def keyed() -> float:
        permutation = KeyedPermutation(num_rows, [0])
        start = time.perf_counter()
        for first in range(0, part, block):
            permutation(np.arange(first, min(first + block, part)))
        return (time.perf_counter() - start) / part

    def randperm() -> float:
        start = time.perf_counter()
        torch.randperm(num_rows)
        return (time.perf_counter() - start) / num_rows

    def grain_shuffle() -> float:
        shuffle = index_shuffle_module.index_shuffle
        start = time.perf_counter()
        for index in range(few):
            shuffle(index=index, max_index=num_rows - 1, seed=0, rounds=4)
        return (time.perf_counter() - start) / few

    ways = {
        "torch.randperm, stored": randperm,
        f"Fireworks, in blocks of {block:,}": keyed,
        "grain index_shuffle, one by one": grain_shuffle,
    }
    seconds = interleaved(ways, min(rounds, 5))
    table(f"Shuffled order of {num_rows:,} rows", "ns", seconds, lambda spent: spent * 1e9)
    tracemalloc.start()
    keyed()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    print(f"\nPeak memory: Fireworks {peak / 2**20:.1f} MiB, randperm {num_rows / 2**17:,.0f} MiB.")


class Counted(Source):
    """Counts the rows that are read."""

    def __init__(self, num_rows: int) -> None:
        super().__init__()
        self.num_rows = num_rows
        self.rows_read = 0

    def read(self, rows: np.ndarray) -> Message:
        """Return the rows' numbers."""
        self.rows_read += len(rows)
        return Message({"i": rows})


def _hit_rate(top: Counted, batches: Source, epochs: int) -> float:
    asked = 0
    for _ in range(epochs):
        for batch in batches:
            asked += len(batch)
    return 1 - top.rows_read / asked


def reshuffled_hits(num_rows: int, epochs: int = 5) -> None:
    """Hit rates of a cache a tenth as large as the data, over reshuffled epochs."""
    rows = num_rows // 10
    shuffler = Counted(num_rows) >> ShufflerSource(0)
    asked = np.concatenate([shuffler.order(epoch) for epoch in range(epochs)])
    rates = _simulated(asked, rows)
    for policy in ("keep", "forecast", "lru"):
        top = Counted(num_rows)
        batches = top >> CachingSource(max_rows=rows, policy=policy) >> ShufflerSource(0)
        rates[f"Fireworks, {policy}"] = _hit_rate(top, batches >> BatchingSource(BATCH), epochs)
    title = f"Hit rate: {epochs} reshuffled epochs of {num_rows:,} rows, cache of {rows:,}"
    _print_rates(title, rates)


def weighted_hits(num_rows: int, epochs: int = 3) -> None:
    """Hit rates of a cache under weighted sampling."""
    rows = num_rows // 10
    steps = 6 * rows // BATCH
    for sigma in (1, 2):
        weights = np.exp(np.random.default_rng(0).normal(size=num_rows) * sigma)
        sampler = Counted(num_rows) >> SamplerSource(weights, seed=0)
        drawn = [sampler.rows_above(_epoch(num_rows, epoch))["input"] for epoch in range(epochs)]
        rates = _simulated(np.concatenate(drawn) % num_rows, rows)
        for policy in ("forecast", "lru"):
            top = Counted(num_rows)
            drawn_rows = top >> CachingSource(max_rows=rows, policy=policy)
            batches = drawn_rows >> SamplerSource(weights, seed=0) >> BatchingSource(BATCH)
            rates[f"Fireworks, {policy}"] = _hit_rate(top, batches, epochs)
        title = f"log-normal weights (sigma {sigma}), cache of {rows:,}, look-ahead of 6 caches"
        _print_rates(f"Hit rate: {epochs} x {num_rows:,} weighted draws, {title}", rates)

        top = Counted(num_rows)
        stream = (top >> CachingSource(max_rows=rows, policy="forecast")) >> SamplerSource(
            weights, seed=0, lookahead=steps, batch_size=BATCH, num_draws=epochs * num_rows
        )
        asked = np.concatenate([batch.array("i") for batch in stream])
        rates = _simulated(asked, rows)
        rates[f"Fireworks, forecast, SamplerSource(lookahead={steps})"] = 1 - top.rows_read / len(
            asked
        )
        _print_rates(f"The same as a stream of {len(asked):,} draws", rates)


def _epoch(num_rows: int, epoch: int) -> np.ndarray:
    return np.arange(epoch * num_rows, (epoch + 1) * num_rows)


def _simulated(asked: np.ndarray, rows: int) -> dict[str, float]:
    return {
        "Belady, simulated": hit_rates.belady(asked, rows),
        "never evict, simulated": hit_rates.never_evict(asked, rows),
        "LRU, simulated": hit_rates.lru(asked, rows),
    }


def _print_rates(title: str, rates: dict[str, float]) -> None:
    best = rates["Belady, simulated"]
    print(f"\n### {title}\n\n| way | hit rate | of Belady's |\n|---|---:|---:|")
    for name, rate in rates.items():
        print(f"| {name} | {rate:.4f} | {rate / best:.3f} |", flush=True)


def parquet(num_rows: int, rounds: int) -> None:
    """One globally shuffled epoch over a folder of Parquet files, a tenth of it in memory."""
    with tempfile.TemporaryDirectory(prefix="fireworks-bench-") as name:
        size = parquet_folder.write(Path(name), num_rows)
        peaks: dict[str, int] = {}

        def run(way: str, max_bytes: int) -> Callable[[], float]:
            def in_its_own_process() -> float:
                command = [sys.executable, parquet_folder.__file__, way, name, str(max_bytes)]
                done = subprocess.run(command, check=True, capture_output=True, text=True)
                report = json.loads(done.stdout)
                key = f"{way} {max_bytes}"
                peaks[key] = max(peaks.get(key, 0), report["peak"])
                return report["seconds"]

            return in_its_own_process

        tenth, default = size // 10, 512 * 2**20
        ways = {
            "sequential, in batches of 256": run("sequential", tenth),
            "decoding alone, pyarrow": run("decode", tenth),
            "shuffled, a tenth in memory": run("shuffled", tenth),
            "shuffled, 512 MiB in memory (the default)": run("shuffled", default),
        }
        seconds = interleaved(ways, rounds)
        title = f"One globally shuffled epoch of {num_rows:,} digits in Parquet, groups of 65,536"
        table(title, "s", seconds, lambda spent: spent)
        print(
            f"\nThe rows take {size / 2**20:,.0f} MiB, a tenth {tenth / 2**20:,.0f} MiB. Peak "
            "memory beyond the imports:\n"
        )
        for (way, _), peak in zip(ways.items(), peaks.values(), strict=True):
            print(f"- {way}: {peak / 2**20:,.0f} MiB")


if __name__ == "__main__":
    main()
