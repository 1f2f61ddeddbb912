"""Ends of a process and forks, as open experiments live through them."""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import sys
import weakref
from multiprocessing import util
from typing import Protocol


class Open(Protocol):
    """What is told of ends and forks."""

    def close(self, status: str = ...) -> None:
        """End it with a status."""
        ...

    def before_fork(self) -> None:
        """Prepare for a fork."""
        ...

    def after_fork(self) -> None:
        """Go on in the process that has forked."""
        ...

    def after_fork_in_child(self) -> None:
        """Go on in the child."""
        ...


# What a process ends with that was asked to: after a checkpoint, and by a shell's convention.
_ASKED_TO_END = (os.EX_TEMPFAIL, 128 + signal.SIGINT, 128 + signal.SIGTERM)
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
    asked = isinstance(error, SystemExit) and error.code in _ASKED_TO_END
    return "stopped" if asked or isinstance(error, KeyboardInterrupt) else "failed"


def _close_all() -> None:
    # A script's exception is kept by the interpreter; that of a multiprocessing child is on its
    # way out while this runs.
    status = status_after(sys.exc_info()[1] or getattr(sys, "last_value", None))
    with contextlib.ExitStack() as stack:  # one that cannot be closed does not keep the others
        for experiment in list(_open):
            stack.callback(experiment.close, status)


_forking: list[Open] = []


def _before_fork() -> None:
    _forking[:] = _open
    for experiment in _forking:
        experiment.before_fork()


def _after_fork() -> None:
    for experiment in _forking:
        experiment.after_fork()
    _forking.clear()


def _after_fork_in_child() -> None:
    for experiment in _forking:
        experiment.after_fork_in_child()
    _forking.clear()


def _in_new_process(_: object) -> None:
    util.Finalize(None, _close_all, exitpriority=10)


atexit.register(_close_all)
os.register_at_fork(
    before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork_in_child
)
# A child of multiprocessing ends without running atexit, and with its own finalizers only.
util.register_after_fork(_in_new_process, _in_new_process)
