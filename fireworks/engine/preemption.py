"""SIGTERM: a cluster takes the machine away."""

from __future__ import annotations

import os
import signal
import threading
import time
from types import FrameType
from typing import Any, final

import ignite.distributed as idist
import torch

PREEMPTED = os.EX_TEMPFAIL
"""The exit code, 75, of a run that wrote a checkpoint on SIGTERM and is to be gone on with."""

_AGREE_SECONDS = 0.5
_AGREE_ITERATIONS = 1_000


@final
class Preemption:
    """Notes SIGTERM, between `begin` and `end`, instead of dying of it.

    Where several processes train together, SIGTERM may come to one of them, or to each at another
    iteration. They ask each other about twice a second, after the same iterations, and so stop
    after the same one.

    Attributes:
        asked: Whether SIGTERM has come, to this process.
        stopping: Whether to stop now: all processes know it.
    """

    def __init__(self) -> None:
        self.stopping = False
        self.asked = False
        self._before: Any = None
        self._installed = False
        self._next = self._last = 0  # iterations after which the processes ask each other
        self._time = 0.0
        self._world = 1

    def begin(self, iteration: int) -> None:
        """Take SIGTERM; only the main thread can, in others this does nothing."""
        self._world = idist.get_world_size()
        self._next, self._last, self._time = iteration + 1, iteration, time.monotonic()
        if not self._installed and threading.current_thread() is threading.main_thread():
            self.stopping = self.asked = False
            self._before = signal.signal(signal.SIGTERM, self._note)
            self._installed = True

    def end(self) -> None:
        """Give SIGTERM back to whom it belonged."""
        if self._installed:
            self._installed = False
            signal.signal(signal.SIGTERM, self._before)

    def check(self, iteration: int, *, last: bool = False) -> bool:
        """Whether to stop after this iteration; the answer is the same in all processes.

        Args:
            iteration: The iterations that are done; the same in all processes.
            last: Whether there is no later one.
        """
        if self._world == 1:
            self.stopping = self.asked
        elif iteration >= self._next or last:
            now, done = time.monotonic(), max(iteration - self._last, 1)
            mine = torch.tensor([float(self.asked), (now - self._time) / done])
            everyones: Any = idist.all_reduce(mine.to(idist.device()), "MAX")
            asked, seconds = everyones.tolist()
            self.stopping = asked > 0
            self._last, self._time = iteration, now
            self._next = iteration + min(
                max(1, int(_AGREE_SECONDS / max(seconds, 1e-9))), _AGREE_ITERATIONS
            )
        return self.stopping

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.asked = True
