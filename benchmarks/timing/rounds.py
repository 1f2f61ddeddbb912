"""Seconds of several ways, in turn: for what is too long to be called many times."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable


def interleaved(ways: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Run every way once a round; a way may return its own seconds, as a float.

    Returns:
        The seconds of each round, for each way.
    """
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            gc.collect()
            gc.disable()
            try:
                start = time.perf_counter()
                own = way()
                spent = time.perf_counter() - start
            finally:
                gc.enable()
            seconds[name].append(own if isinstance(own, float) else spent)
    return seconds


def table(
    title: str, unit: str, seconds: dict[str, list[float]], value: Callable[[float], float]
) -> None:
    """Print the best and the median round of each way in a unit, and the ratio of times.

    Args:
        title: Of the table.
        unit: Of the values.
        seconds: What `interleaved` returned; the first way is what the others are compared with.
        value: Makes a value of seconds.
    """
    reference = seconds[next(iter(seconds))]
    print(f"\n### {title}\n")
    print(f"| way | best {unit} | median {unit} | time to the first's, fastest | median |")
    print("|---|---:|---:|---:|---:|")
    for name, own in seconds.items():
        median = statistics.median(own)
        ratio = statistics.median(a / b for a, b in zip(own, reference, strict=True))
        print(
            f"| {name} | {_shown(value(min(own)))} | {_shown(value(median))} | "
            f"{min(own) / min(reference):.2f} | {ratio:.2f} |",
            flush=True,
        )


def _shown(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:,.2f}"
