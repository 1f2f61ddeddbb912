"""Copies of states that stay as they are while training goes on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any, final

import numpy as np
import torch

from fireworks.errors import WrongType

_PLAIN = (type(None), bool, int, float, str, bytes)


@final
class Copier:
    """Copies states into memory of its own, which it uses again for the next copy.

    To be used again, a copy must no longer be needed. It takes as much main memory as the states.
    """

    def __init__(self) -> None:
        self._buffers: dict[str, torch.Tensor] = {}

    def copy(self, value: Any, where: str) -> Any:
        """Return a copy, on the CPU, of what ``torch.load(weights_only=True)`` can read.

        Args:
            value: Tensors, numbers, strings, bytes and None; in dicts, lists and tuples.
            where: What it is, for messages.

        Raises:
            WrongType: There is something else in it; the message says where.
        """
        if isinstance(value, torch.Tensor):
            return self._tensor(value.detach(), where)
        if type(value) in _PLAIN:  # no subclasses, such as an Enum: they are not read back
            return value
        if isinstance(value, np.generic):  # a NumPy float is a float, too
            return self.copy(value.item(), where)
        if isinstance(value, Mapping):
            items = {key: self.copy(each, f"{where}[{key!r}]") for key, each in value.items()}
            return Counter(items) if isinstance(value, Counter) else items
        if isinstance(value, list | tuple):
            each = [self.copy(each, f"{where}[{i}]") for i, each in enumerate(value)]
            return tuple(each) if isinstance(value, tuple) else each
        raise WrongType(
            f"{where} is a {type(value).__module__}.{type(value).__qualname__}, which a checkpoint "
            "cannot hold: a state consists of tensors, numbers and strings, in dicts and lists."
        )

    def _tensor(self, tensor: torch.Tensor, where: str) -> torch.Tensor:
        if tensor.device.type == "meta":
            raise WrongType(f"{where} is a tensor on the meta device, which has no values.")
        buffer = self._buffers.get(where)
        if buffer is None or _layout(buffer) != _layout(tensor):
            # Strides and all: sums over a tensor are of another order where they differ.
            buffer = self._buffers[where] = torch.empty_like(tensor, device="cpu")
        return buffer.copy_(tensor)


def _layout(tensor: torch.Tensor) -> tuple[object, ...]:
    return tensor.shape, tensor.stride(), tensor.dtype
