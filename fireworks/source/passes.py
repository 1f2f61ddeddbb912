"""A pass: one run through a source from its first item to its last."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from fireworks.message import Message
from fireworks.source import state
from fireworks.source.path import Path
from fireworks.source.rings import Position
from fireworks.source.run import ROWS_PER_READ, Run

if TYPE_CHECKING:
    from fireworks.source.base import Source

ROWS_ANNOUNCED = 4_096
"""Rows are announced so many at a time."""
FIRST_ANNOUNCED = 512
"""So many at first, then twice as many each time: the first batch does not wait for all of them."""


class Pass(Iterator[Message]):
    """One run through the items of a source, in one epoch.

    ``iter(source)`` opens one. Passes over one source do not disturb each other. Finishing a pass
    sets the source's next epoch to the pass's own + 1; abandoning it changes nothing. A pass over
    an indexed source is finished when its last item is handed out, and one over a stream when it
    has handed out as many items as the last one did, or has ended: loops that know the length
    never ask for one more. After an error the pass stands where it stood: asking again reads the
    same item again. A pass belongs to one thread.

    Attributes:
        epoch: The epoch of this pass, from 0.
        position: Where it stands, behind the last item handed out; JSON-able.

    Args:
        source: The source.
        run: The run that it belongs to.
        start: Where to begin: a position of an earlier pass; ``None`` for the start.
        owns_run: Whether the run ends with this pass.
    """

    def __init__(
        self,
        source: Source,
        run: Run,
        start: Position = None,
        *,
        owns_run: bool = True,
    ) -> None:
        self.epoch = run.epoch
        self.position: Position = start
        self._source = source
        self._run = run
        self._owns_run = owns_run
        self._from_start = start is None
        self._indexed = source.indexed
        self._handed_out: int = (start or 0) if self._indexed else 0
        self._length: int | None = len(source) if self._indexed else source.items_of_last_pass
        self._steps = self._open()

    def _open(self) -> Generator[tuple[Message, Position]]:
        """Yield the items behind the position, each with its own."""
        if self._indexed:
            return _items(self._source, self._run, self._source.item_rows, self.position or 0)
        return self._run.open(self._source, self.position)

    def __next__(self) -> Message:
        try:
            item, position = next(self._steps)
        except StopIteration:
            if not self._indexed and self._from_start:
                self._source.items_of_last_pass = self._handed_out
            self._source.note(self.epoch, self.position, finished=True)
            self.close()
            raise
        except Exception:
            self._steps = self._open()  # a generator that raised looks ended, and this pass is not
            raise
        self.position = position
        self._handed_out += 1
        finished = self._handed_out == self._length
        self._source.note(self.epoch, position, finished=finished)
        if finished and self._indexed and self._owns_run:
            self._run.close()  # loops that know the length never come back
        return item

    def state_dict(self) -> dict[str, Any]:
        """Return where this pass stands, for ``source.load_state_dict``; it survives JSON."""
        return state.saved(self._source, self.epoch, self.position)

    def close(self) -> None:
        """Abandon the pass and let go of what it holds open (files, cursors)."""
        self._steps.close()
        if self._owns_run:
            self._run.close()

    def __enter__(self) -> Pass:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _items(source: Source, run: Run, size: int, start: int) -> Generator[tuple[Message, Position]]:
    """Yield the items of an epoch of an indexed source; the position counts items."""
    num_rows = source.num_rows
    first = run.epoch * num_rows
    together = ROWS_PER_READ if size == 1 else 1  # batches are what was asked for
    length = -(-num_rows // size)
    announce = _announcer(source, first, start * size)
    announces_first = source.reads_together
    path = Path(source, run.apart, end=first + num_rows)
    try:
        for item in range(start, length, together):
            begin, end = item * size, min((item + together) * size, num_rows)
            if announce is not None and announces_first:
                announce(begin, end)
            block = path.read(first + begin, first + end)
            if announce is None and item == start:
                # How many rows fit into a number of bytes is known once some were read.
                announce = _announcer(source, first, end)
            if announce is not None and not announces_first:
                announce(end, end)  # no row waits for those behind it to be announced
            if together == 1:
                yield block, item + 1
            else:
                for i in range(len(block)):
                    yield block[i : i + 1], item + i + 1
    finally:
        path.close()


def _announcer(source: Source, first: int, start: int) -> Callable[[int, int], None] | None:
    """Return what tells the sources upstream which rows will be read next; None if none listens.

    Rows are announced as far ahead as those upstream can use: a few at each step, so that no step
    takes long, or, where what is announced is read together, in two halves, of which one is being
    fetched while the other is read. The next epoch's rows follow those of this one. What a pass
    announced and did not come to is taken back when the next one begins somewhere else.
    """
    ahead = source.lookahead()
    if ahead < 2:
        return None
    begin = first + start
    next_row, announced = source.announced
    if next_row != begin:
        if announced > next_row:
            source.wont_need(np.arange(next_row, announced))
        announced = begin
    most = ahead if source.reads_together else ROWS_ANNOUNCED
    together = ahead if source.reads_together else FIRST_ANNOUNCED
    enough = ahead - min(ahead // 2, most)

    def announce(start: int, stop: int) -> None:
        nonlocal announced, together
        row = first + start
        announced = max(announced, row)
        if announced - row <= enough:
            until = max(min(row + ahead, announced + together), first + stop)
            source.will_need(np.arange(announced, until))
            announced, together = until, min(2 * together, most)
        source.announced = (first + stop, announced)

    return announce
