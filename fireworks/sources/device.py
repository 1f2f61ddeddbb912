"""Tensors on the device that trains."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from fireworks.errors import WrongValue
from fireworks.message import Message
from fireworks.source import Source


class DeviceSource(Source):
    """The tensors of each Message on a device; vectors stay in main memory.

    Args:
        device: The device: ``"cuda"``, ``"cuda:1"``, ``"cpu"`` or a ``torch.device``.
        columns: The columns to move, one name or several; all tensors by default.
        non_blocking: Do not wait for copies from page-locked memory (``Message.pin_memory``) to a
            GPU. Kernels on the same stream see the rows complete; copies *to* main memory need a
            ``torch.cuda.synchronize()`` before they are read.
        inputs: The source of the rows.
        name: Tells this source from others of its class.

    Raises:
        WrongValue: There is no such kind of device, or (when read) not on this machine.
        ColumnNotFound: (when read) there is no such column.
    """

    def __init__(
        self,
        device: torch.device | str | int,
        *,
        columns: str | Sequence[str] | None = None,
        non_blocking: bool = False,
        inputs: Source | Mapping[str, Source] | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(inputs=inputs, name=name)
        try:
            self.target = torch.device(device)
        except (RuntimeError, TypeError) as error:
            reason = str(error).splitlines()[0]
            raise WrongValue(f"{device!r} is no device of torch: {reason}") from None
        self.moved = [columns] if isinstance(columns, str) else columns and list(columns)
        self.non_blocking = non_blocking

    def transform(self, message: Message) -> Message:
        """Return the rows with their tensors on the device."""
        if self.target.type == "cuda" and not _has_cuda(self.target):
            raise WrongValue(
                f"{self!r} should move rows to {self.target}, but torch sees "
                f"{torch.cuda.device_count()} CUDA devices here."
            )
        return message.to(self.target, self.moved, non_blocking=self.non_blocking)

    def describe(self) -> dict[str, Any]:
        """Return the columns; the device is left out, so that a state can move to another one."""
        return {"columns": self.moved}


def _has_cuda(device: torch.device) -> bool:
    return torch.cuda.is_available() and (device.index or 0) < torch.cuda.device_count()
