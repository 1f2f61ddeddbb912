"""A stream that several sources read: computed once, handed to each through a bounded ring."""

from __future__ import annotations

import shutil
import tempfile
import threading
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any, Literal

from fireworks.errors import DeadlockError, WrongValue
from fireworks.message import Message

Laggard = Literal["block", "spill", "reread", "drop"]
LAGGARDS = ("block", "spill", "reread", "drop")
"""What happens when one reader is a whole ring ahead of another; see `Graph.run`."""

Position = Any
"""JSON-able; what it means is known to the source that gave it."""

Chunk = tuple[Message, Position]
Flow = Generator[Chunk]

# Which thread waits for which, over all rings: a cycle is a deadlock.
_waiting: dict[int, int] = {}
_waiting_lock = threading.Lock()


class _Cursor:
    """One reader's place in a ring."""

    def __init__(self, name: str, place: int) -> None:
        self.name = name
        self.place = place
        self.thread = threading.get_ident()


class Ring:
    """The chunks of one stream within one run, for a number of readers.

    A position is ``{"n": chunks before, "at": the stream's own position}``, so that readers that
    stopped at different chunks can go on together.

    Args:
        open_flow: Opens the stream at one of its own positions.
        readers: How many will read; chunks are kept until all have taken them.
        size: How many chunks to keep for a reader that lags.
        laggard: What to do when more would have to be kept.
        name: Of the shared source, for messages.
        threaded: Whether a reader that has not begun may still do so while another waits.
    """

    def __init__(
        self,
        open_flow: Callable[[Position], Flow],
        *,
        readers: int,
        size: int,
        laggard: Laggard,
        name: str,
        threaded: bool,
    ) -> None:
        if laggard not in LAGGARDS:
            raise WrongValue(f"laggard must be one of {', '.join(LAGGARDS)}, not {laggard!r}.")
        self._open_flow = open_flow
        self._unopened = readers
        self._size = size
        self._laggard = laggard
        self._name = name
        self._threaded = threaded
        self._cursors: list[_Cursor] = []
        self._flow: Flow | None = None
        self._at: Position = None  # where the stream stands, behind the last chunk pulled
        self._chunks: dict[int, Chunk | Path] = {}
        self._first = self._next = 0  # numbers of the first chunk kept, and of the next to come
        self._ended = False
        self._condition = threading.Condition()
        self._folder: Path | None = None
        self._spilled: dict[Path, Position] = {}
        self.dropped = 0

    def reader(self, name: str, start: Position) -> Flow:
        """Yield the chunks behind a position; ``None`` is the start."""
        place = 0 if start is None else start["n"]
        with self._condition:
            self._unopened = max(0, self._unopened - 1)
            if self._flow is None and not self._next:
                self._at = None if start is None else start["at"]
                self._first = self._next = place
            if self._laggard == "drop" and place < self._first:
                self.dropped += self._first - place
                place = self._first
            cursor = _Cursor(name, place)
            self._cursors.append(cursor)
        try:
            at = None if start is None else start["at"]
            own: Flow | None = None  # for what is no longer in the ring
            while True:
                if cursor.place < self._first:
                    if own is None:
                        own = self._open_flow(at)
                    chunk = next(own, None)
                else:
                    if own is not None:
                        own.close()
                        own = None
                    chunk = self._take(cursor)
                if chunk is None:
                    return
                message, at = chunk
                cursor.place += 1
                self._let_go()
                yield message.copy(deep=False), {"n": cursor.place, "at": at}
        finally:
            with self._condition:
                self._cursors.remove(cursor)
            self._let_go()

    def close(self) -> None:
        """Close the stream and remove what was spilled."""
        if self._flow is not None:
            self._flow.close()
        self._chunks.clear()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _take(self, cursor: _Cursor) -> Chunk | None:
        """Return the chunk at a cursor, pulling as many as it takes; None at the end."""
        with self._condition:
            cursor.thread = threading.get_ident()
            while True:
                if cursor.place < self._next:
                    chunk = self._chunks[cursor.place]
                    if isinstance(chunk, Path):
                        return Message.load(chunk), self._spilled[chunk]
                    return chunk
                if self._ended:
                    return None
                if self._laggard == "block" and self._next - self._slowest() >= self._size:
                    self._block(cursor)
                else:
                    self._pull()

    def _pull(self) -> None:
        if self._flow is None:
            self._flow = self._open_flow(self._at)
        try:
            chunk = next(self._flow, None)
        except BaseException:
            self._flow = None  # a stream that raised looks ended: who asks next opens it again
            raise
        if chunk is None:
            self._ended = True
        else:
            self._at = chunk[1]
            self._chunks[self._next] = chunk
            self._next += 1
            if self._next - self._slowest() > self._size:
                self._make_room()
        self._wake()

    def _slowest(self) -> int:
        """Return the first chunk that a reader of the ring still needs."""
        if self._unopened:
            return self._first
        # Who fell out of the ring reads on its own until it has caught up.
        return min((c.place for c in self._cursors if c.place >= self._first), default=self._next)

    def _make_room(self) -> None:
        """Bring the ring back to its size by the rule for laggards."""
        if self._laggard == "spill":
            self._spill()
            return
        oldest = min(self._chunks)
        del self._chunks[oldest]
        self._first = oldest + 1
        if self._laggard == "drop":
            for each in self._cursors:
                if each.place == oldest:
                    each.place += 1
                    self.dropped += 1

    def _block(self, ahead: _Cursor) -> None:
        """Wait until the slowest reader has moved, if it can."""
        me = threading.get_ident()
        if self._unopened:
            certain, late = not self._threaded, "a reader that has not begun"
        else:
            in_ring = [each for each in self._cursors if each.place >= self._first]
            behind = min(in_ring, key=lambda each: each.place)
            late = behind.name
            with _waiting_lock:
                _waiting[me] = behind.thread
                seen, thread = {me}, behind.thread
                while thread in _waiting and thread not in seen:
                    seen.add(thread)
                    thread = _waiting[thread]
                certain = thread == me
                if certain:
                    del _waiting[me]
        if certain:
            raise DeadlockError(
                f"{ahead.name} is {self._size} chunks of {self._name} ahead of {late}, which "
                "cannot move before it gets its next row. Read them at the same pace, or choose "
                "laggard='spill', 'reread' or 'drop' in Graph.run."
            )
        self._condition.wait()

    def _wake(self) -> None:
        """Let everybody who waits look again; from now on they no longer count as waiting."""
        with _waiting_lock:
            for each in self._cursors:
                _waiting.pop(each.thread, None)
        self._condition.notify_all()

    def _spill(self) -> None:
        """Put the newest chunk that is in memory on disk: the laggard takes it last."""
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="fireworks-ring-"))
        newest = max(n for n, chunk in self._chunks.items() if not isinstance(chunk, Path))
        chunk = self._chunks[newest]
        assert not isinstance(chunk, Path)
        path = self._folder / f"{newest}.arrow"
        chunk[0].save(path)
        self._spilled[path] = chunk[1]
        self._chunks[newest] = path

    def _let_go(self) -> None:
        """Forget the chunks that every reader has taken."""
        with self._condition:
            slowest = self._slowest()
            for number in [n for n in self._chunks if n < slowest]:
                chunk = self._chunks.pop(number)
                if isinstance(chunk, Path):
                    chunk.unlink(missing_ok=True)
                    del self._spilled[chunk]
            self._first = max(self._first, min(slowest, self._next))
            self._wake()
