"""Tensor columns as vectors."""

from __future__ import annotations

import torch

from fireworks.message.column import Column
from fireworks.message.kinds.number import NumberColumn
from fireworks.message.kinds.ragged import from_matrix
from fireworks.message.kinds.tensor import TensorColumn


def as_vector(column: Column) -> Column:
    """A column as a vector: tensors of one dimension as numbers, of several as cells of arrays.

    A tensor is copied from its device, and its gradient left behind; numbers that numpy does not
    have (bfloat16, 8-bit floats) become float32.
    """
    if not isinstance(column, TensorColumn):
        return column
    tensor = column.array.detach().cpu()
    small = tensor.dtype.itemsize == 1 and tensor.is_floating_point()
    if small or tensor.dtype == torch.bfloat16:
        tensor = tensor.float()
    elif tensor.dtype == torch.complex32:
        tensor = tensor.to(torch.complex64)
    array = tensor.resolve_conj().resolve_neg().numpy().copy()
    if array.ndim == 1:
        return NumberColumn(array)
    return from_matrix(array)
