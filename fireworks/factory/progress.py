"""Signs of life of the thread that trains, for the sweep's limit on trials without progress."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import wraps
from typing import Any, final

from fireworks.factory.wire import Pipe


@final
class Progress:
    """Tells the sweep of iterations, logs and reports, no more often than it needs to know.

    Args:
        pipe: To the sweep.
        lock: Held by whoever uses the pipe.
        interval: Seconds from one message to the next.
    """

    def __init__(self, pipe: Pipe, lock: threading.Lock, interval: float) -> None:
        self._pipe = pipe
        self._lock = lock
        self._interval = interval
        self._thread = threading.get_ident()
        self._next = 0.0

    def tick(self) -> None:
        """Something was done. Calls by other threads than the first one do not count."""
        now = time.monotonic()
        if now < self._next or threading.get_ident() != self._thread:
            return
        # Where another thread waits for the answer to a report, that says enough.
        if self._lock.acquire(blocking=False):
            try:
                with suppress(OSError):  # the sweep is gone, and this process soon, too
                    self._pipe.send({"progress": True})
                self._next = now + self._interval
            finally:
                self._lock.release()

    def counting(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, each of whose calls is a sign of life."""

        @wraps(function)
        def counted(*args: Any, **kwargs: Any) -> Any:
            self.tick()
            return function(*args, **kwargs)

        return counted
