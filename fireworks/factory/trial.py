"""A trial as ``train`` sees it, in the process that runs it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cached_property
from threading import Lock
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, final

from fireworks.errors import ParameterNotFound, WrongType, WrongValue, suggest
from fireworks.factory.progress import Progress
from fireworks.factory.wire import JSON, Pipe

if TYPE_CHECKING:
    from ignite.engine import Engine

    from fireworks.experiment import Experiment


class TrialPruned(Exception):
    """The sweep ends this trial early. Let it leave ``train``."""


class TrialPaused(Exception):
    """The sweep may go on with this trial later. Let it leave ``train``."""


class _Params(dict[str, Any]):
    """Parameters that say what there is where one is missing."""

    def __missing__(self, name: object) -> Any:
        raise ParameterNotFound(f"there is no parameter {name!r}.{suggest(name, self)}")


@final
class Trial:
    """One set of parameters being tried.

    Attributes:
        params: The parameters proposed for it, by name; read-only.
        number: 0 for the first trial of the sweep.
        attempt: 1, or more where earlier attempts at the same parameters failed.
        seed: 32 bits, derived from the sweep's seed and the number alone. Python's, NumPy's and
            torch's generators are seeded with it already.
    """

    def __init__(self, job: JSON, pipe: Pipe, data: Any = None) -> None:
        self.params: Mapping[str, Any] = MappingProxyType(_Params(job["params"]))
        self.number: int = job["trial"]
        self.attempt: int = job["attempt"]
        self.seed: int = job["seed"]
        self._experiment_path: str = job["experiment"]
        self._pipe = pipe
        self._data = data
        self._process = os.getpid()
        self._lock = Lock()
        self._reported: set[int] = set()
        self._prune = False
        self._attached = False
        self._loads = bool(job.get("load"))  # it only makes the model, for who wants it afterwards
        self._pause: str | None = None  # after which step, where the sweep wants a pause
        interval: float | None = job.get("progress")
        self._progress = None if interval is None else Progress(pipe, self._lock, interval)

    def __repr__(self) -> str:
        return f"<Trial {self.number}, attempt {self.attempt}: {dict(self.params)}>"

    @property
    def data(self) -> Any:
        """What ``Factory(..., data=...)`` was given: a Message, or a dict of them by name.

        It is mapped into this process's memory from a file that all trials share; what is written
        to it stays in this process.

        Raises:
            WrongValue: The sweep was given none.
        """
        if self._data is None:
            raise WrongValue("the sweep has no data: pass it, as Factory(train, data=message, …)")
        return self._data

    @cached_property
    def experiment(self) -> Experiment:
        """The experiment, writing what belongs to this trial; closed when ``train`` returns."""
        from fireworks.experiment import load_experiment, open_attempt

        if self._loads:
            return load_experiment(self._experiment_path)
        experiment = open_attempt(self._experiment_path, self.number, self.attempt)
        if self._progress is not None:
            experiment.log = self._progress.counting(experiment.log)
        return experiment

    def close(self) -> None:
        """Write out what was logged. Called when ``train`` has returned or raised."""
        if "experiment" in vars(self):
            self.experiment.close()

    def report(self, step: int, value: float) -> None:
        """Say how good the trial is so far. Returns once the sweep has recorded it.

        Args:
            step: Grows with every report: an epoch, usually.
            value: The objective at that step.

        Raises:
            TrialPruned: The sweep decided that the trial is not worth going on with.
            TrialPaused: The sweep may go on with it later, from its last checkpoint.
            WrongType: The step is no integer or the value no number.
            WrongValue: The step is negative or was reported before, or this is another process
                than the trial's own (a DataLoader's worker).
        """
        if isinstance(step, bool) or not isinstance(step, int):
            raise WrongType(f"the step of a report must be an int, not {step!r}")
        try:
            number = float(value)
        except (TypeError, ValueError, RuntimeError):
            raise WrongType(f"the value of a report must be a number, not {value!r}") from None
        if step < 0 or step in self._reported:
            why = "is negative" if step < 0 else "was reported before"
            raise WrongValue(f"step {step} {why}: report each step once, beginning at 0 or above")
        if os.getpid() != self._process:
            raise WrongValue("report was called in another process than the trial's own")
        with self._lock:
            self._pipe.send({"report": [step, number]})
            answer = self._pipe.receive()
        self._reported.add(step)
        self._prune = answer["prune"]
        if self._prune:
            raise TrialPruned(f"pruned after step {step}")
        if answer.get("pause"):
            self._pause = f"paused after step {step}"
            if not self._attached:  # else when the checkpoint of this epoch is written
                raise TrialPaused(self._pause)

    def should_prune(self) -> bool:
        """Whether the answer to the last report was to end the trial."""
        return self._prune

    def attach(
        self,
        trainer: Engine,
        evaluator: Engine,
        *,
        data: Any,
        report: str | None = None,
        checkpoint: bool = True,
    ) -> None:
        """Evaluate after every epoch, log to the experiment and TensorBoard, report, prune.

        After each epoch a checkpoint is written, in place of the one before; a further attempt at
        the trial goes on from it. Attach handlers that have a state of their own before.

        Args:
            trainer: The engine that trains.
            evaluator: Run on ``data`` at the end of each of the trainer's epochs.
            data: An iterable of batches that can be read again for each epoch.
            report: The evaluator's metric to report; none where None.
            checkpoint: Whether to write checkpoints and to go on from them; of an Engine that
                `create_trainer` did not make, nothing is known to be saved.

        Raises:
            StateMismatch: The earlier attempt's trainer had other parts.
        """
        from ignite.engine import Events

        from fireworks.engine import (
            Checkpointer,
            ExperimentLogger,
            TensorBoardLogger,
            resume,
            trainer_parts,
        )

        if self._loads:
            from fireworks.factory.loading import ModelMade

            raise ModelMade(trainer_parts(trainer))

        def evaluate(engine: Engine) -> None:
            evaluator.run(data)
            if report is None:
                return
            metrics = evaluator.state.metrics
            if report not in metrics:
                raise WrongValue(
                    f"the evaluator has no metric {report!r}.{suggest(report, metrics)}"
                )
            self.report(engine.state.epoch, metrics[report])
            if self._pause is not None:
                engine.terminate()

        def end() -> None:
            if self._pause is not None and trainer.state.epoch != trainer.state.max_epochs:
                raise TrialPaused(self._pause)
            if not evaluator.state.metrics:  # it was complete: only its result had been lost
                evaluator.run(data)

        if self._progress is not None:
            for engine in (trainer, evaluator):
                engine.add_event_handler(Events.ITERATION_COMPLETED, self._progress.tick)
        # Before the loggers, which flush at the end of an epoch: what was evaluated included.
        trainer.add_event_handler(Events.EPOCH_COMPLETED, evaluate)
        ExperimentLogger(self.experiment).attach(trainer, evaluator)
        TensorBoardLogger(self.experiment).attach(trainer, evaluator)
        if checkpoint and trainer_parts(trainer):
            # What is made of its errors is the sweep's affair. Asked to end (SIGTERM), it takes one
            # more checkpoint, which a further attempt goes on from.
            saver = Checkpointer(self.experiment)
            saver.attach(trainer, evaluator, keep=1, emergency=False)
            resume(trainer, self.experiment)
            self._attached = True
            trainer.add_event_handler(Events.TERMINATE | Events.COMPLETED, end)
