"""A line on the terminal that says how far training is."""

from __future__ import annotations

import sys
import time
from typing import IO, Self, final

from ignite.engine import Engine, Events

from fireworks.engine.failures import on_failure
from fireworks.engine.scalars import loss_of

_REFRESH_SECONDS = 0.1
_WIDTH = 30


@final
class ProgressBar:
    """Shows epoch, iteration, speed and loss, ten times a second at most.

    Where the output is no terminal (a file, a cluster's log), it prints one line an epoch instead.

    Args:
        stream: Where to; standard error by default.
    """

    def __init__(self, stream: IO[str] | None = None) -> None:
        self._stream = stream or sys.stderr
        self._moves = self._stream.isatty()
        self._next = self._began = 0.0
        self._first = 0

    def attach(self, engine: Engine) -> Self:
        """Attach to an engine; returns the bar itself."""
        engine.add_event_handler(Events.EPOCH_STARTED, self._begin)
        if self._moves:
            engine.add_event_handler(Events.ITERATION_COMPLETED, self._advance)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._end)
        on_failure(engine, lambda engine, error: self._leave_line())
        return self

    def _begin(self, engine: Engine) -> None:
        self._began, self._first = time.monotonic(), engine.state.iteration
        self._next = 0.0

    def _advance(self, engine: Engine) -> None:
        now = time.monotonic()
        if now >= self._next:
            self._next = now + _REFRESH_SECONDS
            self._stream.write(f"\r{self._line(engine, now)}\x1b[K")
            self._stream.flush()

    def _end(self, engine: Engine) -> None:
        line = self._line(engine, time.monotonic())
        self._stream.write(f"\r{line}\x1b[K\n" if self._moves else f"{line}\n")
        self._stream.flush()

    def _leave_line(self) -> None:
        if self._moves:
            self._stream.write("\n")
            self._stream.flush()

    def _line(self, engine: Engine, now: float) -> str:
        state = engine.state
        done, length = state.iteration, state.epoch_length
        speed = (done - self._first) / max(now - self._began, 1e-9)
        if length:
            done = (done - 1) % length + 1 if done else 0
            full = _WIDTH * done // length
            shown = f"[{'=' * full}{' ' * (_WIDTH - full)}] {done}/{length}"
        else:
            shown = f"iteration {done}"
        epochs = "" if state.max_epochs is None else f"/{state.max_epochs}"
        line = f"epoch {state.epoch}{epochs} {shown}, {speed:.1f} it/s"
        loss = loss_of(state.output)
        return line if loss is None else f"{line}, loss {float(loss):.4g}"
