"""Rows picked out of many Messages, into memory that is allocated once."""

from __future__ import annotations

import threading
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
    """A Message that is put together from rows of others, in any order. Thread-safe.

    Tensors and numbers go straight to their place: neither the parts nor a second copy are held
    while the whole is put together. Nothing keeps the Messages that rows are taken from alive.

    Args:
        num_rows: How many rows there will be.
    """

    def __init__(self, num_rows: int) -> None:
        self._num_rows = num_rows
        self._blocks: dict[str, tuple[type[Column], NDArray[Any]]] = {}
        self._parts: dict[str, list[Column]] = {}
        self._part_places: list[Rows] = []
        self._names: list[str] = []
        self._lock = threading.Lock()

    def put(self, message: Message, rows: Rows, places: Rows) -> None:
        """Put rows of a Message at their places, which no other rows get."""
        apart: dict[str, Column] = {}
        for name, column in message.stored.items():
            values = _plain_values(column)
            if values is None:
                part = column.take(Selection(rows))
                # A selection of strings keeps all of them alive.
                apart[name] = part.copy() if isinstance(part, StringColumn) else part
            else:
                self._block(name, type(column), values)[places] = values.take(rows, axis=0)
        with self._lock:
            self._names = message.columns
            self._part_places.append(places)
            for name, part in apart.items():
                self._parts.setdefault(name, []).append(part)

    def message(self) -> Message:
        """Return the rows, once all were put."""
        order = None
        if self._parts:
            order = Selection(np.argsort(np.concatenate(self._part_places)))
        columns = {name: self._column(name, order) for name in self._names}
        return Message.from_columns(columns, self._num_rows)

    def _block(self, name: str, kind: type[Column], like: NDArray[Any]) -> NDArray[Any]:
        with self._lock:
            if name not in self._blocks:
                self._blocks[name] = (kind, np.empty((self._num_rows, *like.shape[1:]), like.dtype))
            return self._blocks[name][1]

    def _column(self, name: str, order: Selection | None) -> Column:
        if name not in self._blocks:
            assert order is not None
            return join_column(name, self._parts.pop(name)).take(order)
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
