"""What a forked process does: one attempt at one trial, from its pipe to its result."""

from __future__ import annotations

import atexit
import logging
import multiprocessing.util
import os
import random
import select
import signal
import sys
import threading
import traceback
import weakref
from collections.abc import Mapping
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any, NoReturn, TextIO, cast

import numpy as np
import torch

from fireworks.factory import linux
from fireworks.factory.transport import load_function
from fireworks.factory.trial import Trial, TrialPruned
from fireworks.factory.wire import JSON, receive, send

_LONGEST_REASON = 2000


def run_attempt(files: list[int], *, stdout: str, stderr: str) -> NoReturn:
    """Run the attempt that the pipe describes, send what came of it, and end this process.

    Args:
        files: Descriptors of the pipe and, where ``train`` does not travel by name, of its pickle.
        stdout: File that takes over standard output.
        stderr: File that takes over standard error.
    """
    _redirect(1, sys.stdout, stdout)
    _redirect(2, sys.stderr, stderr)
    _forget_exit_handlers()
    connection = Connection(files[0])
    _end_with_parent(files[0])
    job = receive(connection)
    linux.name_process(f"trial-{job['trial']}")
    _set_threads(job["threads"])
    _set_seed(job["seed"])
    outcome = _outcome(job, connection, files[1] if len(files) > 1 else None)
    sys.stdout.flush()
    sys.stderr.flush()
    with suppress(OSError):  # a parent that is gone needs no answer
        send(connection, outcome)
    # Not sys.exit: the interpreter would first wait for threads that the user left running.
    _run_exit_handlers()
    os._exit(0)


def _outcome(job: JSON, connection: Connection, pickle: int | None) -> JSON:
    """What to send back: the result, that the trial was pruned, or why it failed."""
    try:
        train = load_function(job["train"], pickle)
        trial = Trial(job, connection)
        try:
            returned = train(trial)
        finally:
            trial.close()
        return {"end": "completed", "result": _numbers(returned, job["objective"])}
    except BaseException as error:  # SystemExit and KeyboardInterrupt end a trial, too
        if _is_pruned(error):
            return {"end": "pruned"}
        traceback.print_exc()
        return {"end": "failed", "reason": _reason(error)}


def _numbers(returned: object, objective: str) -> dict[str, float]:
    """The numbers of what ``train`` returned.

    Raises:
        TypeError: It returned no mapping, or the objective is no number.
    """
    if not isinstance(returned, Mapping):
        shown = repr(returned)
        shown = shown if len(shown) <= 60 else f"{shown[:57]}..."
        raise TypeError(
            f"train must return a dict of metrics such as {{{objective!r}: 0.9}}, "
            f"not {shown} ({type(returned).__name__})"
        )
    result: dict[str, float] = {}
    for name, value in cast("Mapping[object, Any]", returned).items():
        try:
            result[str(name)] = float(value)
        except (TypeError, ValueError, RuntimeError):  # what a tensor of many elements raises
            if name == objective:
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


# There is no public way to tell the handlers that were registered before a fork from those after.
# pyright: reportPrivateUsage=false, reportAttributeAccessIssue=false


def _forget_exit_handlers() -> None:
    """Leave to the fork server what the fork server is to do when it ends."""
    atexit._clear()
    weakref.finalize._registry.clear()
    weakref.finalize._registered_with_atexit = False
    multiprocessing.util._finalizer_registry.clear()


def _run_exit_handlers() -> None:
    """Do what the user's libraries want done at the end: close event files, remove folders."""
    logging.shutdown()
    with suppress(Exception):
        multiprocessing.util._exit_function()
        atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()


def _redirect(descriptor: int, stream: TextIO, path: str) -> None:
    opened = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(opened, descriptor)
    os.close(opened)
    # By line, so that what was printed is there after a crash.
    stream.reconfigure(line_buffering=True)  # pyright: ignore[reportAttributeAccessIssue]


def _end_with_parent(pipe: int) -> None:
    """Kill this process's group as soon as the other end of the pipe is closed.

    The kernel's signal for the fork server's death ends this process alone; this ends what it has
    started, too (a DataLoader's workers).
    """

    def watch() -> None:
        poll = select.poll()
        poll.register(pipe, select.POLLRDHUP)
        poll.poll()
        os.killpg(0, signal.SIGKILL)

    threading.Thread(target=watch, name="fireworks-parent", daemon=True).start()


def _set_threads(number: int) -> None:
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = str(number)  # for the programs that the trial starts
    torch.set_num_threads(number)


def _set_seed(seed: int) -> None:
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
