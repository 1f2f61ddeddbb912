"""Tensor columns: any dtype, device and trailing shape; gradients pass through."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from fireworks.errors import WrongType
from fireworks.message.column import Column, Field
from fireworks.message.rows import Rows

# Dtypes for which torch lacks an operation on the CPU are moved as integers of the same width.
_INTEGERS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
_COMPARED_AS_INTEGERS = (torch.uint16, torch.uint32, torch.uint64)
# Dtypes without a typed storage, which torch 2.13 can pickle but not unpickle.
_UNPICKLABLE = {
    *_COMPARED_AS_INTEGERS,
    *(
        dtype
        for name in dir(torch)
        if isinstance(dtype := getattr(torch, name), torch.dtype)
        and dtype.itemsize == 1
        and dtype.is_floating_point
    ),
}


class TensorColumn(Column):
    """A tensor whose first dimension is the rows."""

    __slots__ = ("_tensor",)

    def __init__(self, tensor: torch.Tensor) -> None:
        self._tensor = tensor

    def __len__(self) -> int:
        return self._tensor.shape[0]

    @property
    def field(self) -> Field:
        tensor = self._tensor
        return Field("tensor", str(tensor.dtype), tuple(tensor.shape[1:]), str(tensor.device))

    @property
    def nbytes(self) -> int:
        return self._tensor.numel() * self._tensor.element_size()

    @property
    def array(self) -> torch.Tensor:
        return self._tensor

    def present(self, name: str) -> torch.Tensor:
        return self._tensor

    def take(self, rows: Rows) -> TensorColumn:
        tensor = self._tensor
        index = rows.tensor if tensor.is_cpu else rows.tensor.to(tensor.device)
        try:
            return TensorColumn(tensor.index_select(0, index))
        except (NotImplementedError, RuntimeError):
            return TensorColumn(_take_any_dtype(tensor, index))

    def slice(self, rows: slice) -> TensorColumn:
        return TensorColumn(self._tensor[rows])

    def put(self, rows: Rows, values: Column) -> TensorColumn:
        new = values.array
        old = self._tensor
        assert isinstance(new, torch.Tensor)
        if new.device != old.device:
            raise WrongType(
                f"values on device {new.device} cannot go into a column on {old.device}; "
                f"move one of them with .to(device)"
            )
        if new.shape[1:] != old.shape[1:]:
            raise WrongType(
                f"rows of shape {tuple(new.shape[1:])} do not fit a column whose rows have shape "
                f"{tuple(old.shape[1:])}"
            )
        if not torch.can_cast(new.dtype, old.dtype) or (
            old.dtype == torch.bool and new.dtype != torch.bool
        ):
            raise WrongType(
                f"values of dtype {new.dtype} do not fit a column of dtype {old.dtype}; "
                f"convert them first"
            )
        changed = old.clone()
        if changed.requires_grad or new.requires_grad:
            changed[rows.tensor.to(old.device)] = new.to(old.dtype)  # gradients flow to both
        else:
            copy_rows(new, changed, rows)
        return TensorColumn(changed)

    def concat(self, others: Sequence[Column]) -> TensorColumn:
        tensors = [self._tensor, *(each.array for each in others)]
        first = self._tensor
        try:
            joined = torch.cat(tensors)
        except RuntimeError as error:
            raise WrongType(_why_not_joined(tensors, str(error))) from None
        # torch.cat passes over tensors of shape (0,), whatever the shape of the others.
        if joined.shape[1:] != first.shape[1:]:
            raise WrongType(_why_not_joined(tensors, "their shapes differ"))
        return TensorColumn(joined)

    def equals(self, other: Column, rtol: float, atol: float) -> bool:
        a, b = self._tensor.detach(), other.array.detach()
        if a.shape != b.shape or a.dtype != b.dtype:
            return False
        if a.device != b.device:
            b = b.to(a.device)
        if a.dtype == torch.complex32:
            a, b = torch.view_as_real(a), torch.view_as_real(b)
        if a.dtype in _COMPARED_AS_INTEGERS:
            integers = _INTEGERS[a.element_size()]
            a, b = a.view(integers), b.view(integers)
        if not (a.is_floating_point() or a.is_complex()):
            return torch.equal(a, b)
        if rtol or atol:
            return torch.allclose(a, b, rtol, atol, equal_nan=True)
        return bool(((a == b) | ((a != a) & (b != b))).all())

    def tensor(self) -> torch.Tensor:
        return self._tensor

    def fits(self, other: Column) -> bool:
        if not isinstance(other, TensorColumn):
            return False
        a, b = self._tensor, other._tensor
        same_shape = a.ndim == b.ndim and a.shape[1:] == b.shape[1:]
        return same_shape and a.dtype == b.dtype and a.device == b.device

    def copy(self) -> TensorColumn:
        tensor = self._tensor
        if tensor.requires_grad and tensor.is_leaf:
            return TensorColumn(tensor.detach().clone().requires_grad_())
        return TensorColumn(tensor.clone())

    def __reduce__(self) -> tuple[Any, ...]:
        tensor = self._tensor
        if tensor.untyped_storage().nbytes() > self.nbytes:
            tensor = tensor.clone()  # rows of a view must not carry all others along
        if tensor.dtype == torch.complex32:
            return _restored, (torch.view_as_real(tensor.resolve_conj()), tensor.dtype)
        if tensor.dtype in _UNPICKLABLE:
            return _restored, (
                tensor.contiguous().view(_INTEGERS[tensor.element_size()]),
                tensor.dtype,
            )
        return TensorColumn, (tensor,)


def _restored(tensor: torch.Tensor, dtype: torch.dtype) -> TensorColumn:
    if dtype == torch.complex32:
        return TensorColumn(torch.view_as_complex(tensor))
    return TensorColumn(tensor.view(dtype))


def _why_not_joined(tensors: Sequence[torch.Tensor], otherwise: str) -> str:
    first = tensors[0]
    for tensor in tensors:
        if tensor.shape[1:] != first.shape[1:]:
            return (
                f"rows of shape {tuple(first.shape[1:])} and of shape {tuple(tensor.shape[1:])} "
                f"cannot be in one tensor"
            )
        if tensor.device != first.device:
            return (
                f"tensors on {first.device} and on {tensor.device} cannot be in one tensor; move "
                f"one of them with .to(device)"
            )
    return otherwise


def _take_any_dtype(tensor: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
    """Gather rows of a dtype that `index_select` does not know (small floats, unsigned)."""
    carrier = _INTEGERS[tensor.element_size()]
    return tensor.view(carrier).index_select(0, index).view(tensor.dtype)


def copy_rows(values: torch.Tensor, target: torch.Tensor, rows: Rows) -> None:
    """Write values, cast to the target's dtype, into the given rows of a target, in place."""
    index = rows.tensor if target.is_cpu else rows.tensor.to(target.device)
    if values.dtype != target.dtype:
        values = values.to(target.dtype)
    try:
        target.index_copy_(0, index, values)
    except (NotImplementedError, RuntimeError):
        carrier = _INTEGERS[target.element_size()]
        target.view(carrier).index_copy_(0, index, values.view(carrier))
