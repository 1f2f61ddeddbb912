"""Which layer of a model failed, and on what."""

from __future__ import annotations

from types import CodeType
from typing import Any

import torch
from torch import nn


def note_layer(error: BaseException, model: nn.Module) -> None:
    """Add to an error of a model's forward pass in which layer it happened, on which shapes."""
    names = {id(module): name for name, module in model.named_modules()}
    found: tuple[nn.Module, tuple[Any, ...]] | None = None
    trace = error.__traceback__
    while trace is not None:
        frame = trace.tb_frame
        module = frame.f_locals.get("self")
        module = getattr(module, "_orig_mod", module)  # what torch.compile has wrapped
        if isinstance(module, nn.Module) and id(module) in names and _calls(frame.f_code):
            found = module, frame.f_locals.get("args", ())
        trace = trace.tb_next
    if found is None:
        return
    module, arguments = found
    shapes = ", ".join(
        f"{tuple(each.shape)} on {each.device}"
        for each in arguments
        if isinstance(each, torch.Tensor)
    )
    weights = ", ".join(
        f"{name} {tuple(each.shape)} on {each.device}"
        for name, each in module.named_parameters(recurse=False)
    )
    name = names[id(module)]
    error.add_note(
        f"In the {f'layer {name!r}' if name else 'model'}, {type(module).__name__}"
        f"({module.extra_repr()}), which got shapes {shapes or 'unknown'}"
        + (f"; its own are {weights}." if weights else ".")
    )


def _calls(code: CodeType) -> bool:
    """Whether this is a frame in which torch calls a module's ``forward``, compiled or not."""
    return code.co_name in ("_call_impl", "_wrapped_call_impl")
