"""What each source has done so far, and how long it took."""

from __future__ import annotations

from dataclasses import dataclass, field
from threading import Lock

from fireworks.message import Message


@dataclass
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

    def add(self, message: Message | None, seconds: float, waiting: float) -> None:
        """Count one Message handed out (None: a failure), with the time that it took."""
        rows = 0 if message is None else len(message)
        with self._lock:
            self.seconds += seconds
            self.waiting += waiting
            if message is None:
                return
            self.reads += 1
            self.rows += rows
            if self.reads & (self.reads - 1) == 0:
                self._measured_rows += rows
                self._measured_bytes += message.nbytes
