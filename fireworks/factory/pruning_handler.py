"""A handler that reports a metric of an evaluator, for those who attach everything themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING, final

from fireworks.errors import WrongValue, suggest
from fireworks.factory.trial import Trial

if TYPE_CHECKING:
    from ignite.engine import Engine


@final
class PruningHandler:
    """Reports a metric each time an evaluator has run, at the trainer's epoch.

    ``evaluator.add_event_handler(Events.COMPLETED, PruningHandler(trial, "accuracy", trainer))``;
    `Trial.attach` does the same, and more.

    Args:
        trial: The trial to report for.
        metric: One of the evaluator's.
        trainer: Whose epoch is the step.
    """

    def __init__(self, trial: Trial, metric: str, trainer: Engine) -> None:
        self._trial = trial
        self._metric = metric
        self._trainer = trainer

    def __call__(self, evaluator: Engine) -> None:
        """Report.

        Raises:
            TrialPruned: The sweep decided that the trial is not worth going on with.
            TrialPaused: The sweep may go on with it later, from its last checkpoint.
            WrongValue: The evaluator has no such metric, or the epoch was reported before.
        """
        metrics = evaluator.state.metrics
        if self._metric not in metrics:
            raise WrongValue(
                f"the evaluator has no metric {self._metric!r}.{suggest(self._metric, metrics)}"
            )
        self._trial.report(self._trainer.state.epoch, metrics[self._metric])
