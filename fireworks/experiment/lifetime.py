"""Ends of a process and forks, as open experiments live through them."""

from __future__ import annotations

import atexit
import contextlib
import os
import sys
import weakref
from typing import Protocol


class Open(Protocol):
    """What is told of ends and forks."""

    def close(self, status: str = ...) -> None:
        """End it with a status."""
        ...

    def forked(self) -> None:
        """Go on in a forked child."""
        ...


_open: weakref.WeakSet[Open] = weakref.WeakSet()


def opened(experiment: Open) -> None:
    """Close it when the interpreter exits, unless it is closed before."""
    _open.add(experiment)


def closed(experiment: Open) -> None:
    """It needs nothing more."""
    _open.discard(experiment)


def status_after(error: BaseException | None) -> str:
    """The status of a run that an exception ended; None: that nothing ended but itself."""
    if error is None or (isinstance(error, SystemExit) and error.code in (None, 0)):
        return "completed"
    return "stopped" if isinstance(error, KeyboardInterrupt) else "failed"


def _close_all() -> None:
    # The interpreter keeps the exception that ends a script here, before it runs this.
    status = status_after(getattr(sys, "last_value", None))
    with contextlib.ExitStack() as stack:  # one that cannot be closed does not keep the others
        for experiment in list(_open):
            stack.callback(experiment.close, status)


def _after_fork() -> None:
    for experiment in list(_open):
        experiment.forked()


atexit.register(_close_all)
os.register_at_fork(after_in_child=_after_fork)
