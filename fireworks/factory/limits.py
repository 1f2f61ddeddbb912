"""What attempts may take: seconds, seconds without progress, memory; and when one took more."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import final

from fireworks.factory.memory import MemoryOf, children_of_all
from fireworks.factory.wire import JSON

_SAMPLE_SECONDS = 0.25
_MOST_OF_THE_TIME = 0.05  # that sampling memory may take
_STARTING_SECONDS = 60.0  # that a process may take, beyond its limits, until it calls train
_PROGRESS_SECONDS = 0.25  # between two signs of life of a process, at the most


@dataclass(frozen=True)
class Limits:
    """The limits of a sweep; None is no limit.

    Attributes:
        trial: Seconds that an attempt at a trial may take.
        sweep: Seconds that one `run` may take.
        progress: Seconds that may pass without an iteration, a log or a report.
        memory: Bytes that an attempt may have beyond what its process begins with.
    """

    trial: float | None = None
    sweep: float | None = None
    progress: float | None = None
    memory: int | None = None

    def __post_init__(self) -> None:
        assert self.memory is None or self.memory > 0

    @property
    def progress_interval(self) -> float | None:
        """Seconds between the signs of life that processes are to give."""
        return None if self.progress is None else min(_PROGRESS_SECONDS, self.progress / 4)


@dataclass
class _Watched:
    began: float
    alive: float  # its last sign of life
    pid: int | None = None
    baseline: int | None = None  # bytes that its process begins with
    memory: MemoryOf | None = None  # once both are known
    is_over: bool = False  # over the memory limit, when it was sampled last


@final
class Watch:
    """Watches the running attempts of one `run`.

    Args:
        limits: What to hold them to.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._attempts: dict[str, _Watched] = {}
        self._end = None if limits.sweep is None else time.monotonic() + limits.sweep
        self._next_sample = 0.0

    def submitted(self, attempt: str) -> None:
        """Begin to watch an attempt, whose time counts from when its process is ready."""
        latest = time.monotonic() + _STARTING_SECONDS
        self._attempts[attempt] = _Watched(latest, latest)

    def started(self, attempt: str, pid: int) -> None:
        """An attempt has a process; that may be told after its first words."""
        watched = self._attempts.get(attempt)
        if watched is not None:
            watched.pid = pid
            self._watch_memory(watched)

    def heard(self, attempt: str, message: JSON) -> None:
        """Any word of an attempt is a sign of life; with the first, its training begins."""
        watched = self._attempts.get(attempt)
        if watched is None:
            return
        watched.alive = time.monotonic()
        if "ready" in message:
            watched.began = watched.alive
            watched.baseline = message["ready"]
            self._watch_memory(watched)

    def ended(self, attempt: str) -> None:
        """Watch it no more: it has ended, or was asked to."""
        self._attempts.pop(attempt, None)

    def sweep_exceeded(self) -> str | None:
        """Why the sweep is to end, when its time is over; told once."""
        if self._end is None or time.monotonic() < self._end:
            return None
        self._end = None
        return f"the sweep is over its time limit of {self._limits.sweep:g} s"

    def timeout(self) -> float | None:
        """Seconds until there may be something to be found; None where nothing will."""
        limits = self._limits
        moments: list[float] = [] if self._end is None else [self._end]
        for watched in self._attempts.values():
            if limits.trial is not None:
                moments.append(watched.began + limits.trial)
            if limits.progress is not None:
                moments.append(self._silent_until(watched, limits.progress))
            if watched.memory is not None:
                moments.append(self._next_sample)
        return max(0.0, min(moments) - time.monotonic()) if moments else None

    def exceeded(self) -> Iterator[tuple[str, str]]:
        """The attempts that are over a limit, and over which; each once."""
        now = time.monotonic()
        measured = any(each.memory for each in self._attempts.values())
        sample = measured and now >= self._next_sample
        children = children_of_all() if sample else {}
        for attempt, watched in list(self._attempts.items()):
            reason = self._over_time(watched, now)
            if reason is None and sample:
                reason = self._over_memory(watched, children)
            if reason is not None:
                del self._attempts[attempt]
                yield attempt, reason
        if sample:
            took = time.monotonic() - now
            self._next_sample = now + max(_SAMPLE_SECONDS, took / _MOST_OF_THE_TIME)

    def _watch_memory(self, watched: _Watched) -> None:
        if self._limits.memory is None or watched.pid is None or watched.baseline is None:
            return
        watched.memory = MemoryOf(watched.pid, watched.baseline)

    def _over_time(self, watched: _Watched, now: float) -> str | None:
        trial, progress = self._limits.trial, self._limits.progress
        if trial is not None and now >= watched.began + trial:
            return f"over its time limit of {trial:g} s"
        if progress is not None and now >= self._silent_until(watched, progress):
            return f"no progress for {progress:g} s (no iteration, log or report)"
        return None

    def _over_memory(self, watched: _Watched, children: Mapping[int, Sequence[int]]) -> str | None:
        limit = self._limits.memory
        if limit is None or watched.memory is None:
            return None
        size = watched.memory.measure(limit, children)
        # Twice in a row: what was just forked by `subprocess` lives in its parent's memory, which
        # would count twice, until it is another program.
        was_over, watched.is_over = watched.is_over, size > limit
        if not (was_over and watched.is_over):
            return None
        return f"over its memory limit of {limit / 1e6:,.0f} MB: it took {size / 1e6:,.0f} MB"

    def _silent_until(self, watched: _Watched, progress: float) -> float:
        # Its last sign of life may be later, by the interval, than the one that was told.
        return watched.alive + progress + (self._limits.progress_interval or 0.0)
