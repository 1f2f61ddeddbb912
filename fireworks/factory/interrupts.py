"""Ctrl-C during a sweep: once to let the running trials finish, twice to stop them.

SIGTERM, by which schedulers of clusters and ``fireworks stop --now`` ask, stops them, too.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any, final


@final
class Interrupts:
    """Counts SIGINT instead of raising KeyboardInterrupt, as a context manager.

    The third one raises it again. SIGTERM counts as the second; leaving the context then raises
    SystemExit with the code that a shell gives to it (143). Outside the main thread, where signals
    cannot be handled, the count stays 0.

    Args:
        wake: Called at each one, from the signal handler.
    """

    def __init__(self, wake: Callable[[], None]) -> None:
        self.count = 0
        self._wake = wake
        self._previous: dict[signal.Signals, Any] = {}
        self._terminated = False

    def __enter__(self) -> Interrupts:
        if threading.current_thread() is threading.main_thread():
            for number, handler in (
                (signal.SIGINT, self._interrupted),
                (signal.SIGTERM, self._asked_to_end),
            ):
                self._previous[number] = signal.signal(number, handler)
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        if self._terminated and kind is None:
            raise SystemExit(128 + signal.SIGTERM)

    def _interrupted(self, number: int, frame: FrameType | None) -> None:
        self.count += 1
        if self.count > 2:
            raise KeyboardInterrupt
        self._wake()

    def _asked_to_end(self, number: int, frame: FrameType | None) -> None:
        self._terminated = True
        self.count = max(self.count, 2)
        self._wake()
