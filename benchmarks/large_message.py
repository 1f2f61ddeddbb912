"""Ten million rows: time and peak memory of a Message against numpy, torch and Arrow by hand.

Each way runs in a process of its own, so that its peak memory is its own.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from timing import describe_machine, options

from fireworks import Message

STEPS = ("build", "gather", "sort", "save", "load")


def columns(rows: int) -> tuple[torch.Tensor, torch.Tensor, np.ndarray, pa.Array]:
    generator = np.random.default_rng(0)
    x = torch.from_numpy(generator.random((rows, 4), np.float32))
    i = torch.arange(rows)
    f = generator.random(rows)
    names = pa.array([f"name {k}" for k in range(1000)], pa.large_string())
    return x, i, f, names.take(pa.array(generator.integers(0, 1000, rows)))


def take(data: dict[str, Any], numbers: np.ndarray) -> dict[str, object]:
    index = torch.from_numpy(numbers)
    return {
        "x": data["x"].index_select(0, index),
        "i": data["i"].index_select(0, index),
        "f": data["f"].take(numbers),
        "s": data["s"].take(pa.array(numbers)),
    }


def by_hand(rows: int, step: Callable[[str], None], path: Path) -> None:
    x, i, f, s = columns(rows)
    chosen = np.random.default_rng(1).integers(0, rows, rows // 10)
    step("start")
    data = {"x": x, "i": i, "f": f, "s": s}
    step("build")

    part = take(data, chosen)
    step("gather")
    part = take(data, np.argsort(f, kind="stable"))
    step("sort")
    del part
    flat = pa.array(x.reshape(-1).numpy())
    table = pa.table(
        {
            "x": pa.FixedSizeListArray.from_arrays(flat, 4),
            "i": pa.array(i.numpy()),
            "f": pa.array(f),
            "s": s,
        }
    )
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    with path.open("rb+") as file:
        os.fsync(file.fileno())
    path.rename(path.with_suffix(".done")).rename(path)
    step("save")
    del table, flat, data, x, i, f, s
    step("clear")
    with pa.OSFile(str(path)) as source, pa.ipc.open_file(source) as reader:
        table = reader.read_all()
    loaded = {
        "x": table["x"].combine_chunks().flatten().to_numpy().reshape(rows, 4),
        "i": table["i"].to_numpy(),
        "f": table["f"].to_numpy(),
        "s": table["s"],
    }
    step("load")
    assert len(loaded["i"]) == rows


def by_message(rows: int, step: Callable[[str], None], path: Path) -> None:
    x, i, f, s = columns(rows)
    chosen = np.random.default_rng(1).integers(0, rows, rows // 10)
    step("start")
    message = Message({"x": x, "i": i, "f": f, "s": s})
    step("build")
    part = message[chosen]
    part.array("s")
    step("gather")
    part = message.sort("f")
    part.array("s")
    step("sort")
    del part
    message.save(path)
    step("save")
    del message, x, i, f, s
    step("clear")
    loaded = Message.load(path)
    step("load")
    assert len(loaded) == rows


def run(way: str, rows: int) -> dict[str, float]:
    """Seconds of each step, and the peak of memory in MB, in this process."""
    times: dict[str, float] = {}
    last = time.perf_counter()

    def step(name: str) -> None:
        nonlocal last
        now = time.perf_counter()
        times[name] = now - last
        last = time.perf_counter()

    with tempfile.TemporaryDirectory() as folder:
        {"by hand": by_hand, "Message": by_message}[way](rows, step, Path(folder) / "rows.arrow")
    times["peak MB"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return times


def main() -> None:
    arguments = options(__doc__ or "")
    rows, rounds = (1_000_000, 3) if arguments.short else (10_000_000, 5)
    print(f"## {rows:,} rows of (f32[4], i64, f64, string)\n")
    print(f"{describe_machine('torch', 'numpy', 'pyarrow')}, {rounds} processes each.\n")
    print("Gather takes a tenth of the rows; strings are decoded in gather and sort;")
    print("both sort stably, and both save durably (fsync) and by renaming.\n")
    found: dict[str, list[dict[str, float]]] = {"by hand": [], "Message": []}
    for _ in range(rounds):
        for way, results in found.items():
            command = [sys.executable, __file__, "--run", way, str(rows)]
            output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            results.append(json.loads(output))
    print("| step | by hand | Message | median ratio |\n|---|---:|---:|---:|")
    for name in (*STEPS, "peak MB"):
        hand, ours = ([each[name] for each in results] for results in found.values())
        ratio = median(b / a for a, b in zip(hand, ours, strict=True))
        unit = "" if name == "peak MB" else " s"
        digits = 0 if name == "peak MB" else 4
        print(
            f"| {name} | {median(hand):,.{digits}f}{unit} | {median(ours):,.{digits}f}{unit} | "
            f"{ratio:.2f} |"
        )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--run"]:
        print(json.dumps(run(sys.argv[2], int(sys.argv[3]))))
    else:
        main()
