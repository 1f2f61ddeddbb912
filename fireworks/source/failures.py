"""What a source does with rows that cannot be read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from fireworks.errors import WrongValue


@dataclass(frozen=True)
class Retry:
    """Try again before giving up: for files and servers that fail now and then.

    Attributes:
        times: How often to try again.
        wait: Seconds before the first further try; doubled at each one after it.
    """

    times: int
    wait: float = 0.1

    def __post_init__(self) -> None:
        if self.times < 1 or self.wait < 0:
            raise WrongValue(
                f"Retry takes at least 1 try and no negative wait, not {self.times}, {self.wait}."
            )


OnError = Literal["raise", "skip"] | Retry
"""Raise the error, leave the rows out and remember them, or try again before raising."""


@dataclass(frozen=True)
class Skipped:
    """Rows that were left out.

    Attributes:
        where: Which: a file and a line, a row number.
        reason: Why, in one line.
    """

    where: str
    reason: str
