"""Another order of the rows in every epoch."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from fireworks.errors import WrongType, WrongValue
from fireworks.source import Reader, Rows, Run, Source
from fireworks.source.base import WAYS_OUT
from fireworks.source.reading import checked, extremes
from fireworks.source.rings import Flow, Position
from fireworks.sources.permutation import KeyedPermutation, StoredPermutation, permutation

_ORDERS_KEPT = 4
"""A pass and what is read ahead for the next one touch two epochs; two passes, four."""

_GROUPS_PER_WINDOW = 16


class ShufflerSource(Source):
    """The rows of a source in a random order, another one in every epoch.

    Over an indexed source any row of any epoch can be addressed: the order is a permutation of the
    row indices, drawn from the seed, the epoch and the source's name alone. Up to 65,536 rows it is
    stored (8 bytes a row), above that it is computed where it is needed.

    With ``window``, rows move less far: an indexed source is cut into groups of ``window / 16``
    consecutive rows, the groups change places, and then the rows within each window do. That suits
    files in which a global shuffle is too slow. A stream has its rows shuffled within one window
    after the other.

    Args:
        seed: The seed of all orders.
        window: Rows within which rows are shuffled; all of them by default.
        inputs: The source to shuffle; without a window an indexed one.
        name: Tells this source from others of its class; two shufflers with the same seed and
            different names give different orders.

    Raises:
        WrongType: The seed is no integer from 0; (when read) a stream without a window.
        WrongValue: The window is below 2.
    """

    passes_rows = True  # they are checked where they change places

    def __init__(
        self,
        seed: int,
        *,
        window: int | None = None,
        inputs: Source | Mapping[str, Source] | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(inputs=inputs, name=name)
        if not isinstance(seed, int | np.integer) or seed < 0:
            raise WrongType(f"ShufflerSource needs a seed, an integer from 0; it got {seed!r}.")
        if window is not None and window < 2:
            raise WrongValue(f"A window holds at least 2 rows, not {window}.")
        self.seed = int(seed)
        self.window = window
        self._name_key = [] if name is None else [zlib.crc32(name.encode())]
        self._orders: dict[tuple[int, ...], StoredPermutation | KeyedPermutation] = {}

    @property
    def varies(self) -> bool:
        """Always: every epoch has an order of its own."""
        return True

    def flow(self, run: Run, start: Position) -> Flow:
        """Yield the rows of a stream, shuffled window by window."""
        if self.window is None:
            raise WrongType(
                f"{self!r} has a stream as its input, whose rows cannot be reached by index. Give "
                f"it a window=. {WAYS_OUT}"
            )
        number = 0 if start is None else start["window"]
        rows = Reader(run, self.input, None if start is None else start["input"], reader=self)
        while (window := rows.take(self.window)) is not None:
            order = np.random.default_rng(self._key(run.epoch, number)).permutation(len(window))
            number += 1
            yield window.take(order), {"window": number, "input": rows.position}

    def order(self, epoch: int) -> Rows:
        """Return the whole order of an epoch: which row of the input stands at each place."""
        return self._shuffled(epoch, np.arange(self.num_rows))

    def describe(self) -> dict[str, Any]:
        """Return what the orders are drawn from."""
        return {"seed": self.seed, "window": self.window}

    def reorder(self, rows: Rows) -> Rows:
        """Return the rows that stand at these places of the shuffled order."""
        if not len(rows):
            return rows
        num_rows = self.num_rows
        rows = np.asarray(rows, np.int64)
        lowest, highest = extremes(rows)
        if lowest < 0 or not num_rows:
            checked(self, rows)  # raises
        epoch = lowest // num_rows
        if highest < (epoch + 1) * num_rows:  # all of one epoch, as nearly always
            first = epoch * num_rows
            above = self._shuffled(epoch, rows - first if first else rows)
            above += first
            return above
        shuffled = np.empty_like(rows)
        epochs, places = np.divmod(rows, num_rows)
        for epoch in np.unique(epochs).tolist():
            here = epochs == epoch
            shuffled[here] = epoch * num_rows + self._shuffled(epoch, places[here])
        return shuffled

    def _shuffled(self, epoch: int, places: Rows) -> Rows:
        if self.window is None:
            return self._permutation(self.num_rows, epoch)(places)
        # First the rows within their window, then the groups that the windows are made of. What
        # is left at the end of all full groups stays at the end.
        windows, inside = np.divmod(places, self.window)
        moved = np.empty_like(places)
        for window in np.unique(windows).tolist():
            here = windows == window
            first = window * self.window
            size = min(self.window, self.num_rows - first)
            moved[here] = first + self._permutation(size, epoch, window)(inside[here])
        group = max(1, self.window // _GROUPS_PER_WINDOW)
        groups, offset = np.divmod(moved, group)
        full = self.num_rows // group
        if full:
            among = groups < full
            groups[among] = self._permutation(full, epoch, -1)(groups[among])
        return groups * group + offset

    def _permutation(self, n: int, epoch: int, part: int | None = None):
        wanted = (n, epoch) if part is None else (n, epoch, part)
        with self._lock:
            order = self._orders.get(wanted)
            if order is None:
                order = permutation(n, self._key(epoch, part))
                while len(self._orders) >= (_ORDERS_KEPT if part is None else 64):
                    del self._orders[next(iter(self._orders))]
                self._orders[wanted] = order
            return order

    def _key(self, epoch: int, part: int | None) -> list[int]:
        return [self.seed, epoch, *self._name_key, *([] if part is None else [part + 1])]

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_orders": {}}
