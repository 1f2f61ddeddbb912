"""Rows in batches."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from fireworks.errors import ColumnNotFound, WrongType, WrongValue, suggest
from fireworks.message import Message, concat
from fireworks.source import Reader, Rows, Run, Source
from fireworks.source.rings import Flow, Position
from fireworks.sources.bucketing import bucketed_order

_ORDERS_KEPT = 2


class BatchingSource(Source):
    """The rows of a source in batches of one size.

    Over an indexed source it is indexed: ``source[i]`` is batch ``i`` and ``len(source)`` counts
    batches, while ``read`` and ``num_rows`` go on speaking rows. Over a stream it makes exact
    batches, however the rows arrive.

    With ``bucket_by`` it shuffles the rows too, so that those of one batch have similar lengths
    and little is padded. The lengths are measured in one scan of the input, at the first use.

    Args:
        batch_size: Rows in a batch, at least 1.
        drop_last: Leave away the last rows of an epoch where they make no full batch.
        pad: Fill up the last batch instead, with its own rows over again.
        bucket_by: The column whose lengths count: numbers are lengths themselves, of text, lists
            and arrays it is the number of characters or elements.
        seed: The seed of the order, for ``bucket_by``.
        inputs: The source of the rows.
        name: Tells this source from others of its class.

    Raises:
        WrongValue: The batch size is no integer of at least 1; both ``drop_last`` and ``pad``;
            ``bucket_by`` without a seed.
        WrongType: (when read) ``bucket_by`` over a stream, or over a source whose epochs differ.
        ColumnNotFound: (when read) there is no such column.
    """

    def __init__(
        self,
        batch_size: int,
        *,
        drop_last: bool = False,
        pad: bool = False,
        bucket_by: str | None = None,
        seed: int | None = None,
        inputs: Source | Mapping[str, Source] | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(inputs=inputs, name=name)
        if not isinstance(batch_size, int | np.integer) or batch_size < 1:
            raise WrongValue(f"batch_size must be an integer of at least 1; it is {batch_size!r}.")
        if drop_last and pad:
            raise WrongValue("The last rows are dropped or filled up; choose drop_last or pad.")
        if (bucket_by is None) != (seed is None):
            raise WrongValue("bucket_by and seed go together: buckets come in a random order.")
        self.batch_size = int(batch_size)
        self.drop_last = drop_last
        self.pad = pad
        self.bucket_by = bucket_by
        self.passes_rows = not (drop_last or pad or bucket_by)  # then they stand where they stood
        self._seed = seed
        self._lengths: Rows | None = None
        self._orders: dict[int, Rows] = {}

    @property
    def num_rows(self) -> int:
        """Rows in one epoch: fewer with ``drop_last``, more with ``pad``."""
        num_rows = self.input.num_rows
        over = num_rows % self.batch_size
        if over and self.pad:
            return num_rows + self.batch_size - over
        return num_rows - over if self.drop_last else num_rows

    @property
    def item_rows(self) -> int:
        """The batch size."""
        return self.batch_size

    @property
    def varies(self) -> bool:
        """Whether the input does, or the rows come in buckets."""
        return self.bucket_by is not None or self.input.varies

    def flow(self, run: Run, start: Position) -> Flow:
        """Yield exact batches of a streamed input."""
        if self.bucket_by is not None:
            raise WrongType(
                f"{self!r} has a stream as its input; bucket_by asks for rows by their lengths. "
                "Hold the rows in memory first: MessageSource(source.read_all())."
            )
        rows = Reader(run, self.input, start, reader=self)
        while (batch := rows.take(self.batch_size)) is not None:
            missing = self.batch_size - len(batch)
            if missing and self.drop_last:
                return
            if missing and self.pad:
                batch = concat([batch, batch.take(np.arange(missing) % len(batch))])
            yield batch, rows.position

    def prepare(self) -> None:
        """Measure the lengths for ``bucket_by``."""
        if self.bucket_by is not None:
            self._order(0)

    def rows_moved(self, kept: int) -> None:
        """Measure the lengths again for ``bucket_by``."""
        self._lengths = None
        self._orders.clear()
        super().rows_moved(kept)

    def describe(self) -> dict[str, Any]:
        """Return what decides the batches."""
        return {
            "batch_size": self.batch_size,
            "drop_last": self.drop_last,
            "pad": self.pad,
            "bucket_by": self.bucket_by,
            "seed": self._seed,
        }

    def reorder(self, rows: Rows) -> Rows:
        """Return the input's rows that stand at these places."""
        if not len(rows) or self.passes_rows:
            return rows
        epochs, places = np.divmod(rows, self.num_rows)
        total = self.input.num_rows
        if self.pad:
            over = total % self.batch_size
            extra = places >= total
            places[extra] = total - over + (places[extra] - total) % max(1, over)
        if self.bucket_by is not None:
            for epoch in np.unique(epochs).tolist():
                here = epochs == epoch
                places[here] = self._order(epoch)[places[here]]
        return epochs * total + places

    def _order(self, epoch: int) -> Rows:
        with self._lock:
            if self._lengths is None:
                self._lengths = self._measured()
            if epoch not in self._orders:
                while len(self._orders) >= _ORDERS_KEPT:
                    del self._orders[next(iter(self._orders))]
                self._orders[epoch] = bucketed_order(
                    self._lengths, self.batch_size, seed=self._seed or 0, epoch=epoch
                )
            return self._orders[epoch]

    def _measured(self) -> Rows:
        if self.input.varies:
            raise WrongType(
                f"{self!r} measures lengths once, but the rows of {self.input!r} differ between "
                "epochs. bucket_by shuffles by itself: leave the shuffle away."
            )
        found: list[Rows] = []
        column = str(self.bucket_by)
        for block in self.input.blocks():
            if column not in block:
                hint = suggest(column, block.columns)
                raise ColumnNotFound(f"{self!r}: there is no column {column!r}.{hint}")
            found.append(_lengths(block, column))
        return np.concatenate(found) if found else np.empty(0, np.int64)

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_orders": {}}


def _lengths(message: Message, column: str) -> Rows:
    values = np.asarray(message[column])
    if values.dtype.kind in "iuf" and values.ndim == 1:
        return values
    return np.fromiter((len(value) for value in values), np.int64, len(values))
