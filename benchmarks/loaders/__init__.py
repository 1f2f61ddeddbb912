"""The same shuffled epoch with every loader, each in its best form.

All do the same work on the same columns: draw an order, pick rows of every column batch by batch
(the strings as Arrow strings), scale ``x``, and touch each column of the result. What a loader
cannot hold (tensordict: strings) is done by hand beside it; a line of its own shows the loader
without them, which is less work than the others do. Where a loader takes a function that picks
rows, it is the one written by hand. Grain shuffles row numbers one by one; its fastest form leaves
that to numpy and maps numbers of batches.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterable
from typing import Any

logging.getLogger("absl").setLevel(logging.ERROR)  # grain says at import that jax is not there
# Before 1.0, torchdata announces that it is in maintenance.
warnings.filterwarnings("ignore", module="torchdata")

import datasets  # noqa: E402
import grain  # noqa: E402
import numpy as np  # noqa: E402
import pyarrow as pa  # noqa: E402
import torch  # noqa: E402
from tensordict import TensorDict  # noqa: E402
from torch.utils.data import BatchSampler, DataLoader, RandomSampler  # noqa: E402
from torchdata import nodes  # noqa: E402

from fireworks import Message  # noqa: E402
from fireworks.sources import (  # noqa: E402
    BatchingSource,
    MapSource,
    MessageSource,
    ShufflerSource,
)

Batch = dict[str, Any]
SCALE = 2.0

_NO_THREADS = grain.ReadOptions(num_threads=0, prefetch_buffer_size=0)
"""Rows in memory: with grain's 16 reading threads the same takes five times as long."""


class Rows:
    """Columns in memory, and rows of them picked by hand; the middle stage scales ``x``.

    Args:
        num_rows: How many rows.
        batch: Rows in a batch.
    """

    def __init__(self, num_rows: int, batch: int) -> None:
        self.num_rows, self.batch = num_rows, batch
        self.x = torch.randn(num_rows, 64)
        self.label = torch.arange(num_rows)
        self.weight = np.random.default_rng(0).normal(size=num_rows)
        self.name = pa.array([f"name {k}" for k in range(num_rows)], pa.large_string())
        self.names = self.name.to_pylist()

    def gather(self, rows: Any) -> Batch:
        """Pick rows: what one writes by hand."""
        rows = np.asarray(rows)
        index = torch.from_numpy(rows)
        return {
            "x": self.x.index_select(0, index),
            "label": self.label.index_select(0, index),
            "weight": self.weight.take(rows),
            "name": self.name.take(pa.array(rows)),
        }

    def __len__(self) -> int:
        return self.num_rows

    def __getitem__(self, row: int) -> Batch:
        return {
            "x": self.x[row] * SCALE,
            "label": self.label[row],
            "weight": self.weight[row],
            "name": self.names[row],
        }


class BatchRows(Rows):
    """The same, asked for a batch at a time by a DataLoader."""

    def __getitems__(self, rows: list[int]) -> Batch:
        return scaled(self.gather(rows))


class NumpyRows(Rows):
    """One row at a time in numpy, as grain wants it."""

    def __getitem__(self, row: int) -> Batch:
        return {
            "x": self.x.numpy()[row],
            "label": self.label.numpy()[row],
            "weight": self.weight[row],
            "name": self.names[row],
        }


def scaled(batch: Batch) -> Batch:
    """Do the middle stage."""
    batch["x"] = batch["x"] * SCALE
    return batch


def _same(batch: Batch) -> Batch:
    return batch


