"""Processor, memory and GPU while a run lasts."""

from __future__ import annotations

import os
import time
from typing import Self, final

import torch
from ignite.engine import Engine, Events

from fireworks.errors import WrongValue
from fireworks.experiment import Experiment


@final
class SystemMonitor:
    """Logs what the process uses, between iterations.

    ``system/cpu`` is the processor time used since the last value, in cores; ``system/memory`` the
    resident memory in bytes; on CUDA ``system/gpu_memory`` the memory that torch has reserved, in
    bytes. The step is the trainer's iteration.

    Args:
        experiment: Where to log.
        seconds: From one value to the next, at least.

    Raises:
        WrongValue: ``seconds`` is not positive.
    """

    def __init__(self, experiment: Experiment, seconds: float = 10.0) -> None:
        if not seconds > 0:
            raise WrongValue(f"seconds must be positive; it is {seconds!r}.")
        self._experiment = experiment
        self._seconds = seconds
        self._time = self._next = self._used = 0.0

    def attach(self, trainer: Engine) -> Self:
        """Attach to a trainer; returns the monitor itself."""
        trainer.add_event_handler(Events.STARTED, self._begin)
        trainer.add_event_handler(Events.ITERATION_COMPLETED, self._look)
        return self

    def _begin(self) -> None:
        self._time, self._used = time.monotonic(), _processor_seconds()
        self._next = self._time + self._seconds

    def _look(self, trainer: Engine) -> None:
        now = time.monotonic()
        if now < self._next:
            return
        used = _processor_seconds()
        values = {
            "system/cpu": (used - self._used) / (now - self._time),
            "system/memory": float(_resident_bytes()),
        }
        if torch.cuda.is_available() and torch.cuda.is_initialized():
            values["system/gpu_memory"] = float(torch.cuda.memory_reserved())
        self._time, self._used, self._next = now, used, now + self._seconds
        self._experiment.log(values, step=trainer.state.iteration)


def _processor_seconds() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def _resident_bytes() -> int:
    with open("/proc/self/statm") as stream:
        return int(stream.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
