"""Gradients that are collected over several iterations, as a part that can be saved."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, final

import torch

from fireworks.errors import StateMismatch

GRADIENTS = "gradients"
"""The name of this part."""


@final
class Gradients:
    """The gradients of the parameters of some optimizers.

    Args:
        optimizers: The optimizers, by name.

    Attributes:
        used: Whether a step has been taken with all of them, so that nothing depends on them any
            more.
    """

    def __init__(self, optimizers: Mapping[str, Any]) -> None:
        self._optimizers = optimizers
        self.used = False

    def state_dict(self) -> dict[str, torch.Tensor]:
        """Return the gradients that are there and still matter, by optimizer and place."""
        if self.used:
            return {}
        return {name: each.grad for name, each in self._parameters() if each.grad is not None}

    def load_state_dict(self, state: Mapping[str, torch.Tensor]) -> None:
        """Put gradients back.

        Raises:
            StateMismatch: There is no such parameter.
        """
        parameters = dict(self._parameters())
        if unknown := [name for name in state if name not in parameters]:
            raise StateMismatch(f"There are gradients of parameters not here: {unknown[:5]}.")
        for name, parameter in parameters.items():
            found = state.get(name)
            parameter.grad = None if found is None else found.to(parameter.device, copy=True)

    def _parameters(self) -> Iterator[tuple[str, torch.Tensor]]:
        for name, optimizer in self._optimizers.items():
            groups: list[dict[str, Any]] = optimizer.param_groups
            for g, group in enumerate(groups):
                for p, each in enumerate(group["params"]):
                    yield f"{name}/{g}/{p}", each
