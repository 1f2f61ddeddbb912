"""Rows in batches."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from fireworks.errors import WrongValue
from fireworks.message import Message
from fireworks.source import Source
from fireworks.source.base import Rows
from fireworks.source.passes import rechunk


class BatchingSource(Source):
    """The rows of a source in batches of one size.

    Over an indexed source it is indexed: ``source[i]`` is batch ``i`` and ``len(source)`` counts
    batches, while ``read`` and ``num_rows`` go on speaking rows. Over a stream it makes exact
    batches, however the rows arrive.

    Args:
        batch_size: Rows in a batch, at least 1.
        drop_last: Leave away the last rows of an epoch where they make no full batch.
        inputs: The source of the rows.
        name: Tells this source from others of its class.

    Raises:
        WrongValue: The batch size is no integer of at least 1.
    """

    epoch_aware = True

    def __init__(
        self,
        batch_size: int,
        *,
        drop_last: bool = False,
        inputs: Source | Mapping[str, Source] | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(inputs=inputs, name=name)
        if not isinstance(batch_size, int | np.integer) or batch_size < 1:
            raise WrongValue(f"batch_size must be an integer of at least 1; it is {batch_size!r}.")
        self.batch_size = int(batch_size)
        self.drop_last = drop_last

    @property
    def num_rows(self) -> int:
        """Rows in one epoch, those that ``drop_last`` leaves away not counted."""
        num_rows = self.input.num_rows
        return num_rows - num_rows % self.batch_size if self.drop_last else num_rows

    @property
    def item_rows(self) -> int:
        """The batch size."""
        return self.batch_size

    def read(self, rows: Rows) -> Message:
        """Return the rows asked for, whatever their batches."""
        if self.drop_last and len(rows):
            epochs, places = np.divmod(rows, self.num_rows)
            rows = epochs * self.input.num_rows + places
        return self.input.read(rows)

    def stream(self, start: object = None) -> Iterator[Message]:
        """Yield exact batches from a streamed input."""
        with iter(self.input) as chunks:
            yield from rechunk(chunks, self.batch_size, drop_last=self.drop_last)
