"""The progress of a sweep while it runs: a live line on a terminal, log lines elsewhere."""

from __future__ import annotations

import logging
import time
from typing import final

from rich.console import Console
from rich.live import Live
from rich.logging import RichHandler
from rich.text import Text

from fireworks.factory.records import TrialRecord
from fireworks.factory.trials import Trials

logger = logging.getLogger("fireworks.factory")

_STARTING = "importing what the trials need"


@final
class Display:
    """Shows a sweep's progress, as a context manager around it.

    On a terminal it is a line that is kept up to date, with log records above it. Elsewhere each
    finished trial is one log record; where logging is not set up, they go to standard error.

    Args:
        trials: The trials; they grow in number while the sweep runs.
        total: How many there are to be.
        console: Where to draw; standard error where None.
    """

    def __init__(
        self,
        trials: Trials,
        total: int,
        console: Console | None = None,
    ) -> None:
        self._trials = trials
        self._total = total
        self._console = console or Console(stderr=True)
        self._began: float | None = None  # when the first of the finished trials did
        self._finished_before = trials.finished
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
        elif not self._trials:
            logger.info("sweep: %s", _STARTING)
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()
        if self._handler is not None:
            logger.removeHandler(self._handler)
            logger.setLevel(self._level)

    def line(self) -> Text:
        """Counts of the trials, the best so far and the time that is left."""
        if not self._trials:
            return Text(f"sweep: {_STARTING}")
        counts, finished = self._trials.counts, self._trials.finished
        shown = [f"{finished}/{self._total} trials"]
        for state in ("running", "paused", "pruned", "failed"):
            if counts[state]:
                shown.append(f"{counts[state]} {state}")
        if (best := self._trials.best) is not None:
            shown.append(f"best {self._values(best)} (trial {best.number})")
        if (left := self._seconds_left(finished)) is not None:
            shown.append(f"{_duration(left)} left")
        return Text("sweep: " + ", ".join(shown))

    def finished(self, record: TrialRecord) -> None:
        """Log how a trial has ended."""
        if self._began is None:  # not before: what the trials need had to be imported
            self._began = time.monotonic() - (record.seconds or 0.0)
        level = logging.WARNING if record.state == "failed" else logging.INFO
        if not logger.isEnabledFor(level):
            return
        what = record.reason or "" if record.values is None else self._values(record)
        took = "" if record.seconds is None else f" in {record.seconds:.1f} s"
        params = ", ".join(f"{name}={_short(value)}" for name, value in record.params.items())
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

    def _values(self, record: TrialRecord) -> str:
        pairs = zip(self._trials.goal.objectives, record.values or (), strict=True)
        return ", ".join(f"{each.metric} {value:.4g}" for each, value in pairs)

    def _seconds_left(self, finished: int) -> float | None:
        here = finished - self._finished_before
        if self._began is None or here == 0 or finished >= self._total:
            return None
        return (time.monotonic() - self._began) / here * (self._total - finished)


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
