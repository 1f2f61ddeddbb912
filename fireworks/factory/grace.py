"""When an attempt that was asked to end is made to."""

from __future__ import annotations

import time
from typing import final


@final
class Grace:
    """Moments at which attempts are to be killed."""

    def __init__(self) -> None:
        self._ends: dict[str, float] = {}

    def give(self, attempt: str, seconds: float) -> None:
        """Have an attempt expire after so many seconds; what it was given before is void."""
        self._ends[attempt] = time.monotonic() + seconds

    def drop(self, attempt: str) -> None:
        """Forget an attempt that has ended."""
        self._ends.pop(attempt, None)

    def shorten(self, timeout: float | None) -> float | None:
        """The timeout, or the seconds until the first attempt expires if that is sooner."""
        if not self._ends:
            return timeout
        left = max(0.0, min(self._ends.values()) - time.monotonic())
        return left if timeout is None else min(timeout, left)

    def expired(self) -> list[str]:
        """The attempts whose time is over; each is returned once."""
        if not self._ends:
            return []
        now = time.monotonic()
        over = [attempt for attempt, end in self._ends.items() if end <= now]
        for attempt in over:
            del self._ends[attempt]
        return over
