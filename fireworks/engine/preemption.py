"""SIGTERM: a cluster takes the machine away."""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType
from typing import Any, final

PREEMPTED = os.EX_TEMPFAIL
"""The exit code, 75, of a run that wrote a checkpoint on SIGTERM and is to be gone on with."""


@final
class Preemption:
    """Notes SIGTERM, between `begin` and `end`, instead of dying of it.

    Attributes:
        asked: Whether it has come.
    """

    def __init__(self) -> None:
        self.asked = False
        self._before: Any = None
        self._installed = False

    def begin(self) -> None:
        """Take SIGTERM; only the main thread can, in others this does nothing."""
        if not self._installed and threading.current_thread() is threading.main_thread():
            self.asked = False
            self._before = signal.signal(signal.SIGTERM, self._note)
            self._installed = True

    def end(self) -> None:
        """Give SIGTERM back to whom it belonged."""
        if self._installed:
            self._installed = False
            signal.signal(signal.SIGTERM, self._before)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.asked = True
