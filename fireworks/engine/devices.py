"""On which devices a model and its data are, and what to say where they differ."""

from __future__ import annotations

import re

import torch
from torch import nn

from fireworks.errors import EngineError, WrongValue

_ABOUT_DEVICES = re.compile(r"same device|expected device|on device|different device", re.I)


def move_model(model: nn.Module, device: torch.device) -> None:
    """Move a model to a device.

    Raises:
        WrongValue: It is on the meta device, and has no values that could be moved.
    """
    for name, each in [*model.named_parameters(), *model.named_buffers()]:
        if each.device.type == "meta" and device.type != "meta":
            raise WrongValue(
                f"{name!r} of the model is on the meta device, where it has no values. Give it "
                f"some before: model.to_empty(device={str(device)!r}), then initialise or load it."
            )
    model.to(device)


def explain_devices(
    error: RuntimeError, model: nn.Module, columns: str, device: torch.device
) -> None:
    """Say so where a forward pass failed because tensors are on different devices.

    Args:
        error: What the pass raised; it gets a note where a tensor of the model's own is meant.
        model: The model.
        columns: What the model was given, as it reads in a message: ``"column 'x'"``.
        device: Where they were put.

    Raises:
        EngineError: A parameter or buffer of the model is elsewhere.
    """
    for name, each in [*model.named_parameters(), *model.named_buffers()]:
        if not _same(each.device, device):
            raise EngineError(
                f"{name!r} of the model is on {each.device}, the {columns} on {device}. Both were "
                f"put on {device}, and the model was moved since: leave it there, or choose "
                f"device={str(each.device)!r} when the trainer or evaluator is made."
            ) from error
    if _ABOUT_DEVICES.search(str(error)):
        error.add_note(
            f"All parameters and buffers of the model, and the {columns}, are on {device}. A "
            "tensor that a module makes or keeps by itself is where it was made: use "
            "register_buffer, or device=x.device."
        )


def _same(a: torch.device, b: torch.device) -> bool:
    """Whether they are one; without an index, it is any of its kind."""
    return a == b or (a.type == b.type and torch.device(a.type) in (a, b))
