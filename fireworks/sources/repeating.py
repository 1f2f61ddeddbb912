"""A source several times over, and a stream that can be read by index."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import numpy as np

from fireworks.errors import WrongType, WrongValue
from fireworks.message import Message, concat
from fireworks.source import Reader, Rows, Run, Source
from fireworks.source.rings import Flow, Position

_log = logging.getLogger(__name__)


class RepeaterSource(Source):
    """The epochs of a source, several of them one after the other, as one.

    A shuffle above it is another one in each repetition.

    Args:
        times: How often, at least 1.
        inputs: The source to repeat.
        name: Tells this source from others of its class.

    Raises:
        WrongValue: ``times`` is no integer of at least 1.
    """

    def __init__(
        self,
        times: int,
        *,
        inputs: Source | Mapping[str, Source] | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(inputs=inputs, name=name)
        if not isinstance(times, int | np.integer) or times < 1:
            raise WrongValue(f"times must be an integer of at least 1; it is {times!r}.")
        self.times = int(times)

    @property
    def num_rows(self) -> int:
        """Rows of the input, times over."""
        return self.times * self.input.num_rows

    def reorder(self, rows: Rows) -> Rows:
        """Return the same rows: an epoch of this source is several of its input's."""
        return rows

    def flow(self, run: Run, start: Position) -> Flow:
        """Yield a stream several times; each time as an epoch of its own."""
        first, within = (0, None) if start is None else (start["time"], start["at"])
        for time in range(first, self.times):
            repetition = Run([self.input], run.epoch * self.times + time)
            for message, position in repetition.open(self.input, within, reader=self):
                yield message, {"time": time, "at": position}
            within = None
            repetition.close()

    def describe(self) -> dict[str, Any]:
        """Return how often."""
        return {"times": self.times}


class LoopingSource(Source):
    """A stream that can be run again from its start, as an indexed source.

    Its rows are counted in one scan (`prepare`, or the first use). Rows asked for in order are
    taken from the stream as it goes; for rows that lie behind, it starts again, and says so. To
    shuffle it, put a `CachingSource` that holds all of it in between.

    Args:
        inputs: The stream; the same rows in every run.
        name: Tells this source from others of its class.

    Raises:
        WrongType: (when read) rows come in an order in which every read would start again.
    """

    needs_inputs = True

    def __init__(
        self, *, inputs: Source | Mapping[str, Source] | None = None, name: str | None = None
    ) -> None:
        super().__init__(inputs=inputs, name=name)
        self._count: int | None = None
        self._reader: Reader | None = None
        self._next = 0  # the row that the reader gives next
        self._restarts = 0
        self._served = 0

    @property
    def num_rows(self) -> int:
        """Rows that the stream has, counted in one scan."""
        self.prepare()
        assert self._count is not None
        return self._count

    def prepare(self) -> None:
        """Count the rows of the stream."""
        with self._lock:
            if self._count is None:
                self._count = sum(len(block) for block in self.input.blocks())

    def read(self, rows: Rows) -> Message:
        """Return the rows asked for, from one run forward through the stream."""
        wanted = np.unique(rows)
        if not len(wanted):
            return self.input.take(1)[:0]
        with self._lock:
            if self._reader is None or wanted[0] < self._next:
                self._restart(wanted)
            assert self._reader is not None
            found: list[Message] = []
            while len(wanted):
                chunk = self._reader.take(int(min(wanted[-1] + 1 - self._next, 4096)))
                if chunk is None:
                    raise WrongType(
                        f"{self.input!r} had {self._count} rows when they were counted, and ended "
                        f"after {self._next} this time."
                    )
                here = wanted[wanted < self._next + len(chunk)]
                found.append(chunk.take(here - self._next))
                self._next += len(chunk)
                wanted = wanted[len(here) :]
            self._served += 1
        return concat(found).take(np.searchsorted(np.unique(rows), rows))

    def _restart(self, wanted: Rows) -> None:
        if self._reader is not None and wanted[0] > 0:
            self._restarts += 1
            if self._restarts > 8 and self._restarts > self._served / 2:
                raise WrongType(
                    f"The rows of {self!r} are asked for in an order that runs through the stream "
                    "again at nearly every read. Put a CachingSource that holds all of them, or "
                    "spills the rest to disk, between it and the shuffle."
                )
            _log.warning("%r starts again to reach row %d", self, wanted[0])
        self._reader = Reader(Run([self.input], 0), self.input)
        self._next = 0

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_reader": None, "_next": 0}
