"""What each source has done so far, and how long it took."""

from __future__ import annotations

from collections.abc import Sequence
from threading import Lock

from fireworks.message import Message


class Statistics:
    """Counters of one source; safe to add to from several threads."""

    __slots__ = ("_lock", "_measured", "_reads", "_rows", "_seconds", "_tallies", "_waiting")

    def __init__(self) -> None:
        self._reads = self._rows = 0
        self._seconds = self._waiting = 0.0
        self._measured = (0, 0)  # rows, and the bytes that they took
        self._tallies: dict[Tally, int] = {}  # with this source's place among those of the pass
        self._lock = Lock()

    @property
    def reads(self) -> int:
        """Messages handed out."""
        with self._lock:
            return self._reads + sum(each.reads for each in self._tallies)

    @property
    def rows(self) -> int:
        """Rows in them."""
        with self._lock:
            return self._rows + sum(each.rows for each in self._tallies)

    @property
    def seconds(self) -> float:
        """Seconds of its own work, its inputs' left out."""
        with self._lock:
            return self._seconds + sum(t.seconds[place] for t, place in self._tallies.items())

    @property
    def waiting(self) -> float:
        """Seconds spent waiting for its inputs."""
        with self._lock:
            return self._waiting + sum(sum(t.seconds[:place]) for t, place in self._tallies.items())

    @property
    def bytes(self) -> int:
        """Bytes handed out, estimated from the 1st, 2nd, 4th, 8th, … Message."""
        rows, size = self._measured
        return round(self.rows * size / rows) if rows else 0

    def add(self, message: Message, seconds: float, waiting: float) -> None:
        """Count one Message handed out, with the time that it took."""
        rows = len(message)
        with self._lock:
            self._seconds += seconds
            self._waiting += waiting
            self._rows += rows
            self._reads = reads = self._reads + 1
        if not reads & (reads - 1):
            self.measure(rows, message.nbytes)

    def add_time(self, seconds: float, waiting: float = 0.0) -> None:
        """Count time that gave no Message: a failure, or work for several Messages at once."""
        with self._lock:
            self._seconds += seconds
            self._waiting += waiting

    def measure(self, rows: int, size: int) -> None:
        """Take the bytes of so many rows into the estimate."""
        with self._lock:
            measured = self._measured
            self._measured = (measured[0] + rows, measured[1] + size)

    def open(self, tally: Tally, place: int) -> None:
        """Count what a pass does as it goes."""
        with self._lock:
            self._tallies[tally] = place

    def settle(self, tally: Tally) -> None:
        """Add what a pass has done."""
        with self._lock:
            place = self._tallies.pop(tally)
            self._reads += tally.reads
            self._rows += tally.rows
            self._seconds += tally.seconds[place]
            self._waiting += sum(tally.seconds[:place])

    def __repr__(self) -> str:
        return (
            f"Statistics(reads={self.reads}, rows={self.rows}, seconds={self.seconds:.6f}, "
            f"waiting={self.waiting:.6f})"
        )


class Tally:
    """What one pass does at sources that hand the same rows on, each to the next.

    One count serves them all, which is much cheaper than one each. It counts as theirs from the
    start; a pass has one thread, and settles it at its end.

    Args:
        sources: The sources' statistics, in the order in which rows come by; None for one that
            counts by itself, and is waited for by the others.

    Attributes:
        reads: Messages handed out by each.
        rows: Rows in them.
        seconds: Of each source's own work.
    """

    __slots__ = ("_sources", "reads", "rows", "seconds")

    def __init__(self, sources: Sequence[Statistics | None]) -> None:
        self.reads = self.rows = 0
        self.seconds = [0.0] * len(sources)
        self._sources = [each for each in sources if each is not None]
        for place, each in enumerate(sources):
            if each is not None:
                each.open(self, place)

    def settle(self) -> None:
        """Add the counts to those of each source, for good."""
        while self._sources:
            self._sources.pop().settle(self)


def measure(message: Message, statistics: Sequence[Statistics]) -> None:
    """Take the size of a Message that several sources handed out into the estimate of each."""
    rows, size = len(message), message.nbytes
    for each in statistics:
        each.measure(rows, size)
