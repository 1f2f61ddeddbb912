"""What each source has done so far, and how long it took."""

from __future__ import annotations

from dataclasses import dataclass, field
from threading import Lock

from fireworks.message import Message


@dataclass(slots=True)
class Statistics:
    """Counters of one source; safe to add to from several threads.

    Attributes:
        reads: Messages handed out.
        rows: Rows in them.
        seconds: Seconds of its own work, its inputs' left out.
        waiting: Seconds spent waiting for its inputs.
    """

    reads: int = 0
    rows: int = 0
    seconds: float = 0.0
    waiting: float = 0.0
    _measured_rows: int = field(default=0, repr=False)
    _measured_bytes: int = field(default=0, repr=False)
    _lock: Lock = field(default_factory=Lock, repr=False, compare=False)

    @property
    def bytes(self) -> int:
        """Bytes handed out, estimated from the 1st, 2nd, 4th, 8th, … Message."""
        if not self._measured_rows:
            return 0
        return round(self.rows * self._measured_bytes / self._measured_rows)

    def add(self, message: Message, seconds: float, waiting: float) -> None:
        """Count one Message handed out, with the time that it took."""
        rows = len(message)
        with self._lock:
            self.seconds += seconds
            self.waiting += waiting
            self.rows += rows
            self.reads = reads = self.reads + 1
            if not reads & (reads - 1):
                self._measured_rows += rows
                self._measured_bytes += message.nbytes

    def add_time(self, seconds: float, waiting: float = 0.0) -> None:
        """Count time that gave no Message: a failure, or work for several Messages at once."""
        with self._lock:
            self.seconds += seconds
            self.waiting += waiting
