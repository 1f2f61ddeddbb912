"""The states of a trainer's parts: model, optimizer and so on, taken and given back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from fireworks.errors import StateMismatch

_COMPILED = "_orig_mod."
"""What ``torch.compile`` puts into the names of a model's tensors; it is left out of states."""


def part_states(parts: Mapping[str, Any]) -> dict[str, Any]:
    """Return the state of each part; a compiled model's has the names of the model itself."""
    return {name: _state(part) for name, part in parts.items()}


def load_part_states(parts: Mapping[str, Any], saved: Mapping[str, Any]) -> None:
    """Give parts their states back, compiled or not.

    Raises:
        StateMismatch: They are of other parts; missing and unexpected names are listed. Nothing is
            changed then.
    """
    _compare("The trainer", "parts", set(parts), set(saved))
    for name, part in parts.items():
        _check(name, part, saved[name])
    for name, part in parts.items():
        state = saved[name]
        if isinstance(part, nn.Module):
            state = {key: state[key.replace(_COMPILED, "")] for key in part.state_dict()}
        part.load_state_dict(state)


def _state(part: Any) -> dict[str, Any]:
    state: dict[str, Any] = part.state_dict()
    if isinstance(part, nn.Module):
        return {key.replace(_COMPILED, ""): value for key, value in state.items()}
    return state


def _check(name: str, part: object, saved: Any) -> None:
    """Check that a state is of this part."""
    if isinstance(part, nn.Module):
        own = _state(part)
        _compare(f"The {name}", "tensors", set(own), set(saved))
        for key, value in own.items():
            if isinstance(value, torch.Tensor) and value.shape != saved[key].shape:
                raise StateMismatch(
                    f"{key!r} of the {name} has shape {tuple(value.shape)}; in the checkpoint "
                    f"it has {tuple(saved[key].shape)}. Build the model as it was."
                )
    elif isinstance(part, torch.optim.Optimizer):
        sizes = [len(group["params"]) for group in part.param_groups]
        was = [len(group["params"]) for group in saved["param_groups"]]
        if sizes != was:
            raise StateMismatch(
                f"The {name} has groups of {sizes} parameters; in the checkpoint, of {was}."
            )


def _compare(what: str, of: str, here: set[str], saved: set[str]) -> None:
    if here == saved:
        return
    missing, unexpected = sorted(saved - here), sorted(here - saved)
    raise StateMismatch(
        f"{what} is not as in the checkpoint. Of the {of} there, missing here: "
        f"{_listed(missing)}; not in the checkpoint: {_listed(unexpected)}."
    )


def _listed(names: list[str]) -> str:
    return ", ".join(names[:10]) + (f" and {len(names) - 10} more" if names[10:] else "") or "none"
