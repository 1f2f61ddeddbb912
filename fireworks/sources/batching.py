"""Rows in batches."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from fireworks.errors import WrongValue
from fireworks.message import Message
from fireworks.source import Reader, Rows, Run, Source
from fireworks.source.rings import Flow, Position


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
        return self.input.read(self._above(rows))

    def flow(self, run: Run, start: Position) -> Flow:
        """Yield exact batches of a streamed input."""
        rows = Reader(run, self.input, start, reader=self)
        while (batch := rows.take(self.batch_size)) is not None:
            if len(batch) < self.batch_size and self.drop_last:
                return
            yield batch, rows.position

    def rows_above(self, rows: Rows) -> Mapping[str, Rows]:
        """Return the input's rows: the same, but for those that ``drop_last`` leaves away."""
        return dict.fromkeys(self.inputs, self._above(rows))

    def _above(self, rows: Rows) -> Rows:
        if not self.drop_last or not len(rows):
            return rows
        epochs, places = np.divmod(rows, self.num_rows)
        return epochs * self.input.num_rows + places

    def describe(self) -> dict[str, Any]:
        """Return the batch size and what becomes of the last rows."""
        return {"batch_size": self.batch_size, "drop_last": self.drop_last}
