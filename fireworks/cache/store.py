"""Where the rows lie: for each column one block with a place for every slot."""

from __future__ import annotations

from typing import Any

import numpy as np

from fireworks.cache.blocks import Block, make_block
from fireworks.errors import ColumnNotFound, WrongType, suggest
from fireworks.message import Message
from fireworks.message.rows import Rows

Int64Array = np.ndarray[Any, np.dtype[np.int64]]


class Store:
    """Rows by slot; the first rows written decide columns, dtypes and shapes."""

    def __init__(self, template: Message) -> None:
        self.slots = 0
        self._template = template[:0].copy()
        self._blocks: dict[str, Block] = {
            name: make_block(column) for name, column in template.stored.items()
        }
        self.row_bytes = sum(block.row_bytes for block in self._blocks.values())
        self.fixed = all(block.fixed for block in self._blocks.values())

    def check(self, message: Message) -> None:
        """Check that rows fit.

        Raises:
            ColumnNotFound: A column is missing, or one is new.
            WrongType: A column has another kind, dtype, trailing shape or device.
        """
        columns = message.stored
        if columns.keys() != self._blocks.keys():
            for name in self._blocks:
                if name not in columns:
                    raise ColumnNotFound(
                        f"The rows lack the column {name!r}, which the cached rows have."
                        + suggest(name, columns)
                    )
            name = next(name for name in columns if name not in self._blocks)
            raise ColumnNotFound(
                f"The rows have a column {name!r}, which the cached rows lack."
                + suggest(name, self._blocks)
            )
        for name, column in columns.items():
            mine = self._template.stored[name]
            if not mine.fits(column):
                raise WrongType(
                    f"Column {name!r} is {column.field}, but the cached rows have {mine.field}."
                )

    def resize(self, slots: int) -> None:
        """Make room for this many slots."""
        for block in self._blocks.values():
            block.resize(slots)
        self.slots = slots

    def sizes(self, message: Message) -> Int64Array:
        """Bytes of each row."""
        sizes = np.full(len(message), self.row_bytes, np.int64)
        if not self.fixed:
            for name, block in self._blocks.items():
                if not block.fixed:
                    sizes += block.sizes(message.stored[name])
        return sizes

    def write(self, slots: Int64Array, message: Message) -> None:
        """Put rows, checked before, into slots."""
        place = _as_range(slots)
        for name, block in self._blocks.items():
            block.write(place, message.stored[name])

    def read(self, slots: Rows, columns: list[str] | None = None) -> Message:
        """The rows in slots, copied."""
        names = self._blocks if columns is None else columns
        return Message.from_columns(
            {name: self._blocks[name].read(slots) for name in names}, len(slots)
        )

    def clear(self, slots: Rows) -> None:
        """Let go of what slots hold."""
        if not self.fixed:
            for block in self._blocks.values():
                block.clear(slots)

    @property
    def empty(self) -> Message:
        """No rows, of the columns of all."""
        return self._template


def _as_range(slots: Int64Array) -> Int64Array | slice:
    """Slots as a slice where they lie one after the other, as they do when a queue is used up."""
    first, last = int(slots[0]), int(slots[-1])
    if last - first != len(slots) - 1:
        return slots
    # Comparing bytes is the fastest way of comparing small arrays.
    ordered = slots.tobytes() == np.arange(first, last + 1).tobytes()
    return slice(first, last + 1) if ordered else slots
