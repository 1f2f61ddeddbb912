"""Going on from a checkpoint, exactly."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, final

import ignite.distributed as idist
from ignite.engine import Engine, Events

from fireworks.engine.checkpoint_file import VERSION, read_state
from fireworks.engine.data_state import data_state_of, restore_data
from fireworks.engine.engine_state import restore_engine_state
from fireworks.engine.handler_states import restore_handler_states
from fireworks.engine.part_states import load_part_states
from fireworks.engine.parts import register_parts, trainer_parts
from fireworks.engine.random_state import restore_random_state
from fireworks.errors import DamagedFile, StateMismatch
from fireworks.experiment import Experiment
from fireworks.record import checkpoints

_log = logging.getLogger(__name__)


def resume(
    trainer: Engine, experiment: Experiment, *, objects: Mapping[str, object] | None = None
) -> Path | None:
    """Make the next run of a trainer go on from the newest checkpoint of an experiment.

    The weights after N steps are bit-equal to those of a run that was never interrupted. The
    trainer, its handlers and its source are built as they were; then, before anything is logged::

        experiment = load_experiment("runs/digits-0007", write=True)
        resume(trainer, experiment)
        trainer.run(source, max_epochs=10)

    Everything is restored at once, but for the source, the states of handlers and the random
    generators, which the run restores when it begins. What the run had recorded after the
    checkpoint is deleted: it is done again. A damaged checkpoint is passed over for the one before
    it, with a warning; files ``emergency-*`` are never used. A run that was complete is not run
    again, unless for more epochs.

    Args:
        trainer: The trainer.
        experiment: The experiment; of a trial, checkpoints of earlier attempts serve too.
        objects: What was given to the `Checkpointer`, unless one is attached already.

    Returns:
        The checkpoint; None where there is none, and the run begins from the start.

    Raises:
        StateMismatch: The trainer has other parts, or the model other tensors, than the
            checkpoint; both are listed, and nothing is changed. It is of another number of
            processes. (When run) the source is another one.
        DamagedFile: There are checkpoints, and all are damaged.
    """
    register_parts(trainer, objects or {})
    found = _newest(experiment)
    if found is None:
        folder = checkpoints.checkpoints_folder(
            experiment.path, experiment.trial, experiment.attempt
        )
        _rewind(experiment, checkpoints.read_start(folder))
        return None
    path, saved = found
    world = len(saved["random"])
    if world != idist.get_world_size():
        raise StateMismatch(
            f"The checkpoint is of {world} processes; these are {idist.get_world_size()}. With "
            "another number, steps are of other batches: start as many, or take the weights alone: "
            f"model.load_state_dict(read_state({str(path)!r})['parts']['model'])."
        )
    load_part_states(trainer_parts(trainer), saved["parts"])
    restore_engine_state(trainer, saved["engine"])
    _rewind(experiment, saved["position"])
    _Restorer(trainer, saved)
    _log.info("going on from %s", path)
    return path


def _newest(experiment: Experiment) -> tuple[Path, dict[str, Any]] | None:
    """Return the newest checkpoint that is whole."""
    damage: DamagedFile | None = None
    for folder in checkpoints.earlier_folders(
        experiment.path, experiment.trial, experiment.attempt
    ):
        for each in checkpoints.list_checkpoints(folder):
            try:
                each.verify()
                saved = read_state(each.path)
                if saved["version"] > VERSION:
                    raise DamagedFile(f"{str(each.path)!r} was written by a newer release.")
            except DamagedFile as error:
                _log.warning("a checkpoint is damaged, the one before it is tried: %s", error)
                damage = error
                continue
            return each.path, saved
    if damage is not None:
        raise damage
    return None


def _rewind(experiment: Experiment, position: int | None) -> None:
    # A trial's record is rewound by the sweep, when it begins the attempt.
    if position is not None and experiment.trial is None and idist.get_rank() == 0:
        experiment.rewind(position)


@final
class _Restorer:
    """Restores, when the run begins, what can be restored only then.

    Whatever is attached to a run may begin anew when it starts, when an epoch starts, or when the
    first batch is fetched: each state is given back behind that, in the order of the events below.

    Args:
        trainer: The trainer.
        saved: The checkpoint.
    """

    def __init__(self, trainer: Engine, saved: dict[str, Any]) -> None:
        self._trainer = trainer
        self._saved = saved
        self._once(Events.STARTED, self._data)

    def _data(self) -> None:
        """Bring the data to where it stood."""
        state: Any = self._trainer.state
        data = state.dataloader
        again = restore_data(data, self._saved["data"])
        if again is not None:
            state.dataloader = again  # for the first iterator over it
        # Attached only now: behind all that was attached since `resume`.
        if not self._saved["within_epoch"]:  # metrics are of the epoch that ended
            self._once(Events.EPOCH_STARTED, self._handlers, first=True)
        if data is None:  # there are no events around a batch
            self._once(Events.ITERATION_STARTED, self._next_iteration)
        else:
            self._once(Events.GET_BATCH_STARTED, lambda: self._next_batch(data))
            self._once(Events.GET_BATCH_COMPLETED, lambda: self._random("random_after"))

    def _handlers(self) -> None:
        trainer = self._trainer
        restore_handler_states(trainer, trainer_parts(trainer), self._saved["handlers"])

    def _next_batch(self, data: object) -> None:
        state, saved = self._trainer.state, self._saved["data"]
        state.dataloader = data  # pyright: ignore[reportAttributeAccessIssue]
        if self._saved["within_epoch"]:
            self._handlers()
        if saved["kind"] == "replay":
            follower = data_state_of(self._trainer)
            follower.replayed(saved["done"], state.iteration, saved["random"])
        # A new iterator over data without a state has been made from this state already.
        if saved["kind"] != "replay" or saved["done"]:
            self._random("random")

    def _next_iteration(self) -> None:
        if self._saved["within_epoch"]:
            self._handlers()
        self._random("random_after" if self._saved["random_after"] else "random")

    def _random(self, which: str) -> None:
        states = self._saved[which]
        if states is not None:  # at the end of a run no further batch was fetched
            restore_random_state(states[idist.get_rank()])

    def _once(self, event: Events, restore: Callable[[], None], *, first: bool = False) -> None:
        """Call a function when an event is next fired: behind its other handlers, or before."""

        def run() -> None:
            handle.remove()
            restore()

        run.__qualname__ = "resume"  # as an error names it
        handle = self._trainer.add_event_handler(event, run)
        if first:
            events: Any = self._trainer._event_handlers  # pyright: ignore[reportPrivateUsage]
            events[event].insert(0, events[event].pop())
