"""Checkpoints of a run, from which it goes on exactly."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self, final

import ignite.distributed as idist
from ignite.engine import Engine, Events

from fireworks.engine.checkpoint_file import VERSION, BackgroundWork, write_state
from fireworks.engine.copying import Copier
from fireworks.engine.data_state import data_state_of
from fireworks.engine.engine_state import engine_state
from fireworks.engine.events import FireworksEvents, fire, register_events
from fireworks.engine.failures import on_failure
from fireworks.engine.handler_states import handler_states
from fireworks.engine.part_states import part_states
from fireworks.engine.parts import (
    known_evaluators,
    register_evaluators,
    register_parts,
    trainer_parts,
)
from fireworks.engine.preemption import PREEMPTED, Preemption
from fireworks.engine.random_state import random_state, random_state_of_all
from fireworks.errors import EngineError, WrongValue, suggest
from fireworks.experiment import Experiment
from fireworks.record import checkpoints
from fireworks.record.checkpoints import Checkpoint

_log = logging.getLogger(__name__)


@final
class Checkpointer:
    """Saves everything that determines the future of a run; `resume` goes on from it.

    That is: the parts of the trainer (model, optimizer, scheduler, scaler, average, gradients that
    are being accumulated), where its source stands, metrics attached to the trainer, handlers with
    a state (early stopping), the random generators of Python, NumPy, torch and CUDA, and Ignite's
    counters. A checkpoint is taken between two iterations, when all handlers have run. The step is
    held up for a copy in memory; a thread writes it. The record of the experiment is committed
    first, and its position kept, so that a resumed run leaves no metric out and none twice.

    Where several processes train together, attach one in each, in all of them at the same steps;
    rank 0 writes.

    Args:
        experiment: Whose folder the checkpoints go to, or a trial's. On ranks other than 0 it may
            be None.
        objects: Further parts by name, each with ``state_dict`` and ``load_state_dict``; for an
            Engine not made by `create_trainer`, all of them.

    Attributes:
        folder: Where the checkpoints are.
    """

    def __init__(
        self, experiment: Experiment | None, *, objects: Mapping[str, object] | None = None
    ) -> None:
        self._experiment = experiment
        self._objects = dict(objects or {})
        self.folder: Path | None = None
        if experiment is not None:
            self.folder = checkpoints.checkpoints_folder(
                experiment.path, experiment.trial, experiment.attempt
            )
        self._work = BackgroundWork[Path]()
        self._copier = Copier()
        self._preemption = Preemption()
        self._due = False
        self._every: int | None = None
        self._taken: dict[str, Any] | None = None  # a snapshot that is not being written yet
        self._last = -1  # the iteration of the last one
        self._score: tuple[int, float] | None = None
        self._scored: set[int] = set()
        self._emergency = True

    def attach(
        self,
        trainer: Engine,
        evaluator: Engine | None = None,
        *,
        every: int | None = None,
        keep: int = 3,
        best: str | None = None,
        mode: Literal["max", "min"] = "max",
        keep_best: int = 1,
        emergency: bool = True,
        sigterm: bool = True,
        **named: Engine,
    ) -> Self:
        """Attach to a trainer.

        One more is taken at the end of the run. On SIGTERM one is taken after the iteration that is
        running, and the process exits with the code 75 (``PREEMPTED``); with several processes all
        do, within a second, wherever the signal came to.

        Args:
            trainer: The trainer.
            evaluator: An evaluator beside it, for ``best`` and for handlers attached to it; those
                of loggers attached to the trainer are known.
            every: Iterations from one to the next; an epoch by default.
            keep: How many of the last to keep.
            best: A metric of an evaluator; after each of its runs one is taken, and the best kept.
            mode: Whether the best is the highest value or the lowest (``"min"``).
            keep_best: How many of the best to keep.
            emergency: Save what an exception leaves as ``emergency-*``, for inspection: `resume`
                never goes on from it.
            sigterm: Whether to take one on SIGTERM, the same in all processes. Outside the main
                thread, SIGTERM ends the process as usual.
            **named: Further evaluators, by name.

        Returns:
            The checkpointer itself.

        Raises:
            WrongValue: A number is below 1, or ``mode`` is unknown.
            WrongType: A part has no state.
        """
        for name, value in {"every": every, "keep": keep, "keep_best": keep_best}.items():
            if value is not None and value < 1:
                raise WrongValue(f"{name} must be at least 1; it is {value!r}.")
        if mode not in ("max", "min"):
            raise WrongValue(f"mode is 'max' or 'min', not {mode!r}.")
        register_parts(trainer, self._objects)
        if not trainer_parts(trainer):
            raise WrongValue(
                "Nothing is known of this trainer that could be saved. Pass its parts: "
                'Checkpointer(experiment, objects={"model": model, "optimizer": optimizer}).'
            )
        evaluators = {"valid": evaluator} if evaluator is not None else {}
        register_evaluators(trainer, {**evaluators, **named})
        self._keep, self._best, self._lowest, self._keep_best = keep, best, mode == "min", keep_best
        self._emergency = emergency
        self._data = data_state_of(trainer)
        self._sigterm = sigterm
        register_events(trainer)
        self._every = every
        trainer.add_event_handler(Events.STARTED, self._start)
        if every is None:
            trainer.add_event_handler(Events.EPOCH_COMPLETED, self._want)
        trainer.add_event_handler(Events.GET_BATCH_STARTED, self._between_iterations)
        trainer.add_event_handler(Events.GET_BATCH_COMPLETED, self._batch_came)
        trainer.add_event_handler(Events.TERMINATE | Events.COMPLETED, self._end)
        on_failure(trainer, self._failed)
        return self

    @property
    def last(self) -> Path | None:
        """The newest checkpoint; None where there is none."""
        found = self._list()
        return found[0].path if found else None

    @property
    def writing(self) -> bool:
        """Whether a thread is writing one just now."""
        return self._work.running()

    @property
    def best(self) -> Path | None:
        """The checkpoint with the best score; None where there is none with a score."""
        found = self._by_score(self._list())
        return found[0].path if found else None

    # -- when -----------------------------------------------------------------------------------

    def _start(self, engine: Engine) -> None:
        if self._sigterm:
            self._preemption.begin(engine.state.iteration)
        if self.folder is not None and idist.get_rank() == 0 and self._experiment is not None:
            checkpoints.make_folder(self.folder)
            checkpoints.remove_leftovers(self.folder)
            if engine.state.iteration == 0:
                checkpoints.write_start(self.folder, self._experiment.mark())
        self._last = engine.state.iteration
        # Makes the memory for copies and the thread before a step would wait for them, and tells
        # what cannot be saved before anything is trained.
        self._copy_parts(engine)
        self._work.open()
        if engine.state.dataloader is None and not engine.has_event_handler(
            self._before_step, Events.ITERATION_STARTED
        ):
            engine.add_event_handler(Events.ITERATION_STARTED, self._before_step)
        if self._best is None:
            return
        evaluators = known_evaluators(engine)
        if not evaluators:
            raise EngineError(
                f"best={self._best!r} needs an evaluator: attach(trainer, evaluator, best=…)."
            )
        for name, each in evaluators.items():
            named = self._best.startswith(f"{name}/")
            if id(each) not in self._scored and (named or "/" not in self._best):
                self._scored.add(id(each))
                each.add_event_handler(Events.COMPLETED, self._evaluated, engine.state, name)
                if not named:
                    break  # the first one: "valid"

    def _want(self) -> None:
        self._due = True

    def _evaluated(self, evaluator: Engine, state: Any, name: str) -> None:
        metrics = evaluator.state.metrics
        metric = str(self._best).removeprefix(f"{name}/")
        if metric not in metrics:
            raise EngineError(
                f"best={self._best!r}: the evaluator has no metric {metric!r}."
                f"{suggest(metric, metrics)}"
            )
        self._score = state.iteration, float(metrics[metric])
        self._due = True

    def _between_iterations(self, engine: Engine) -> None:
        self._consider(engine, engine.state.iteration)

    def _consider(self, engine: Engine, iteration: int) -> None:
        # Counted here: a filter of Ignite's costs a microsecond even where it does not fire.
        if self._every is not None and iteration % self._every == 0 and iteration > self._last:
            self._due = True
        if self._work.finished():
            self._wait(engine)
        if (self._sigterm and self._preemption.check(iteration)) or self._due:
            self._take(engine, iteration, within_epoch=True)

    def _batch_came(self, engine: Engine) -> None:
        if self._taken is not None:
            # A fetch may use the global generators: this is where the next step begins.
            self._taken["random_after"] = random_state_of_all(random_state())
            self._write()
            if self._preemption.stopping:
                self._exit(engine)

    def _before_step(self, engine: Engine) -> None:
        """Without data there are no events around a batch."""
        self._consider(engine, engine.state.iteration - 1)
        self._batch_came(engine)

    def _end(self, engine: Engine) -> None:
        iteration, length = engine.state.iteration, engine.state.epoch_length
        if iteration > self._last or self._due:
            whole = length is not None and iteration % length == 0
            self._take(engine, iteration, within_epoch=not whole)
            self._write()
        if self._sigterm and self._preemption.check(iteration, last=True):
            self._exit(engine)
        self._wait(engine)
        self._work.close()
        self._preemption.end()

    def _exit(self, engine: Engine) -> None:
        self._wait(engine)
        self._work.close()
        # Who starts several processes ends all when the first is gone: not while rank 0 writes.
        idist.barrier()
        self._preemption.end()
        _log.warning(
            "SIGTERM: a checkpoint of iteration %d is written; exit code %d", self._last, PREEMPTED
        )
        raise SystemExit(PREEMPTED)

    def _failed(self, engine: Engine, error: BaseException) -> None:
        if self._taken is not None:  # the next batch could not be fetched
            self._write()
        asked = self._preemption.asked and idist.get_world_size() == 1
        self._preemption.end()
        try:
            self._work.wait()
        finally:
            self._work.close()
            if self._emergency and isinstance(error, Exception):
                self._save_emergency(engine, error)
        if asked and self._last == engine.state.iteration and isinstance(error, Exception):
            self._exit(engine)  # SIGTERM killed the workers that fetch, too

    # -- what -----------------------------------------------------------------------------------

    def _take(self, engine: Engine, iteration: int, *, within_epoch: bool) -> None:
        """Copy everything; the next step may change it."""
        self._due = False
        if iteration == 0:
            return
        self._wait(engine)  # for the one before, whose memory is used again
        self._last = iteration
        parts = trainer_parts(engine)
        random = random_state()
        position = 0
        if self._experiment is not None and idist.get_rank() == 0:
            position = self._experiment.mark()
        length = engine.state.epoch_length
        self._taken = {
            "version": VERSION,
            "position": position,
            "epoch": iteration // length if length else 0,
            "time": time.time(),
            "score": self._score[1] if self._score and self._score[0] == iteration else None,
            "parts": self._copy_parts(engine),
            "handlers": self._copier.copy(handler_states(engine, parts), "handlers"),
            "engine": self._copier.copy(engine_state(engine, iteration), "engine"),
            "within_epoch": within_epoch,
            "data": self._copier.copy(self._data.snapshot(engine, iteration, random), "data"),
            "random": random_state_of_all(random),
            "random_after": None,
        }

    def _copy_parts(self, engine: Engine) -> dict[str, Any]:
        states = part_states(trainer_parts(engine))
        return {name: self._copier.copy(state, name) for name, state in states.items()}

    def _write(self) -> None:
        taken, self._taken = self._taken, None
        folder = self.folder
        if taken is None or folder is None or idist.get_rank() != 0:
            return

        def work() -> Path:
            iteration = taken["engine"]["iteration"]
            path = folder / f"step-{iteration:07d}.pt"
            path.with_suffix(".json").unlink(missing_ok=True)
            write_state(path, taken)
            Checkpoint(
                path,
                iteration,
                taken["epoch"],
                taken["position"],
                checkpoints.sha256(path),
                os.path.getsize(path),
                taken["time"],
                taken["score"],
            ).write()
            self._remove_old()
            return path

        self._work.start(work)

    def _wait(self, engine: Engine) -> None:
        if (written := self._work.wait()) is not None:
            setattr(engine.state, "checkpoint", written)  # noqa: B010  (not an attribute of State)
            fire(engine, FireworksEvents.CHECKPOINT_SAVED)

    def _save_emergency(self, engine: Engine, error: Exception) -> None:
        if self.folder is None or idist.get_rank() != 0:
            return
        iteration = engine.state.iteration
        content = {
            "parts": part_states(trainer_parts(engine)),
            "iteration": iteration,
            "error": repr(error),
        }
        content = Copier().copy(content, "emergency")
        for earlier in self.folder.glob("emergency-*.pt"):
            earlier.unlink()
        path = self.folder / f"emergency-{iteration:07d}.pt"
        write_state(path, content)
        _log.warning("what the error left is in %s, for inspection", path)

    # -- which ----------------------------------------------------------------------------------

    def _list(self) -> list[Checkpoint]:
        return [] if self.folder is None else checkpoints.list_checkpoints(self.folder)

    def _by_score(self, found: list[Checkpoint]) -> list[Checkpoint]:
        scored = [each for each in found if each.score is not None and each.score == each.score]
        return sorted(scored, key=lambda each: each.score or 0.0, reverse=not self._lowest)

    def _remove_old(self) -> None:
        found = self._list()
        kept = {each.path for each in found[: self._keep]}
        if self._best is not None:
            kept |= {each.path for each in self._by_score(found)[: self._keep_best]}
        for each in found:
            if each.path not in kept:
                each.remove()