def epochs(num_rows: int, batch: int) -> dict[str, Callable[[], object]]:
    """Return what runs one shuffled epoch, for each way."""
    rows, batched, single = (kind(num_rows, batch) for kind in (Rows, BatchRows, NumpyRows))
    epoch = iter(range(1_000_000))

    def by_hand() -> None:
        order = np.random.default_rng(next(epoch)).permutation(num_rows)
        for start in range(0, num_rows, batch):
            _use(scaled(rows.gather(order[start : start + batch])))

    ways: dict[str, Callable[[], object]] = {"by hand": by_hand}
    ways["Fireworks"] = _fireworks(rows)
    each = DataLoader(rows, batch, shuffle=True)
    together = DataLoader(batched, batch, shuffle=True, collate_fn=_same)
    workers = DataLoader(batched, batch, shuffle=True, collate_fn=_same, num_workers=2)
    ways["torch DataLoader, __getitems__"] = lambda: _run(together)
    ways["torch DataLoader, __getitems__, 2 workers"] = lambda: _run(workers)
    ways["torch DataLoader, per sample"] = lambda: _run(each)

    def grain_batches() -> None:
        order = grain.MapDataset.range(num_rows).shuffle(seed=next(epoch))
        _run(order.batch(batch, batch_fn=rows.gather).map(scaled).to_iter_dataset(_NO_THREADS))

    def grain_rows() -> None:
        picked = grain.MapDataset.source(single).shuffle(seed=next(epoch))
        _run(picked.map(scaled).batch(batch).to_iter_dataset(_NO_THREADS))

    def grain_numbers() -> None:
        order = np.random.default_rng(next(epoch)).permutation(num_rows)
        starts = grain.MapDataset.range(0, num_rows, batch)
        picked = starts.map(lambda start: rows.gather(order[start : start + batch]))
        _run(picked.map(scaled).to_iter_dataset(_NO_THREADS))

    ways["grain, batch-native: batches of an order drawn by numpy"] = grain_numbers
    ways["grain, batch-native: its own shuffle"] = grain_batches
    ways["grain, per row"] = grain_rows

    def torchdata_nodes() -> None:
        sampler = BatchSampler(RandomSampler(range(num_rows)), batch, drop_last=False)
        picked = nodes.Mapper(nodes.SamplerWrapper(sampler), rows.gather)
        _run(nodes.Loader(nodes.Mapper(picked, scaled)))

    ways["torchdata.nodes, batch-native"] = torchdata_nodes
    ways["Hugging Face datasets, torch format"] = _hugging_face(rows)
    tensors = TensorDict(
        {"x": rows.x, "label": rows.label, "weight": torch.from_numpy(rows.weight)}, [num_rows]
    )

    def tensordict(strings: bool) -> None:
        order = torch.randperm(num_rows)
        for start in range(0, num_rows, batch):
            chosen = order[start : start + batch]
            picked = tensors[chosen]
            picked["x"] = picked["x"] * SCALE
            if strings:
                rows.name.take(pa.array(chosen.numpy()))

    ways["tensordict, the strings by hand"] = lambda: tensordict(True)
    ways["tensordict, without the strings (less work)"] = lambda: tensordict(False)
    return ways


def _fireworks(rows: Rows) -> Callable[[], object]:
    message = Message({"x": rows.x, "label": rows.label, "weight": rows.weight, "name": rows.name})
    batches = MessageSource(message) >> ShufflerSource(0) >> MapSource({"x": lambda x: x * SCALE})
    batches = batches >> BatchingSource(rows.batch)

    def run() -> None:
        for batch in batches:
            array = batch.array
            array("x"), array("label"), array("weight"), array("name")

    return run


def _hugging_face(rows: Rows) -> Callable[[], object]:
    x = pa.FixedSizeListArray.from_arrays(pa.array(rows.x.numpy().ravel()), 64)
    columns = {"x": x, "label": rows.label.numpy(), "weight": rows.weight, "name": rows.name}
    data = datasets.Dataset(pa.table(columns)).with_format("torch")

    def run() -> None:
        order = np.random.default_rng(0).permutation(rows.num_rows)
        for start in range(0, rows.num_rows, rows.batch):
            scaled(data[order[start : start + rows.batch]])

    return run


def _use(batch: Batch) -> None:
    _ = batch["x"], batch["label"], batch["weight"], batch["name"]


def _run(batches: Iterable[Batch]) -> None:
    for batch in batches:
        _use(batch)
