"""Another order of the rows in every epoch."""

from __future__ import annotations

import zlib
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from fireworks.errors import WrongType
from fireworks.message import Message
from fireworks.source import Rows, Source

_EPOCHS_KEPT = 2
"""A pass and what is read ahead for the next one touch two epochs."""


class ShufflerSource(Source):
    """The rows of an indexed source in a random order, another one in every epoch.

    Any row of any epoch can be addressed: the order is a permutation of the row indices, drawn
    from the seed, the epoch and the source's name alone, and kept for the last two epochs
    (8 bytes a row each).

    Args:
        seed: The seed of all orders.
        inputs: The source to shuffle.
        name: Tells this source from others of its class; two shufflers with the same seed and
            different names give different orders.

    Raises:
        WrongType: The seed is no integer.
    """

    epoch_aware = True
    needs_inputs = True

    def __init__(
        self,
        seed: int,
        *,
        inputs: Source | Mapping[str, Source] | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(inputs=inputs, name=name)
        if not isinstance(seed, int | np.integer) or seed < 0:
            raise WrongType(f"ShufflerSource needs a seed, an integer from 0; it got {seed!r}.")
        self.seed = int(seed)
        self._orders: dict[int, NDArray[np.int64]] = {}

    @property
    def varies(self) -> bool:
        """Always: every epoch has an order of its own."""
        return True

    def read(self, rows: Rows) -> Message:
        """Return the rows at these places of the shuffled order."""
        if not len(rows):
            return self.input.read(rows)
        num_rows = self.num_rows
        epochs, places = np.divmod(rows, num_rows)
        shuffled = np.empty_like(rows)
        for epoch in np.unique(epochs).tolist():
            here = epochs == epoch
            shuffled[here] = epoch * num_rows + self.order(epoch)[places[here]]
        return self.input.read(shuffled)

    def order(self, epoch: int) -> NDArray[np.int64]:
        """Return the order of an epoch: which row of the input stands at each place."""
        num_rows = self.num_rows
        with self._lock:
            order = self._orders.get(epoch)
            if order is None or len(order) != num_rows:
                key = [self.seed, epoch]
                if self.name is not None:
                    key.append(zlib.crc32(self.name.encode()))
                order = np.random.default_rng(key).permutation(num_rows)
                while len(self._orders) >= _EPOCHS_KEPT:
                    del self._orders[next(iter(self._orders))]
                self._orders[epoch] = order
            return order
