"""A run: what the passes over one graph share while they last."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from fireworks.message import Message, concat
from fireworks.source import wiring
from fireworks.source.path import Path
from fireworks.source.reading import timed
from fireworks.source.rings import Flow, Laggard, Position, Ring

if TYPE_CHECKING:
    from fireworks.source.base import Source

ROWS_PER_READ = 256
"""Rows that stand alone are read together, up to this many."""

RING_SIZE = 16
"""Chunks of a shared stream that are kept for the reader that lags."""


class Run:
    """One run through a graph: its epoch, and the streams that several sources share.

    It is handed explicitly to everything that works for it.

    Args:
        sinks: Where the graph ends.
        epoch: The epoch, from 0.
        laggard: What happens when readers of a shared stream drift apart; see `Graph.run`.
        ring: Chunks of a shared stream that are kept for the reader that lags.
        threaded: Whether readers run in threads of their own, so that one can wait for another
            that has not begun.

    Attributes:
        epoch: The epoch.
        apart: The ``id`` of the graph's ends where there are several: another end may read them
            too.
        ended: Whether it is over.
    """

    def __init__(
        self,
        sinks: Sequence[Source],
        epoch: int,
        *,
        laggard: Laggard = "block",
        ring: int = RING_SIZE,
        threaded: bool = False,
    ) -> None:
        self.epoch = epoch
        self._laggard: Laggard = laggard
        self._ring_size = ring
        self._threaded = threaded
        self._lock = threading.Lock()
        self._rings: dict[int, Ring] = {}
        self._readers = _readers(sinks)
        self.apart = frozenset(map(id, sinks)) if len(sinks) > 1 else frozenset[int]()
        self._at_end: list[Callable[[], None]] = []
        self.ended = False
        for source in dict.fromkeys(each for sink in sinks for each in wiring.upstream(sink)):
            source.begins(self)

    def open(self, source: Source, start: Position = None, *, reader: Source | None = None) -> Flow:
        """Yield the rows of a source behind a position, in chunks, each with its position.

        An indexed source comes in its batches, or in blocks where it has none.

        Args:
            source: What to read.
            start: A position that came with a chunk before; ``None`` for the start.
            reader: Who reads, for messages.
        """
        if self._readers.get(id(source), 0) < 2:
            return self._flow(source, start)
        with self._lock:
            ring = self._rings.get(id(source))
            if ring is None:
                ring = self._rings[id(source)] = Ring(
                    lambda at: self._flow(source, at),
                    readers=self._readers[id(source)],
                    size=self._ring_size,
                    laggard=self._laggard,
                    name=repr(source),
                    threaded=self._threaded,
                )
        return ring.reader(repr(reader) if reader is not None else "the end of the graph", start)

    def at_end(self, call: Callable[[], None]) -> None:
        """Call something when the run ends."""
        self._at_end.append(call)

    def close(self) -> None:
        """Let go of the shared streams, and of what else lasts as long as the run."""
        self.ended = True
        for ring in self._rings.values():
            ring.close()
        self._rings.clear()
        while self._at_end:
            self._at_end.pop()()

    def _flow(self, source: Source, start: Position) -> Flow:
        if source.indexed:
            return _blocks(source, self, start or 0)
        flow = timed(source, source.flow(self, start))
        loops = [each for each in source.outputs if each.closes_loops]
        return _sending(flow, loops) if loops else flow


def _sending(flow: Flow, loops: Sequence[Any]) -> Flow:
    """Yield chunks, each of which is sent round the loops first."""
    for message, position in flow:
        for loop in loops:
            loop.send(message)
        yield message, position


def _blocks(source: Source, run: Run, start: int) -> Flow:
    """Yield an epoch of an indexed source; the position counts its rows."""
    num_rows, size = source.num_rows, source.item_rows
    step = size if size > 1 else ROWS_PER_READ
    first = run.epoch * num_rows
    path = Path(source, run.apart, end=first + num_rows)
    try:
        while start < num_rows:
            stop = min(start + step - start % step, num_rows)
            yield path.read(first + start, first + stop), stop
            start = stop
    finally:
        path.close()


def _readers(sinks: Sequence[Source]) -> dict[int, int]:
    """Return how many in the graph read each source as a stream."""
    count: dict[int, int] = {}
    seen: set[int] = set()
    for sink in sinks:
        if not sink.indexed:
            count[id(sink)] = count.get(id(sink), 0) + 1
        for source in wiring.upstream(sink):
            if source.needs_inputs and not source.inputs:
                _ = source.input  # says how to bind one
            if id(source) in seen or source.indexed or source.closes_loops:
                continue
            seen.add(id(source))
            for above in source.inputs.values():
                count[id(above)] = count.get(id(above), 0) + 1
    return count


class Reader:
    """Rows of a source within a run, taken in any number; what composite streams are made of.

    Its position is that of the chunk it is in, with how many of its rows were taken.

    Args:
        run: The run.
        source: What to read.
        start: A position of such a reader; ``None`` for the start.
        reader: Who reads, for messages.
    """

    def __init__(
        self, run: Run, source: Source, start: Position = None, *, reader: Source | None = None
    ) -> None:
        before = None if start is None else start["at"]
        self._skip: int = 0 if start is None else start["skip"]
        self._flow = run.open(source, before, reader=reader)
        self._before: Position = before
        self._after: Position = before
        self._chunk: Message | None = None
        self._used = 0
        self.ended = False

    @property
    def position(self) -> Position:
        """Where the next row stands."""
        if self._chunk is None:
            return {"at": self._after, "skip": self._skip}
        return {"at": self._before, "skip": self._used}

    def peek(self) -> Message | None:
        """Return the rows of the current chunk that are left; None at the end."""
        while self._chunk is None and not self.ended:
            item = next(self._flow, None)
            if item is None:
                self.ended = True
                break
            self._before, (chunk, self._after) = self._after, item
            if len(chunk) > self._skip:
                self._chunk, self._used = chunk, self._skip
            # Rows that are skipped may lie in chunks that are now cut otherwise.
            self._skip = max(0, self._skip - len(chunk))
        if self._chunk is None:
            return None
        return self._chunk[self._used :] if self._used else self._chunk

    def use(self, rows: int) -> None:
        """Count rows of the current chunk as taken."""
        assert self._chunk is not None
        self._used += rows
        if self._used >= len(self._chunk):
            self._chunk = None

    def take(self, rows: int) -> Message | None:
        """Return the next rows, fewer at the end of the stream; None where there are none."""
        taken: list[Message] = []
        missing = rows
        while missing and (chunk := self.peek()) is not None:
            part = chunk[:missing] if len(chunk) > missing else chunk
            self.use(len(part))
            missing -= len(part)
            taken.append(part)
        if not taken:
            return None
        return taken[0] if len(taken) == 1 else concat(taken)

    def close(self) -> None:
        """Close the stream behind it."""
        self._flow.close()


_running: ContextVar[Run | None] = ContextVar("run", default=None)


def current_run() -> Run | None:
    """Return the run for which a user's ``stream`` is being stepped, if one is."""
    return _running.get()


@contextmanager
def running(run: Run) -> Generator[None]:
    """Let sources that are iterated inside belong to a run."""
    token = _running.set(run)
    try:
        yield
    finally:
        _running.reset(token)


def stepped(run: Run, items: Iterator[object]) -> Generator[object]:
    """Yield what an iterator of a user's yields, each step inside the run."""
    while True:
        with running(run):
            item = next(items, run)  # the run itself cannot be an item
        if item is run:
            return
        yield item
