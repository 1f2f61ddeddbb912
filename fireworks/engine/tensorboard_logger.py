"""Metrics as TensorBoard events."""

from __future__ import annotations

import threading
import time
import weakref
from collections import deque
from pathlib import Path
from typing import Any, final

from ignite.engine import Engine

from fireworks.engine.scalars import ScalarLogger, Scalars, numbers, read
from fireworks.experiment import Experiment
from fireworks.experiment.tensorboard import EventWriter
from fireworks.optional import require

_GATHER_SECONDS = 0.5
_FULL = 10_000  # calls of log(); then the caller writes them itself instead of queueing more


@final
class TensorBoardLogger(ScalarLogger):
    """Writes what a training run measures as TensorBoard events into an experiment's folder.

    A thread writes the events twice a second: a process that is killed loses those of the last half
    second. At the end of each epoch and of the run, and when it fails, all are on disk. TensorBoard
    forgets what a resumed run had written after its checkpoint: it is written again.

    Args:
        experiment: The experiment, or a trial's; the events go to its ``tensorboard`` folder.

    Raises:
        MissingDependency: TensorBoard is not installed.
    """

    def __init__(self, experiment: Experiment) -> None:
        require("tensorboard", extra="tensorboard", purpose="TensorBoardLogger")
        self._events = _BackgroundEvents(experiment.tensorboard)
        self._last = -1
        weakref.finalize(self, self._events.close)  # at the interpreter's end at the latest

    def log(self, scalars: Scalars, step: int) -> None:
        """Hand scalars to the thread that writes them; what is no number is left out.

        Raises:
            OSError: What was logged before could not be written.
        """
        if self._last < 0 or step < self._last:
            self._events.purge(step)
        self._last = step
        self._events.put((step, numbers(scalars), time.time()))

    def flush(self) -> None:
        """Return when everything logged is on disk."""
        self._events.flush()

    def failed(self, engine: Engine, error: BaseException) -> None:
        """Write what was logged before an error."""
        self.close()

    def close(self) -> None:
        """Close the event file; a further run writes another one beside it."""
        self._events.close()


@final
class _BackgroundEvents:
    """Builds and writes events in a thread: that costs tens of microseconds each."""

    def __init__(self, folder: Path) -> None:
        self._writer = EventWriter(folder)
        self._writing = threading.Lock()
        self._queue: deque[tuple[int, dict[str, Any], float]] = deque()
        self._thread: threading.Thread | None = None
        self._ending = threading.Event()
        self._error: Exception | None = None

    def put(self, entry: tuple[int, dict[str, Any], float]) -> None:
        if self._error is not None:
            raise self._error
        self._queue.append(entry)
        if len(self._queue) >= _FULL:
            self.flush()
        if self._thread is None:
            self._ending = threading.Event()
            self._thread = threading.Thread(
                target=self._run, args=(self._ending,), name="tensorboard-logger", daemon=True
            )
            self._thread.start()

    def purge(self, step: int) -> None:
        with self._writing:
            self._write()
            self._writer.purge(step)

    def flush(self) -> None:
        with self._writing:
            self._write()

    def close(self) -> None:
        thread, self._thread = self._thread, None
        if thread is not None:
            self._ending.set()
            thread.join()
        with self._writing:
            if self._error is None:  # else it was told
                self._write()
            self._error = None
            self._writer.close()

    def _write(self) -> None:
        if self._error is not None:
            raise self._error
        batch = [self._queue.popleft() for _ in range(len(self._queue))]
        if batch:
            self._writer.write([(step, read(values), when) for step, values, when in batch])

    def _run(self, ending: threading.Event) -> None:
        while not ending.wait(_GATHER_SECONDS):
            try:
                self.flush()
            except Exception as error:  # raised by the next call
                self._error = error
                return
