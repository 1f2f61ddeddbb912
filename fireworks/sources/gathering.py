"""Rows picked out of many Messages, into memory that is allocated once."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from fireworks.message import Message
from fireworks.message.column import Column
from fireworks.message.combination import join_column
from fireworks.message.kinds.number import NumberColumn
from fireworks.message.kinds.string import StringColumn
from fireworks.message.kinds.tensor import TensorColumn
from fireworks.message.rows import Rows as Selection
from fireworks.source import Rows

_NOT_IN_NUMPY = {torch.bfloat16, torch.complex32}


class Gathering:
    """A Message that is put together from rows of others.

    Tensors and numbers go straight to their place: neither the parts nor a second copy are held
    while the whole is put together. Nothing keeps the Messages that rows are taken from alive.

    Args:
        num_rows: How many rows there will be.
    """

    def __init__(self, num_rows: int) -> None:
        self._num_rows = num_rows
        self._filled = 0
        self._blocks: dict[str, tuple[type[Column], NDArray[Any]]] = {}
        self._parts: dict[str, list[Column]] = {}
        self._names: list[str] = []

    def add(self, message: Message, rows: Rows) -> None:
        """Add rows of a Message behind those added before."""
        self._names = message.columns
        place = slice(self._filled, self._filled + len(rows))
        for name, column in message.stored.items():
            values = _plain_values(column)
            if values is None:
                part = column.take(Selection(rows))
                if isinstance(part, StringColumn):  # a selection keeps all strings alive
                    part = part.copy()
                self._parts.setdefault(name, []).append(part)
                continue
            if name not in self._blocks:
                block = np.empty((self._num_rows, *values.shape[1:]), values.dtype)
                self._blocks[name] = (type(column), block)
            # Clipping changes nothing, since the rows are there, and spares numpy a buffer.
            values.take(rows, axis=0, out=self._blocks[name][1][place], mode="clip")
        self._filled = place.stop

    def message(self) -> Message:
        """Return the rows, once all were added."""
        columns = {name: self._column(name) for name in self._names}
        return Message.from_columns(columns, self._filled)

    def _column(self, name: str) -> Column:
        if name not in self._blocks:
            return join_column(name, self._parts.pop(name))
        kind, block = self._blocks[name]
        return (
            TensorColumn(torch.from_numpy(block)) if kind is TensorColumn else NumberColumn(block)
        )


def _plain_values(column: Column) -> NDArray[Any] | None:
    """Return the values of a column whose rows are alike and can be copied by numpy, else None."""
    if isinstance(column, NumberColumn):
        return np.asarray(column.array)
    if isinstance(column, TensorColumn) and column.array.dtype not in _NOT_IN_NUMPY:
        tensor = column.array
        if tensor.device.type == "cpu" and tensor.layout == torch.strided:
            return tensor.detach().resolve_conj().resolve_neg().numpy()
    return None
