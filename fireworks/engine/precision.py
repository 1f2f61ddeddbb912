"""Mixed precision: autocast, and the scaling of gradients that float16 needs."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any, final

import torch

from fireworks.errors import WrongValue

Amp = bool | str | torch.dtype

_NAMES = {"bfloat16": torch.bfloat16, "float16": torch.float16}


@final
class Precision:
    """The number format in which a model computes.

    Args:
        amp: False for full precision; True for the device's usual half precision (bfloat16 on the
            CPU, float16 on CUDA); or ``"bfloat16"``, ``"float16"`` or the torch dtype.
        device: Where the model computes.

    Attributes:
        dtype: The half-precision type; None for full precision.
        scaler: Scales gradients, which float16 is too narrow for; None where it is not needed.

    Raises:
        WrongValue: It is none of these.
    """

    def __init__(self, amp: Amp, device: torch.device) -> None:
        if amp is True:
            amp = torch.float16 if device.type == "cuda" else torch.bfloat16
        dtype = _NAMES.get(amp) if isinstance(amp, str) else amp
        if dtype is not False and dtype not in _NAMES.values():
            raise WrongValue(f"amp is True, False, 'bfloat16' or 'float16', not {amp!r}.")
        self.dtype = None if dtype is False else dtype
        self.scaler: torch.amp.GradScaler | None = None
        if self.dtype is torch.float16:
            self.scaler = torch.amp.GradScaler(device.type)
        self._device = device.type

    def autocast(self) -> AbstractContextManager[Any]:
        """Return the context in which the forward pass and the loss are computed."""
        if self.dtype is None:
            return nullcontext()
        return torch.autocast(self._device, self.dtype)
