"""Measure several ways of doing the same work, in turn, and report ratios to the first.

Every round runs every way once over the same inputs, so that a busy moment of the machine meets all
of them; what is reported is the fastest and the median round.
"""

from __future__ import annotations

import argparse
import gc
import os
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any


def options(description: str) -> argparse.Namespace:
    """Read the command line: ``--short`` for a quick look."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--short", action="store_true", help="a quick look, less exact")
    return parser.parse_args()


def describe_machine(*packages: str) -> str:
    """Processor, memory, Python and the versions of packages, in one line."""
    model = platform.processor()
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    versions = ", ".join(f"{name} {version(name)}" for name in packages)
    return (
        f"{model}, {os.cpu_count()} cores, {memory:.0f} GiB, {platform.system()}, "
        f"Python {platform.python_version()}, {versions}"
    )


def compare(
    title: str,
    ways: dict[str, Callable[[Any], object]],
    inputs: Sequence[Any] = (None,),
    *,
    rounds: int,
    seconds: float = 0.05,
) -> dict[str, float]:
    """Run each way over the inputs and print a table, in microseconds a call.

    Args:
        title: Of the table.
        ways: By name; the first is what the others are compared with.
        inputs: Given to each way in turn.
        rounds: How often each way is measured.
        seconds: How long a measurement takes, about.

    Returns:
        The median of each way's ratio to the first, round by round.
    """
    calls = {name: _calls(way, inputs, seconds) for name, way in ways.items()}
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            times[name].append(_measure(way, inputs, calls[name]))
    reference = times[next(iter(ways))]
    ratios = {
        name: statistics.median(a / b for a, b in zip(own, reference, strict=True))
        for name, own in times.items()
    }
    print(f"\n### {title}\n")
    print("| way | fastest µs | median µs | median ratio |\n|---|---:|---:|---:|")
    for name, own in times.items():
        print(
            f"| {name} | {min(own) * 1e6:,.1f} | {statistics.median(own) * 1e6:,.1f} | "
            f"{ratios[name]:.2f} |",
            flush=True,
        )
    return ratios


def _calls(way: Callable[[Any], object], inputs: Sequence[Any], seconds: float) -> int:
    """How many passes over the inputs take about so long."""
    once = _measure(way, inputs, 1) * len(inputs)
    once = min(once, _measure(way, inputs, 1) * len(inputs))
    return max(1, int(seconds / once))


def _measure(way: Callable[[Any], object], inputs: Sequence[Any], passes: int) -> float:
    gc.collect()
    gc.disable()
    try:
        start = time.perf_counter()
        for _ in range(passes):
            for each in inputs:
                way(each)
        return (time.perf_counter() - start) / (passes * len(inputs))
    finally:
        gc.enable()
