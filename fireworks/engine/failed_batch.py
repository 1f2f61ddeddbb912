"""The batch on which training failed, kept to be looked at and run again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from ignite.engine import Engine

from fireworks.experiment import Experiment
from fireworks.message import Message
from fireworks.record.layout import FAILED_BATCH


def keep_batch(experiment: Experiment, engine: Engine, error: BaseException) -> None:
    """Write the batch of the iteration that failed to the experiment, and say so in the error."""
    batch: Any = engine.state.batch
    if isinstance(batch, Mapping) and not isinstance(batch, Message):
        batch = Message(
            {
                name: value.detach().cpu() if isinstance(value, torch.Tensor) else value
                for name, value in batch.items()
            }
        )
    if not isinstance(batch, Message):
        return
    path = experiment.file(FAILED_BATCH)
    path.parent.mkdir(parents=True, exist_ok=True)
    batch.to("cpu").save(path)
    error.add_note(f"The batch is kept: experiment.failed_batch, {str(path)!r}.")
