"""What a model consists of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self, final

import torch
from ignite.engine import Engine, Events
from torch import nn
from torch.utils.hooks import RemovableHandle


@dataclass
class Layer:
    """One module of a model.

    Attributes:
        name: As in ``model.named_modules()``; empty for the model itself.
        kind: The class.
        parameters: Numbers in its own parameters, those of modules inside left out.
        trainable: Those of them that are trained.
        output: The shape of what it returned, once that was seen: of the first tensor in it.
    """

    name: str
    kind: str
    parameters: int
    trainable: int
    output: tuple[int, ...] | None = field(default=None)


@final
class ModelSummary:
    """The layers of a model with their parameters and, once it has run, the shapes they give.

    ``print(ModelSummary(model))`` shows a table. Attached to a trainer, it learns the shapes from
    the first batch.

    Args:
        model: The model.

    Attributes:
        layers: One for each module that has no others inside, or parameters of its own.
    """

    def __init__(self, model: nn.Module) -> None:
        self._modules = {
            name: module
            for name, module in model.named_modules()
            if not any(module.children()) or any(module.parameters(recurse=False))
        }
        self.layers = [_layer(name, module) for name, module in self._modules.items()]
        self._hooks: list[RemovableHandle] = []

    @property
    def parameters(self) -> int:
        """Numbers in all parameters; those of a module used twice count once."""
        return sum(each.parameters for each in self.layers)

    def attach(self, trainer: Engine) -> Self:
        """Learn the shapes from the first iteration of the trainer; returns the summary itself."""
        trainer.add_event_handler(Events.ITERATION_STARTED(once=1), self._watch)
        trainer.add_event_handler(Events.ITERATION_COMPLETED(once=1), self._unwatch)
        trainer.add_event_handler(Events.COMPLETED | Events.TERMINATE, self._unwatch)
        return self

    def __str__(self) -> str:
        rows = [("layer", "kind", "output", "parameters")]
        for each in self.layers:
            output = "" if each.output is None else " x ".join(map(str, each.output))
            frozen = "" if each.trainable == each.parameters else " (frozen)"
            rows.append((each.name, each.kind, output, f"{each.parameters:,}{frozen}"))
        rows.append(("total", "", "", f"{self.parameters:,}"))
        widths = [max(len(row[i]) for row in rows) for i in range(4)]
        lines = ["  ".join(cell.ljust(widths[i]) for i, cell in enumerate(row)) for row in rows]
        return "\n".join(line.rstrip() for line in lines)

    def _watch(self) -> None:
        for layer, module in zip(self.layers, self._modules.values(), strict=True):

            def note(module: nn.Module, inputs: Any, output: Any, layer: Layer = layer) -> None:
                layer.output = _shape(output)

            self._hooks.append(module.register_forward_hook(note))

    def _unwatch(self) -> None:
        for each in self._hooks:
            each.remove()
        self._hooks.clear()


def _shape(output: Any) -> tuple[int, ...] | None:
    if isinstance(output, torch.Tensor):
        return tuple(output.shape)
    if isinstance(output, Mapping):
        output = list(output.values())
    each = output if isinstance(output, list | tuple) else []
    return next((shape for shape in map(_shape, each) if shape is not None), None)


def _layer(name: str, module: nn.Module) -> Layer:
    own = list(module.parameters(recurse=False))
    return Layer(
        name,
        type(module).__name__,
        sum(each.numel() for each in own),
        sum(each.numel() for each in own if each.requires_grad),
    )
