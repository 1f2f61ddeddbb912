"""Metrics into the tables of an experiment."""

from __future__ import annotations

from ignite.engine import Engine

from fireworks.engine.events import FireworksEvents
from fireworks.engine.failed_batch import keep_batch
from fireworks.engine.scalars import ScalarLogger, Scalars
from fireworks.errors import LossNotFinite
from fireworks.experiment import Experiment


class ExperimentLogger(ScalarLogger):
    """Logs what a training run measures to an experiment.

    Everything is committed at the end of each epoch and of the run, and otherwise within the
    experiment's commit interval. After an evaluator's metrics ``FireworksEvents.METRICS_LOGGED`` is
    fired on the trainer. A batch whose loss was not finite is kept: ``experiment.failed_batch``.

    Args:
        experiment: The experiment, or a trial's.
    """

    fires = FireworksEvents.METRICS_LOGGED

    def __init__(self, experiment: Experiment) -> None:
        self._experiment = experiment

    def log(self, scalars: Scalars, step: int) -> None:
        """Hand scalars to the experiment's writer."""
        self._experiment.log(scalars, step=step)

    def failed(self, engine: Engine, error: BaseException) -> None:
        """Commit what was logged, and keep a batch whose loss is not finite."""
        self.flush()
        if isinstance(error, LossNotFinite):
            keep_batch(self._experiment, engine, error)

    def flush(self) -> None:
        """Return when everything logged is committed."""
        self._experiment.flush()

    def close(self) -> None:
        """Flush; the experiment is its owner's to close."""
        self._experiment.flush()
