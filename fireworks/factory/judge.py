"""What the end of an attempt's process means for its trial."""

from __future__ import annotations

import math
import signal
from dataclasses import dataclass
from typing import Any

from fireworks.errors import suggest
from fireworks.factory.backend import Ended
from fireworks.factory.goal import Goal
from fireworks.factory.records import State
from fireworks.factory.wire import JSON


@dataclass(frozen=True)
class Verdict:
    """How an attempt ended.

    Attributes:
        state: What the attempt, and its trial where there is no retry, ends as.
        result: What ``train`` returned, where it is good for something.
        reason: Why it did not complete, in one line.
        misnamed: Whether ``train`` returned all but the objective, or wanted a parameter that is
            not proposed: others will fail alike.
    """

    state: State
    result: dict[str, float] | None = None
    reason: str | None = None
    misnamed: bool = False


def judge(last_words: JSON | None, end: Ended, goal: Goal) -> Verdict:
    """Work out how an attempt ended.

    Args:
        last_words: The message with the outcome of ``train``; None where none came.
        end: How its process ended.
        goal: What must be in the result.
    """
    if last_words is None:
        return Verdict("failed", reason=_how_it_died(end))
    if last_words["end"] in ("pruned", "paused"):
        return Verdict(last_words["end"])
    if last_words["end"] == "failed":
        return Verdict(
            "failed", reason=last_words["reason"], misnamed=last_words.get("misnamed", False)
        )
    return _judge_result(last_words["result"], goal)


def _judge_result(result: dict[str, Any], goal: Goal) -> Verdict:
    for metric in goal.metrics:
        if metric not in result:
            returned = ", ".join(repr(name) for name in result) or "an empty dict"
            hint = suggest(metric, result) if len(result) > 1 else ""
            reason = f"train returned no {metric!r}; it returned {returned}.{hint}"
            return Verdict("failed", result, reason, misnamed=True)
        if not math.isfinite(result[metric]):
            return Verdict("failed", result, f"{metric!r} is {result[metric]}, which is not finite")
    return Verdict("completed", result)


def _how_it_died(end: Ended) -> str:
    if end.lost is not None:
        return end.lost
    if end.signal is not None:
        try:
            name = signal.Signals(end.signal).name
        except ValueError:  # a real-time signal
            name = "unnamed"
        hint = " (out of memory, or killed by hand)" if end.signal == signal.SIGKILL else ""
        return f"killed by signal {end.signal} ({name}){hint} before train returned"
    return f"its process ended with exit code {end.exit_code} before train returned"
