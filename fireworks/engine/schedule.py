"""Learning rates that change: torch's schedulers and Ignite's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from ignite.engine import Engine, Events
from ignite.handlers.param_scheduler import ParamGroupScheduler, ParamScheduler
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from fireworks.errors import WrongType, WrongValue

Scheduler = LRScheduler | ParamScheduler | ParamGroupScheduler
Every = Literal["step", "epoch"]


def attach_scheduler(
    trainer: Engine, scheduler: object, every: Every, *, stepped: Callable[[], bool]
) -> None:
    """Let a scheduler go on with a trainer.

    A torch scheduler goes one step on after each optimizer step or epoch; an Ignite one sets its
    value before each iteration or epoch.

    Args:
        trainer: The trainer.
        scheduler: torch's or Ignite's.
        every: After a ``"step"`` or an ``"epoch"``.
        stepped: Whether the iteration that has just ended took an optimizer step.

    Raises:
        WrongType: It is neither, or one that needs a metric.
        WrongValue: ``every`` is neither.
    """
    if every not in ("step", "epoch"):
        raise WrongValue(f"schedule is 'step' or 'epoch', not {every!r}.")
    if isinstance(scheduler, ReduceLROnPlateau):
        raise WrongType(
            "ReduceLROnPlateau needs a metric. Attach it yourself, and let it be saved: "
            "evaluator.add_event_handler(Events.COMPLETED, lambda engine: "
            'scheduler.step(engine.state.metrics["loss"])); '
            'Checkpointer(experiment, objects={"scheduler": scheduler})'
        )
    if isinstance(scheduler, ParamScheduler | ParamGroupScheduler):
        before = Events.ITERATION_STARTED if every == "step" else Events.EPOCH_STARTED
        trainer.add_event_handler(before, scheduler)
    elif isinstance(scheduler, LRScheduler):
        if every == "epoch":
            trainer.add_event_handler(Events.EPOCH_COMPLETED, _step, scheduler, None)
        else:
            trainer.add_event_handler(Events.ITERATION_COMPLETED, _step, scheduler, stepped)
    else:
        raise WrongType(
            f"A scheduler is one of torch.optim.lr_scheduler or ignite.handlers, not "
            f"{type(scheduler).__name__}."
        )


def _step(engine: Engine, scheduler: LRScheduler, stepped: Callable[[], bool] | None) -> None:
    if stepped is None or stepped():
        scheduler.step()
