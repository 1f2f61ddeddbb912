"""What came of a call of ``train``, as the message that the sweep is told."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable, Mapping
from typing import Any, cast

from fireworks.errors import ParameterNotFound
from fireworks.factory.trial import Trial, TrialPaused, TrialPruned
from fireworks.factory.wire import JSON

_LONGEST_REASON = 2000


def run_train(load: Callable[[], Callable[..., Any]], trial: Trial, job: JSON) -> JSON:
    """Call ``train`` and say what came of it.

    Args:
        load: Returns ``train``; what it raises is a failure of the trial.
        trial: What ``train`` is called with; closed afterwards.
        job: The description of the attempt.

    Returns:
        ``{"end": "completed", "result": …}``, ``{"end": "failed", "reason": …, "misnamed": …}``,
        ``{"end": "pruned"}`` or ``{"end": "paused"}``.
    """
    try:
        train = load()
        try:
            returned = train(trial)
        finally:
            trial.close()
        return {"end": "completed", "result": _numbers(returned, job["objective"])}
    except BaseException as error:  # SystemExit and KeyboardInterrupt end a trial, too
        if _is_pruned(error):
            return {"end": "pruned"}
        if isinstance(error, TrialPaused):
            return {"end": "paused"}
        traceback.print_exc()
        reason = _reason(error)
        if job.get("memory") is not None and _is_refused_memory(error):
            reason = f"over its memory limit of {job['memory'] / 1e6:,.0f} MB: {reason}"
        return {
            "end": "failed",
            "reason": reason,
            "misnamed": isinstance(error, ParameterNotFound),
        }


def _is_refused_memory(error: BaseException) -> bool:
    # What torch's allocator for the CPU raises.
    return isinstance(error, MemoryError) or "can't allocate memory" in str(error)


def _numbers(returned: object, objective: str | list[str]) -> dict[str, float]:
    """The numbers of what ``train`` returned.

    Raises:
        TypeError: It returned no mapping, or the objective is no number.
    """
    sought = [objective] if isinstance(objective, str) else objective
    if not isinstance(returned, Mapping):
        shown = repr(returned)
        shown = shown if len(shown) <= 60 else f"{shown[:57]}..."
        raise TypeError(
            f"train must return a dict of metrics such as {{{sought[0]!r}: 0.9}}, "
            f"not {shown} ({type(returned).__name__})"
        )
    result: dict[str, float] = {}
    for name, value in cast("Mapping[object, Any]", returned).items():
        try:
            result[str(name)] = float(value)
        except (TypeError, ValueError, RuntimeError):  # what a tensor of many elements raises
            if name in sought:
                raise TypeError(
                    f"the metric {name!r} that train returned is no number: {value!r}"
                ) from None
            print(
                f"fireworks: {name!r} is no number ({type(value).__name__}): not in the result",
                file=sys.stderr,
            )
    return result


def _is_pruned(error: BaseException) -> bool:
    optuna = sys.modules.get("optuna")
    return isinstance(error, TrialPruned) or (
        optuna is not None and isinstance(error, optuna.TrialPruned)
    )


def _reason(error: BaseException) -> str:
    described = traceback.TracebackException(type(error), error, None)
    described.__notes__ = None  # they would follow the line that says what happened
    lines = list(described.format_exception_only())
    return lines[-1].strip()[:_LONGEST_REASON] if lines else type(error).__name__
