"""Metrics as TensorBoard events."""

from __future__ import annotations

import time
import weakref
from contextlib import suppress
from typing import final

from fireworks.engine.scalars import ScalarLogger, Scalars
from fireworks.experiment import Experiment
from fireworks.experiment.tensorboard import EventWriter
from fireworks.optional import require


@final
class TensorBoardLogger(ScalarLogger):
    """Writes what a training run measures as TensorBoard events into an experiment's folder.

    The events are on disk at the end of each epoch and of the run; what an exception leaves is
    written when the logger is let go, or when the interpreter ends. TensorBoard forgets what a
    resumed run had written after its checkpoint: it is written again.

    Args:
        experiment: The experiment, or a trial's; the events go to its ``tensorboard`` folder.

    Raises:
        MissingDependency: TensorBoard is not installed.
    """

    def __init__(self, experiment: Experiment) -> None:
        require("tensorboard", extra="tensorboard", purpose="TensorBoardLogger")
        self._events = EventWriter(experiment.tensorboard)
        self._last = -1
        weakref.finalize(self, self._events.close)

    def log(self, scalars: Scalars, step: int) -> None:
        """Write scalars as events; what is no number is left out."""
        if self._last < 0 or step < self._last:
            self._events.purge(step)
        self._last = step
        numbers: dict[str, float] = {}
        for name, value in scalars.items():
            with suppress(TypeError, ValueError, RuntimeError):
                numbers[name] = float(value)
        self._events.write([(step, numbers, time.time())])

    def flush(self) -> None:
        """Return when everything logged is on disk."""
        self._events.flush()

    def close(self) -> None:
        """Close the event file; a further run writes another one beside it."""
        self._events.close()
