"""A folder of Parquet files made from scikit-learn's digits, and an epoch over it.

Run as a script in a process of its own, so that its peak of memory is that of one way alone.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
import torch

GROUP = 65_536
GROUPS_PER_FILE = 10
BATCH = 256


def write(folder: Path, num_rows: int) -> int:
    """Write the digits over and over, with noise; return the bytes that the rows take in memory."""
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    generator = np.random.default_rng(0)
    per_file = GROUP * GROUPS_PER_FILE
    for number, start in enumerate(range(0, num_rows, per_file)):
        writer = None
        stop = min(start + per_file, num_rows)
        for first in range(start, stop, GROUP):
            rows = np.arange(first, min(first + GROUP, stop))
            digits = rows % len(images)
            noise = generator.normal(size=(len(rows), 64))
            pixels = (images[digits] + noise).astype(np.float32)
            image = pa.FixedSizeListArray.from_arrays(pa.array(pixels.ravel()), 64)
            table = pa.table({"image": image, "label": labels[digits], "row": rows})
            if writer is None:
                writer = parquet.ParquetWriter(folder / f"part-{number:03d}.parquet", table.schema)
            writer.write_table(table, row_group_size=GROUP)
        assert writer is not None
        writer.close()
    return num_rows * (64 * 4 + 8 + 8)


def decode(folder: Path, max_bytes: int) -> None:
    """Decode every group with pyarrow, and do nothing with it."""
    for path in sorted(folder.iterdir()):
        with parquet.ParquetFile(path) as file:
            for group in range(file.num_row_groups):
                file.read_row_group(group)


def sequential(folder: Path, max_bytes: int) -> None:
    """Read in order, in batches."""
    from fireworks.sources import BatchingSource, ParquetSource

    _check(ParquetSource(str(folder)) >> BatchingSource(BATCH))


def shuffled(folder: Path, max_bytes: int) -> None:
    """Read one globally shuffled epoch, in batches."""
    from fireworks.sources import BatchingSource, ParquetSource, ShufflerSource

    source = ParquetSource(str(folder), max_bytes=max_bytes)
    _check(source >> ShufflerSource(0) >> BatchingSource(BATCH))


def _check(batches: object) -> None:
    """Use up the batches; every row must have come once."""
    count = total = 0
    for batch in batches:  # type: ignore[attr-defined]
        rows = batch.array("row")
        count += len(rows)
        total += int(rows.sum())
    assert count == batches.num_rows, count  # type: ignore[attr-defined]
    assert total == count * (count - 1) // 2, "a row is missing or came twice"


WAYS: dict[str, Callable[[Path, int], None]] = {
    "decode": decode,
    "sequential": sequential,
    "shuffled": shuffled,
}


def _memory(what: str) -> int:
    """Return bytes that the system has counted for this process."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(what):
            return int(line.split()[1]) * 1024
    raise ValueError(what)


if __name__ == "__main__":
    torch.set_num_threads(1)
    way, folder, max_bytes = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    import fireworks.sources  # noqa: F401  (its import is not what is measured)

    before = _memory("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # forgets the peak so far, the parent's included
    began = time.perf_counter()
    WAYS[way](folder, max_bytes)
    seconds = time.perf_counter() - began
    print(json.dumps({"seconds": seconds, "peak": _memory("VmHWM") - before}))
