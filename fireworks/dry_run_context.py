"""Whether this is a dry run: work to the end on a few rows, of which nothing is to stay."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Hashable
from contextlib import ExitStack, contextmanager
from typing import Any, TypeVar, cast

from fireworks.errors import WrongValue

Thing = TypeVar("Thing")


class DryRun:
    """Keeps what a dry run has begun, and undoes it at the end, the last thing first."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._begun: dict[Hashable, Any] = {}
        self._undo = ExitStack()

    @contextmanager
    def lent(
        self, key: Hashable, begin: Callable[[], tuple[Thing, Callable[[], object]]]
    ) -> Generator[Thing]:
        """Lend what is kept under a key, to one thread at a time.

        Args:
            key: What it is kept under: a kind of thing, and which.
            begin: Makes it at the first use; returns it, and what undoes it.
        """
        with self._lock:
            if key not in self._begun:
                thing, undo = begin()
                self._undo.callback(undo)
                self._begun[key] = thing
            yield cast("Thing", self._begun[key])

    def end(self) -> None:
        """Undo all that was begun."""
        with self._lock:
            self._begun.clear()
            self._undo.close()


_current: DryRun | None = None


def current() -> DryRun | None:
    """Return the dry run that is going on in this process, in whatever thread; None without one."""
    return _current


@contextmanager
def dry_run_context() -> Generator[DryRun]:
    """Make what is done inside a dry run: what writers write is undone at its end.

    Raises:
        WrongValue: One is going on already.
    """
    global _current
    if _current is not None:
        raise WrongValue("A dry run is going on already in this process.")
    _current = DryRun()
    try:
        yield _current
    finally:
        ended, _current = _current, None
        ended.end()
