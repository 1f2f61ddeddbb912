"""A pass: one run through a source from its first item to its last."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterator
from types import TracebackType
from typing import TYPE_CHECKING

import numpy as np

from fireworks.message import Message, concat

if TYPE_CHECKING:
    from fireworks.source.base import Source

_ROWS_PER_READ = 256
"""Small items are read together, up to this many rows, and handed out as slices."""


class Pass(Iterator[Message]):
    """One run through the items of a source, in one epoch.

    ``iter(source)`` opens one. Passes over one source do not disturb each other. Finishing a pass
    sets the source's next epoch to the pass's own + 1; abandoning it changes nothing. Over an
    indexed source a pass is finished when its last item is handed out: loops that know the length
    never ask for one more. A pass belongs to one thread.

    Args:
        source: The source.
        epoch: The epoch of this pass, from 0.
        item_rows: Rows in each item of an indexed source; a stream comes in its own chunks.
    """

    def __init__(self, source: Source, epoch: int, item_rows: int) -> None:
        self.epoch = epoch
        self._source = source
        self._handed_out = 0
        self._length: int | None = None
        if source.indexed:
            self._length = -(-source.num_rows // item_rows)
            self._items = indexed_items(source, epoch, item_rows)
        else:
            self._items = source.streamed()

    def __next__(self) -> Message:
        try:
            item = next(self._items)
        except StopIteration:
            if not self._length:  # a stream, or nothing at all
                self._source.finish_epoch(self.epoch)
            raise
        self._handed_out += 1
        if self._handed_out == self._length:
            self._source.finish_epoch(self.epoch)
        return item

    def close(self) -> None:
        """Abandon the pass and let go of what it holds open (files, cursors)."""
        self._items.close()

    def __enter__(self) -> Pass:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def indexed_items(source: Source, epoch: int, size: int) -> Generator[Message]:
    """Yield the rows of an epoch of an indexed source, in items of ``size`` rows."""
    num_rows = source.num_rows
    first = epoch * num_rows
    step = max(1, _ROWS_PER_READ // size) * size
    for start in range(0, num_rows, step):
        stop = min(start + step, num_rows)
        block = source.read(np.arange(first + start, first + stop))
        if step == size:
            yield block
        else:
            for i in range(0, len(block), size):
                yield block[i : i + size]


def rechunk(messages: Iterator[Message], size: int, *, drop_last: bool) -> Generator[Message]:
    """Yield Messages of exactly ``size`` rows from Messages of any length.

    The last is shorter where the rows run out, or left away with ``drop_last``.
    """
    waiting: deque[Message] = deque()
    count = 0
    for message in messages:
        waiting.append(message)
        count += len(message)
        if count < size:
            continue
        rows = waiting[0] if len(waiting) == 1 else concat(list(waiting))
        waiting.clear()
        whole = count - count % size
        for start in range(0, whole, size):
            yield rows[start : start + size]
        if count := count - whole:
            waiting.append(rows[whole:])
    if waiting and not drop_last:
        yield waiting[0] if len(waiting) == 1 else concat(list(waiting))
