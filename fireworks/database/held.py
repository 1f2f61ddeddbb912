"""Connections that stay open as long as a run reads or writes."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Generator
from contextlib import AbstractContextManager, contextmanager

import sqlalchemy as sa

from fireworks.database.retrying import Attempts
from fireworks.source import Run

_Open = tuple[AbstractContextManager[sa.Connection], sa.Connection]


class HeldConnections:
    """Opening a connection takes longer than reading a batch: one is opened for each thread of a
    run, and closed at its end. Outside of runs every use opens one and closes it.

    Args:
        autocommit: Whether every statement on them is a transaction of its own.
    """  # noqa: D205

    def __init__(self, *, autocommit: bool = True) -> None:
        self._autocommit = autocommit
        self._lock = threading.Lock()
        self._idle: list[_Open] = []
        self._runs = 0
        self._process = os.getpid()
        self._of_parent: list[_Open] = []

    def hold(self, run: Run) -> None:
        """Keep connections open until a run ends, or nobody holds it any more."""
        with self._lock:
            self._runs += 1
        release = weakref.finalize(run, self._release)
        run.at_end(release)

    @contextmanager
    def use(self, attempts: Attempts) -> Generator[sa.Connection]:
        """Lend a connection; transactions begun on it are to have ended before it is given back.

        Args:
            attempts: Opens one where none is idle.
        """
        with self._lock:
            if self._process != os.getpid():
                # A forked process has the same sockets: to use them, or to close them, would break
                # into what the parent reads.
                self._of_parent, self._idle = self._idle, []
                self._process = os.getpid()
            opened = self._idle.pop() if self._idle else None
        if opened is None:
            manager = attempts.connection()
            opened = manager, manager.__enter__()
            if self._autocommit:
                opened[1].execution_options(isolation_level="AUTOCOMMIT")
        healthy = False
        try:
            yield opened[1]
            healthy = not opened[1].invalidated
        finally:
            with self._lock:
                if keep := healthy and self._runs > 0:
                    self._idle.append(opened)
            if not keep:
                opened[0].__exit__(None, None, None)

    def _release(self) -> None:
        with self._lock:
            self._runs -= 1
            idle, self._idle = ([], self._idle) if self._runs else (self._idle, [])
        for manager, _ in idle:
            manager.__exit__(None, None, None)
