"""Where the values of one column lie: a place for every slot."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch

from fireworks.message.column import Column
from fireworks.message.kinds.extension import ExtensionColumn
from fireworks.message.kinds.number import NumberColumn
from fireworks.message.kinds.object import ObjectColumn, cell_bytes, object_array
from fireworks.message.kinds.ragged import RaggedColumn
from fireworks.message.kinds.string import StringColumn
from fireworks.message.kinds.tensor import TensorColumn, copy_rows
from fireworks.message.rows import Rows

Int64Array = np.ndarray[Any, np.dtype[np.int64]]
# Slots to write: an array of them, or, faster, a range.
Place: TypeAlias = "Int64Array | slice"


class Block(ABC):
    """One column's values by slot.

    Attributes:
        fixed: Whether all rows take the same number of bytes.
        row_bytes: That number; 0 where they vary from row to row (see `sizes`).
    """

    fixed: bool = True
    row_bytes: int = 0

    @abstractmethod
    def resize(self, slots: int) -> None:
        """Make room for this many slots, never fewer than before."""

    @abstractmethod
    def write(self, slots: Place, column: Column) -> None:
        """Put values into slots."""

    @abstractmethod
    def read(self, slots: Rows) -> Column:
        """A copy of the values in slots."""

    def sizes(self, column: Column) -> Int64Array:
        """Bytes of each row of a column, where they vary."""
        return np.zeros(len(column), np.int64)

    def clear(self, slots: Rows) -> None:  # noqa: B027 (numbers may stay)
        """Let go of what slots hold."""


class TensorBlock(Block):
    """A tensor whose first dimension is the slots."""

    def __init__(self, column: TensorColumn) -> None:
        tensor = column.array
        self._block = torch.empty((0, *tensor.shape[1:]), dtype=tensor.dtype, device=tensor.device)
        self._array = _as_numpy(self._block)
        self.row_bytes = tensor.shape[1:].numel() * tensor.element_size()

    def resize(self, slots: int) -> None:
        old = self._block
        self._block = torch.empty((slots, *old.shape[1:]), dtype=old.dtype, device=old.device)
        self._block[: len(old)] = old
        self._array = _as_numpy(self._block)

    def write(self, slots: Place, column: Column) -> None:
        if self._array is not None:
            # numpy scatters rows twice as fast as torch, wherever they lie.
            self._array[slots] = _as_numpy(column.array)
        else:
            copy_rows(column.array.detach(), self._block, Rows(np.r_[slots]))

    def read(self, slots: Rows) -> Column:
        return TensorColumn(self._block).take(slots)


class NumberBlock(Block):
    """A numpy array."""

    def __init__(self, column: NumberColumn) -> None:
        self._block = np.empty(0, column.array.dtype)
        self.row_bytes = self._block.itemsize

    def resize(self, slots: int) -> None:
        block = np.empty(slots, self._block.dtype)
        block[: len(self._block)] = self._block
        self._block = block

    def write(self, slots: Place, column: Column) -> None:
        self._block[slots] = column.array

    def read(self, slots: Rows) -> Column:
        return NumberColumn(self._block.take(slots.numpy))


class ObjectBlock(Block):
    """An array of references; the base of all blocks whose rows vary in size."""

    fixed = False

    def __init__(self, column: Column) -> None:
        self._block = np.empty(0, object)

    def resize(self, slots: int) -> None:
        block = np.empty(slots, object)
        block[: len(self._block)] = self._block
        self._block = block

    def write(self, slots: Place, column: Column) -> None:
        # A cell that is a view would keep alive all that it was cut from.
        self._block[slots] = object_array([_owned(cell) for cell in column.array])

    def read(self, slots: Rows) -> Column:
        return ObjectColumn(self._block.take(slots.numpy))

    def sizes(self, column: Column) -> Int64Array:
        return np.fromiter((8 + cell_bytes(cell) for cell in column.array), np.int64, len(column))

    def clear(self, slots: Rows) -> None:
        self._block[slots.numpy] = None


class StringBlock(ObjectBlock):
    """Python strings."""

    def write(self, slots: Place, column: Column) -> None:
        self._block[slots] = np.array(column.array.to_pylist(), object)

    def read(self, slots: Rows) -> Column:
        return StringColumn(pa.array(self._block.take(slots.numpy), pa.large_string()))

    def sizes(self, column: Column) -> Int64Array:
        lengths = pc.call_function("binary_length", [column.array]).fill_null(0)
        return lengths.to_numpy() + 8


class RaggedBlock(ObjectBlock):
    """One numpy array per row."""

    def __init__(self, column: RaggedColumn) -> None:
        super().__init__(column)
        self._dtype = column.values.dtype

    def write(self, slots: Place, column: Column) -> None:
        assert isinstance(column, RaggedColumn)
        self._block[slots] = object_array([cell.copy() for cell in column.cells()])

    def read(self, slots: Rows) -> Column:
        cells = self._block.take(slots.numpy)
        offsets = np.zeros(len(cells) + 1, np.int64)
        np.cumsum([len(cell) for cell in cells], out=offsets[1:])
        values = np.concatenate([np.empty(0, self._dtype), *cells])
        return RaggedColumn(values, offsets)

    def sizes(self, column: Column) -> Int64Array:
        assert isinstance(column, RaggedColumn)
        return np.diff(column.offsets) * self._dtype.itemsize + 8


class ExtensionBlock(ObjectBlock):
    """The scalars of a pandas array: categories, datetimes with a zone, nullable numbers."""

    def __init__(self, column: ExtensionColumn) -> None:
        super().__init__(column)
        self._array = column.array[:0].copy()
        self.row_bytes = 16  # close enough: most are numbers, codes or datetimes

    def write(self, slots: Place, column: Column) -> None:
        self._block[slots] = object_array(list(column.array))

    def read(self, slots: Rows) -> Column:
        cells = list(self._block.take(slots.numpy))
        return ExtensionColumn(type(self._array)._from_sequence(cells, dtype=self._array.dtype))

    def sizes(self, column: Column) -> Int64Array:
        return np.zeros(len(column), np.int64)


_BLOCKS: dict[type[Column], Any] = {
    TensorColumn: TensorBlock,
    NumberColumn: NumberBlock,
    StringColumn: StringBlock,
    RaggedColumn: RaggedBlock,
    ObjectColumn: ObjectBlock,
    ExtensionColumn: ExtensionBlock,
}


def make_block(column: Column) -> Block:
    """An empty block for a column's kind, dtype and shape."""
    return _BLOCKS[type(column)](column)


def _as_numpy(tensor: torch.Tensor) -> np.ndarray[Any, Any] | None:
    """A tensor's values in main memory, shared if dense; None where numpy cannot hold them."""
    if not tensor.is_cpu:
        return None
    if tensor.layout is not torch.strided:
        tensor = tensor.to_dense()
    if tensor.dtype is torch.bfloat16:
        tensor = tensor.view(torch.int16)
    try:
        return tensor.numpy(force=True)
    except TypeError:
        return None


def _owned(cell: object) -> object:
    if isinstance(cell, np.ndarray) and cell.base is not None:
        return cell.copy()
    if isinstance(cell, torch.Tensor) and cell.untyped_storage().nbytes() > cell.nbytes:
        return cell.clone()
    return cell
