"""Data that ends before the epoch does."""

from __future__ import annotations

import logging
from typing import Any, final

from ignite.engine import Engine, Events

from fireworks.errors import EngineError

_log = logging.getLogger(__name__)


@final
class DataLength:
    """Watches that data gives as many batches as it says, again and again.

    Ignite reads data again from its beginning until an epoch has its number of batches, and takes
    none at all for a short epoch. Both hide mistakes. Where ``epoch_length`` was chosen otherwise
    than the data's length, reading it again is what was asked for.

    Args:
        trainer: Whose data it is.
    """

    def __init__(self, trainer: Engine) -> None:
        self._length: int | None = None  # what the data says
        self._learned = False  # there was none: an epoch is as long as the first one was
        self._began = 0  # the iteration after which the data was begun
        self._ended = -1  # and at which it ended
        trainer.add_event_handler(Events.STARTED, self._start)
        trainer.add_event_handler(Events.DATALOADER_STOP_ITERATION, self._end_of_data)
        trainer.add_event_handler(Events.EPOCH_COMPLETED, self._end_of_epoch)

    def _start(self, engine: Engine) -> None:
        state: Any = engine.state
        length = _length(state.dataloader)
        self._length = length if length == state.epoch_length else None
        self._learned = state.epoch_length is None
        self._began = state.iteration
        if self._length is not None and state.iteration:
            # It goes on in the middle, or where nothing is left of the pass before.
            self._began -= state.iteration % self._length or self._length
        self._ended = -1

    def _end_of_data(self, engine: Engine) -> None:
        state: Any = engine.state
        given, self._began, self._ended = state.iteration - self._began, state.iteration, -1
        if self._length is not None and given < self._length:
            raise EngineError(
                f"The data ended early in epoch {state.epoch}: it has {self._length} batches by "
                f"its len(), and gave {given}. Make the length true (num_rows of a source, __len__ "
                "of a dataset), or say how many batches an epoch has: "
                f"trainer.run(data, epoch_length={max(given, 1)})."
            )
        self._ended = state.iteration
        if self._learned and given < state.epoch_length:
            self._learned = False  # said once
            _log.warning(
                "the data gave %d batches, and %d the first time; an epoch keeps that many, so the "
                "next pass over the data began within epoch %d",
                given,
                state.epoch_length,
                state.epoch,
            )

    def _end_of_epoch(self, engine: Engine) -> None:
        if engine.state.iteration == 0:
            raise EngineError(
                "The data has no batch at all. Look at what a filter or a split leaves, and note "
                "that an iterator can be read only once."
            )
        if engine.state.iteration == self._ended:
            raise EngineError(
                f"The data gave no batch when it was read again, in epoch {engine.state.epoch}. An "
                "iterator can be read only once: pass what makes it (a Source, a list, a "
                "DataLoader), or max_epochs=1."
            )


def _length(data: Any) -> int | None:
    try:
        return len(data)
    except TypeError:
        return None
