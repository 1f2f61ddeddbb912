"""What a source does with rows that cannot be read or changed."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from fireworks.errors import ColumnNotFound, WrongLength, WrongValue
from fireworks.message import Message, concat

if TYPE_CHECKING:
    from fireworks.source.base import Source
    from fireworks.source.rings import Flow, Position
    from fireworks.source.run import Run

T = TypeVar("T")
Given = TypeVar("Given", Message, NDArray[np.int64])
Change = Callable[[Message, NDArray[np.int64]], Message]

_NEVER_SKIPPED = (ColumnNotFound, WrongLength)
"""These say that the source is wrong, not a row: leaving rows out would leave out all of them."""


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


def check_on_error(on_error: object) -> OnError:
    """Return ``on_error`` if it is one.

    Raises:
        WrongValue: It is none.
    """
    if on_error == "raise" or on_error == "skip" or isinstance(on_error, Retry):
        return on_error  # pyright: ignore[reportReturnType]  # "raise" or "skip", as compared
    raise WrongValue(f'on_error is "raise", "skip" or Retry(times), not {on_error!r}.')


def retried(
    on_error: OnError,
    action: Callable[[], T],
    failures: type[Exception] = Exception,
    unless: tuple[type[Exception], ...] = (),
) -> T:
    """Return what an action returns, tried again as ``on_error`` says.

    Args:
        on_error: Only a `Retry` tries again.
        action: What to do.
        failures: The errors that may pass.
        unless: Errors among them that will not.
    """
    times, wait = (on_error.times, on_error.wait) if isinstance(on_error, Retry) else (0, 0.0)
    for attempt in range(times):
        try:
            return action()
        except unless:
            raise
        except failures:
            time.sleep(wait * 2**attempt)
    return action()


def survivors(
    given: Given,
    rows: NDArray[np.int64],
    change: Callable[[Given, NDArray[np.int64]], Message],
    skip: Callable[[int, Exception], None],
) -> list[Message]:
    """Make rows, those left out that cannot be made.

    Args:
        given: What the rows are made of: a Message of as many rows, or an array of their numbers.
        rows: Their numbers in the epoch.
        change: Makes some of them.
        skip: Called with the number of each row that cannot be made, and why.
    """
    try:
        return [change(given, rows)]
    except _NEVER_SKIPPED:
        raise
    except Exception as error:
        if len(rows) == 1:
            skip(int(rows[0]), error)
            return []
    half = len(rows) // 2
    return [
        *survivors(given[:half], rows[:half], change, skip),
        *survivors(given[half:], rows[half:], change, skip),
    ]


def changed_chunks(
    source: Source, run: Run, start: Position, change: Change, note: Callable[[str, str], None]
) -> Flow:
    """Yield the chunks of a source's one input, changed as its ``on_error`` says.

    Args:
        source: The source.
        run: The run.
        start: Where to begin; the position counts the rows of the input in this epoch.
        change: Gets rows and their numbers.
        note: Called for each row that is left out: which, and why.
    """
    above, row = (None, 0) if start is None else (start["above"], start["row"])
    skip = _noting(note, run)
    for message, position in run.open(source.input, above, reader=source):
        rows = np.arange(row, row + len(message))
        row += len(message)
        if source.on_error != "skip":
            changed = tried(source, change, message, rows)
        elif left := survivors(message, rows, change, skip):
            changed = concat(left) if len(left) > 1 else left[0]
        else:
            continue
        yield changed, {"above": position, "row": row}


def read_blocks(
    source: Source, run: Run, start: Position, size: int, note: Callable[[str, str], None]
) -> Flow:
    """Yield the rows of an epoch of a source, those left out that cannot be read.

    Args:
        source: The source; its rows are asked for by number.
        run: The run.
        start: The row where to begin; None for the first.
        size: Rows in a block.
        note: Called for each row that is left out: which, and why.
    """
    num_rows = source.num_rows
    skip = _noting(note, run)
    for first in range(start or 0, num_rows, size):
        rows = np.arange(first, min(first + size, num_rows))
        asked = rows + run.epoch * num_rows
        if left := survivors(asked, rows, lambda asked, _: source.read(asked), skip):
            yield concat(left) if len(left) > 1 else left[0], int(rows[-1]) + 1


def _noting(note: Callable[[str, str], None], run: Run) -> Callable[[int, Exception], None]:
    def skip(number: int, error: Exception) -> None:
        note(f"row {number} of epoch {run.epoch}", f"{type(error).__name__}: {error}")

    return skip


def persistent(read: Callable[[Any, NDArray[np.int64]], Message]) -> Callable[..., Message]:
    """Wrap a source's ``read``: it is tried again where the source's ``on_error`` says so."""

    @functools.wraps(read)
    def wrapper(self: Source, rows: NDArray[np.int64]) -> Message:
        return read(self, rows) if self.on_error == "raise" else tried(self, read, self, rows)

    return wrapper


def tried(source: Source, change: Callable[..., Message], *args: Any) -> Message:
    """Return ``change(*args)``, tried again where the source's ``on_error`` says so."""
    rule = source.on_error
    return retried(rule, lambda: change(*args)) if isinstance(rule, Retry) else change(*args)
