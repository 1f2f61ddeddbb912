"""One read through the graph: shared rows computed once, time measured, errors located."""

from __future__ import annotations

import functools
from collections.abc import Callable, Generator
from contextlib import contextmanager
from contextvars import ContextVar
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fireworks.errors import RowOutOfRange
from fireworks.message import Message, concat

if TYPE_CHECKING:
    from fireworks.source.base import Source

Rows = NDArray[np.int64]
Read = Callable[[Any, Rows], Message]


class Reading:
    """What one read from the end of the graph (or one step of a pass) keeps while it lasts.

    Attributes:
        shared: The ``id`` of sources that several ends of the graph read, though one source does.
        inner: Seconds that sources further up have taken, for the statistics of those below.
    """

    __slots__ = ("_computed", "inner", "shared")

    def __init__(self, shared: frozenset[int] = frozenset()) -> None:
        self.inner = 0.0
        self.shared = shared
        self._computed: dict[int, tuple[Rows, Message]] = {}

    def once(self, source: Source, rows: Rows, read: Read) -> Message:
        """Return rows of a shared source, of which each is computed only the first time.

        Readers get Messages of their own over the same columns.
        """
        known = self._computed.get(id(source))
        if known is None:
            message = read(source, rows)
            self._computed[id(source)] = (rows, message)
            return message.copy(deep=False)
        known_rows, message = known
        if np.array_equal(known_rows, rows):
            return message.copy(deep=False)
        missing = np.setdiff1d(rows, known_rows)
        if len(missing):
            message = concat([message, read(source, missing)])
            known_rows = np.concatenate([known_rows, missing])
            self._computed[id(source)] = (known_rows, message)
        order = np.argsort(known_rows, kind="stable")
        places = order[np.searchsorted(known_rows, rows, sorter=order)]
        return message.take(places)


_current: ContextVar[Reading | None] = ContextVar("reading", default=None)


@contextmanager
def one_step(shared: frozenset[int]) -> Generator[None]:
    """Make everything read inside one read: rows that several sinks share are computed once."""
    token = _current.set(Reading(shared))
    try:
        yield
    finally:
        _current.reset(token)


@contextmanager
def apart() -> Generator[None]:
    """Make what is read inside no part of the read around it, whose memory it would fill."""
    token = _current.set(None)
    try:
        yield
    finally:
        _current.reset(token)


def guarded(read: Read) -> Read:
    """Wrap a source's ``read``: rows checked and brought into its range, and all of the above."""

    @functools.wraps(read)
    def wrapper(self: Source, rows: Rows) -> Message:
        if not self.passes_rows:  # where they come to rest, they are checked
            rows = checked(self, rows)
        reading = _current.get()
        token = None
        if reading is None:
            token = _current.set(reading := Reading())
        before, reading.inner = reading.inner, 0.0
        message = None
        began = perf_counter()
        try:
            if self.is_shared or id(self) in reading.shared:
                message = reading.once(self, rows, read)
            else:
                message = read(self, rows)
            return message
        except Exception as error:
            located(error, self, rows)
            raise
        finally:
            spent = perf_counter() - began
            if message is None:
                self.statistics.add_time(spent - reading.inner, reading.inner)
            else:
                self.statistics.add(message, spent - reading.inner, reading.inner)
            reading.inner = before + spent
            if token is not None:
                _current.reset(token)

    return wrapper


def unguarded(source: Source) -> Callable[[Rows], Message]:
    """Return a source's ``read`` without what `guarded` adds: for who does that for many reads."""
    read = source.read
    plain = getattr(read, "__wrapped__", None)
    return read if plain is None else plain.__get__(source)


def located(error: Exception, source: Source, rows: Rows) -> None:
    """Note with an error which rows of which source it kept from being read."""
    shown = ", ".join(map(str, rows[:5])) + (", …" if len(rows) > 5 else "")
    error.add_note(f"while {source!r} read {len(rows)} rows: {shown}")


def timed(source: Source, flow: Generator[Any]) -> Generator[Any]:
    """Yield what a stream yields, with the time of each step added to its source's statistics."""
    while True:
        reading = _current.get()
        token = None
        if reading is None:
            token = _current.set(reading := Reading())
        before, reading.inner = reading.inner, 0.0
        item = None
        began = perf_counter()
        try:
            item = next(flow)
        except StopIteration:
            return
        finally:
            spent = perf_counter() - began
            if item is None:
                source.statistics.add_time(spent - reading.inner, reading.inner)
            else:
                source.statistics.add(item[0], spent - reading.inner, reading.inner)
            reading.inner = before + spent
            if token is not None:
                _current.reset(token)
        yield item


def checked(source: Source, rows: Rows) -> Rows:
    """Return rows as int64, within the source's epoch unless it understands later ones.

    Raises:
        RowOutOfRange: A row is negative, or the source has none.
    """
    rows = np.asarray(rows, dtype=np.int64)
    if not len(rows):
        return rows
    num_rows = source.num_rows
    lowest, highest = extremes(rows)
    if lowest >= 0 and highest < num_rows:
        return rows
    if lowest < 0 or not num_rows:
        source.require_index()
        raise RowOutOfRange(
            f"{source!r} was asked for row {lowest}; it has {num_rows} rows an epoch, "
            "numbered from 0."
        )
    return rows if source.epoch_aware and source.varies else rows % num_rows


def extremes(rows: Rows) -> tuple[int, int]:
    """Return the lowest and the highest of some rows."""
    # Finding where they are takes numpy a third of the time of finding what they are.
    return rows.item(rows.argmin()), rows.item(rows.argmax())
