"""Metrics into the tables of an experiment."""

from __future__ import annotations

from fireworks.engine.scalars import ScalarLogger, Scalars
from fireworks.experiment import Experiment


class ExperimentLogger(ScalarLogger):
    """Logs what a training run measures to an experiment.

    Everything is committed at the end of each epoch and of the run, and otherwise within the
    experiment's commit interval.

    Args:
        experiment: The experiment, or a trial's.
    """

    def __init__(self, experiment: Experiment) -> None:
        self._experiment = experiment

    def log(self, scalars: Scalars, step: int) -> None:
        """Hand scalars to the experiment's writer."""
        self._experiment.log(scalars, step=step)

    def flush(self) -> None:
        """Return when everything logged is committed."""
        self._experiment.flush()

    def close(self) -> None:
        """Flush; the experiment is its owner's to close."""
        self._experiment.flush()
