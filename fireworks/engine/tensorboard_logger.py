"""Metrics as TensorBoard events."""

from __future__ import annotations

import weakref

from fireworks.engine.scalars import ScalarLogger, Scalars
from fireworks.experiment import Experiment
from fireworks.optional import require


class TensorBoardLogger(ScalarLogger):
    """Writes what a training run measures as TensorBoard events into an experiment's folder.

    The events are on disk at the end of each epoch and of the run; what an exception leaves is
    written when the logger is let go, or when the interpreter ends.

    Args:
        experiment: The experiment, or a trial's; the events go to its ``tensorboard`` folder.

    Raises:
        MissingDependency: TensorBoard is not installed.
    """

    def __init__(self, experiment: Experiment) -> None:
        require("tensorboard", extra="tensorboard", purpose="TensorBoardLogger")
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(experiment.tensorboard))
        weakref.finalize(self, self._writer.close)

    def log(self, scalars: Scalars, step: int) -> None:
        """Write scalars as events."""
        for name, value in scalars.items():
            self._writer.add_scalar(name, value, step)

    def flush(self) -> None:
        """Return when everything logged is on disk."""
        self._writer.flush()

    def close(self) -> None:
        """Close the event file; a further run writes another one beside it."""
        self._writer.close()
