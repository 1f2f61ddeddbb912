"""The progress of a sweep while it runs: a live line on a terminal, log lines elsewhere."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Sequence
from types import TracebackType
from typing import final

from rich.console import Console
from rich.live import Live
from rich.logging import RichHandler
from rich.text import Text

from fireworks.factory.records import Objective, TrialRecord, ranked

logger = logging.getLogger("fireworks.factory")

_STARTING = "importing what the trials need"


@final
class Display:
    """Shows a sweep's progress, as a context manager around it.

    On a terminal it is a line that is kept up to date, with log records above it. Elsewhere each
    finished trial is one log record; where logging is not set up, they go to standard error.

    Args:
        records: The trials; the list grows while the sweep runs.
        trials: How many there are to be.
        objective: What the sweep is after.
        console: Where to draw; standard error where None.
    """

    def __init__(
        self,
        records: Sequence[TrialRecord],
        trials: int,
        objective: Objective,
        console: Console | None = None,
    ) -> None:
        self._records = records
        self._trials = trials
        self._objective = objective
        self._console = console or Console(stderr=True)
        self._began = time.monotonic()
        self._finished_before = sum(record.finished for record in records)
        self._live: Live | None = None
        self._handler: logging.Handler | None = None
        self._level = logging.NOTSET

    def __enter__(self) -> Display:
        if not logger.hasHandlers():
            self._handler = (
                RichHandler(console=self._console, show_path=False, show_level=False)
                if self._console.is_terminal
                else logging.StreamHandler()
            )
            logger.addHandler(self._handler)
            self._level = logger.level
            logger.setLevel(logging.INFO)
        if self._console.is_terminal:
            self._live = Live(
                console=self._console,
                get_renderable=self.line,
                refresh_per_second=4,
                transient=True,
            )
            self._live.start()
        elif not self._records:
            logger.info("sweep: %s", _STARTING)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._live is not None:
            self._live.stop()
        if self._handler is not None:
            logger.removeHandler(self._handler)
            logger.setLevel(self._level)

    def line(self) -> Text:
        """Counts of the trials, the best so far and the time that is left."""
        if not self._records:
            return Text(f"sweep: {_STARTING}")
        counts = Counter(record.state for record in self._records)
        finished = sum(record.finished for record in self._records)
        shown = [f"{finished}/{self._trials} trials"]
        shown += [
            f"{counts[state]} {state}" for state in ("running", "pruned", "failed") if counts[state]
        ]
        best = next(iter(ranked(self._records, self._objective)), None)
        if best is not None and best.value is not None:
            shown.append(f"best {self._objective.metric} {best.value:.4g} (trial {best.number})")
        if (left := self._seconds_left(finished)) is not None:
            shown.append(f"{_duration(left)} left")
        return Text("sweep: " + ", ".join(shown))

    def finished(self, record: TrialRecord) -> None:
        """Log how a trial has ended."""
        if record.value is not None:
            what = f"{self._objective.metric} {record.value:.4g}"
        else:
            what = record.reason or ""
        took = "" if record.seconds is None else f" in {record.seconds:.1f} s"
        params = ", ".join(f"{name}={_short(value)}" for name, value in record.params.items())
        level = logging.WARNING if record.state == "failed" else logging.INFO
        logger.log(
            level,
            "trial %d %s%s%s  [%s]  %s",
            record.number,
            record.state,
            took,
            f": {what}" if what else "",
            params,
            "" if self._live else self.line().plain,
        )

    def _seconds_left(self, finished: int) -> float | None:
        here = finished - self._finished_before
        if here == 0 or finished >= self._trials:
            return None
        return (time.monotonic() - self._began) / here * (self._trials - finished)


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
