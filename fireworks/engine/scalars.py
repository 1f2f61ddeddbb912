"""What a training run measures, as named scalars with a step."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, ClassVar, Self

import torch
from ignite.engine import Engine, Events

from fireworks.engine.events import FireworksEvents, fire, register_events
from fireworks.engine.failures import on_failure
from fireworks.engine.parts import register_evaluators
from fireworks.errors import FireworksError, WrongValue
from fireworks.experiment.scalar import DeviceScalar, scalar

Scalars = dict[str, Any]


class ScalarLogger(ABC):
    """A handler that passes on what a training run measures; a subclass says where to.

    The loss of the trainer comes as ``train/loss``, metrics attached to it as ``train/<metric>``
    after each epoch, those of an evaluator as ``<name>/<metric>`` whenever it completes. The step
    is always the trainer's iteration, so that all curves share one axis.

    Attributes:
        fires: The event to fire on the trainer when an evaluator's metrics were passed on.
    """

    fires: ClassVar[FireworksEvents | None] = None

    def attach(
        self, trainer: Engine, evaluator: Engine | None = None, *, every: int = 1, **named: Engine
    ) -> Self:
        """Attach to a trainer and to the evaluators that run beside it.

        Args:
            trainer: The trainer.
            evaluator: An evaluator whose metrics are called ``valid/<metric>``.
            every: Iterations between two values of ``train/loss``.
            **named: Further evaluators by name: ``test=evaluator`` gives ``test/<metric>``.

        Returns:
            The logger itself.

        Raises:
            WrongValue: ``every`` is below 1.
        """
        if every < 1:
            raise WrongValue(f"every is a number of iterations, at least 1; it is {every!r}.")

        def log_loss(engine: Engine) -> None:
            if (loss := loss_of(engine.state.output)) is not None:
                self.log({"train/loss": loss}, engine.state.iteration)

        def log_metrics(engine: Engine, name: str) -> None:
            if engine.state.metrics:
                scalars = {f"{name}/{key}": value for key, value in engine.state.metrics.items()}
                self.log(scalars, trainer.state.iteration)
                if self.fires is not None:
                    fire(trainer, self.fires)

        evaluators: Mapping[str, Engine] = {"valid": evaluator} if evaluator is not None else {}
        evaluators = {**evaluators, **named}
        register_evaluators(trainer, evaluators)
        register_events(trainer)
        for name, engine in evaluators.items():
            engine.add_event_handler(Events.COMPLETED, log_metrics, name)
            on_failure(engine)
        # A filter of Ignite's costs a microsecond each time.
        each = Events.ITERATION_COMPLETED if every == 1 else Events.ITERATION_COMPLETED(every=every)
        trainer.add_event_handler(each, log_loss)
        trainer.add_event_handler(Events.EPOCH_COMPLETED, log_metrics, "train")
        trainer.add_event_handler(Events.EPOCH_COMPLETED, self.flush)
        trainer.add_event_handler(Events.COMPLETED | Events.TERMINATE, self.close)
        on_failure(trainer, self.failed)
        return self

    def failed(self, engine: Engine, error: BaseException) -> None:
        """Bring what was logged before an error to where it is safe."""
        self.flush()

    @abstractmethod
    def log(self, scalars: Scalars, step: int) -> None:
        """Take scalars measured at an iteration."""

    @abstractmethod
    def flush(self) -> None:
        """Bring everything taken so far to where it is safe."""

    @abstractmethod
    def close(self) -> None:
        """Flush, and let go of what is open; a further run opens it again."""


def loss_of(output: object) -> Any:
    """Return the loss in what a step returned, or None: its ``"loss"``, or a single number."""
    if isinstance(output, Mapping):
        return output.get("loss")
    if isinstance(output, int | float) or (isinstance(output, torch.Tensor) and output.ndim == 0):
        return output
    return None


def numbers(scalars: Scalars) -> dict[str, float | DeviceScalar]:
    """Return what of scalars is a number, as it is now; one on a device is copied, not waited for.

    What is logged is read later, by a thread: a step may have changed a tensor in place by then.
    """
    found: dict[str, float | DeviceScalar] = {}
    for name, value in scalars.items():
        with suppress(FireworksError):
            found[name] = value if type(value) is float else scalar(name, value)
    return found


def read(values: Mapping[str, float | DeviceScalar]) -> dict[str, float]:
    """Return numbers, waiting for those on a device; those that it cannot give are left out."""
    found: dict[str, float] = {}
    for name, value in values.items():
        with suppress(RuntimeError):
            found[name] = value.read() if isinstance(value, DeviceScalar) else value
    return found
