"""Going on from a checkpoint, exactly."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ignite.distributed as idist
from ignite.engine import Engine, Events

from fireworks.engine import snapshot
from fireworks.engine.checkpoint_file import read_state
from fireworks.engine.data_state import data_state_of, restore_data
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
    parts = trainer_parts(trainer)
    snapshot.check_parts(parts, saved["parts"])
    for name, part in parts.items():
        part.load_state_dict(saved["parts"][name])
    snapshot.restore_engine_state(trainer, saved["engine"])
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
                if saved["version"] > snapshot.VERSION:
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


class _Restorer:
    """Restores, when the run begins, what can be restored only then."""

    def __init__(self, trainer: Engine, saved: dict[str, Any]) -> None:
        self._saved = saved
        self._data: Any = None
        self._handles = [trainer.add_event_handler(Events.STARTED, self._start)]

    def _start(self, engine: Engine) -> None:
        self._done()
        saved = self._saved
        self._data = engine.state.dataloader
        again = restore_data(self._data, saved["data"])
        if again is not None:
            engine.state.dataloader = again
        # At the end of what is called then: handlers attached until now may begin anew there.
        first = Events.ITERATION_STARTED if self._data is None else Events.GET_BATCH_STARTED
        self._handles.append(engine.add_event_handler(first, self._first_batch))
        if self._data is not None:
            self._handles.append(
                engine.add_event_handler(Events.GET_BATCH_COMPLETED, self._batch_came)
            )
        if not saved["within_epoch"]:
            # Before the others: at the start of an epoch metrics begin anew.
            events: Any = engine._event_handlers  # pyright: ignore[reportPrivateUsage]
            self._handles.append(
                engine.add_event_handler(Events.EPOCH_STARTED, self._restore_handlers)
            )
            events[Events.EPOCH_STARTED].insert(0, events[Events.EPOCH_STARTED].pop())

    def _restore_handlers(self, engine: Engine) -> None:
        self._handles.pop().remove()
        self._give_states(engine)

    def _first_batch(self, engine: Engine) -> None:
        saved, data = self._saved, self._saved["data"]
        engine.state.dataloader = self._data
        if saved["within_epoch"]:
            self._give_states(engine)
        if data["kind"] == "replay":
            data_state_of(engine).replayed(data["done"], engine.state.iteration, data["random"])
        # A new iterator over data without a state has been made from this state already.
        if data["kind"] != "replay" or data["done"]:
            self._restore_random("random")
        if self._data is None:
            self._done()
            self._restore_random("random_after")

    def _batch_came(self) -> None:
        self._done()
        self._restore_random("random_after")

    def _give_states(self, engine: Engine) -> None:
        snapshot.restore_handler_states(engine, trainer_parts(engine), self._saved["handlers"])

    def _restore_random(self, which: str) -> None:
        states = self._saved[which]
        if states is not None:
            restore_random_state(states[idist.get_rank()])

    def _done(self) -> None:
        for each in self._handles:
            each.remove()
        self._handles.clear()
