"""Which trial is the best, and whether a metric is better high or low."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from fireworks.record.json_values import decode
from fireworks.record.store import Connection

_LOWER_IS_BETTER = re.compile(
    r"(^|[/_.\-\s])(loss|error|err|mse|rmse|mae|mape|nll|perplexity|ppl|regret|latency)"
    r"($|[/_.\-\s\d])",
    re.IGNORECASE,
)


def lower_is_better(name: str, objective: Sequence[Sequence[str]] = ()) -> bool:
    """Whether less of a metric is better.

    The sweep's objective says so where it names the metric, also as the last part of a path
    (``accuracy`` of ``valid/accuracy``); else its name tells: losses, errors and the like.
    """
    for sought, direction in objective:
        if name == sought or name.endswith(f"/{sought}"):
            return direction == "minimize"
    return _LOWER_IS_BETTER.search(name) is not None


def rank(result: Mapping[str, Any] | None, objective: Sequence[Sequence[str]]) -> tuple[float, ...]:
    """A key by which results sort best first; NaN and what is missing come last."""
    key: list[float] = []
    for name, direction in objective:
        value = (result or {}).get(name)
        if not isinstance(value, int | float) or math.isnan(value):
            key += (1.0, 0.0)
        else:
            key += (0.0, float(value) if direction == "minimize" else -float(value))
    return tuple(key)


def best_trial(connection: Connection, objective: Sequence[Sequence[str]]) -> dict[str, Any] | None:
    """The number, parameters and result of the best completed trial; None where none is."""
    if not objective:
        return None
    best: tuple[tuple[float, ...], int, dict[str, Any]] | None = None
    rows = connection.execute(
        "SELECT number, result FROM trials WHERE state = 'completed' AND result IS NOT NULL"
    )
    for number, text in rows:
        result = decode(text)
        candidate = (rank(result, objective), number, result)
        if best is None or candidate[:2] < best[:2]:
            best = candidate
    if best is None:
        return None
    return {"trial": best[1], "params": read_params(connection, best[1]), "result": best[2]}


def read_params(connection: Connection, trial: int) -> dict[str, Any]:
    """The parameters of a trial, or of the run itself (-1), by name."""
    rows = connection.execute(
        "SELECT name, value FROM params WHERE trial = ? ORDER BY name", (trial,)
    )
    return {name: decode(value) for name, value in rows}
