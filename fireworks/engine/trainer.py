"""Trainers and evaluators: Ignite Engines over batches of named columns."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from ignite.engine import Engine
from ignite.metrics import Metric
from torch import nn

from fireworks.engine.batches import Inputs, ModelInputs, choose_device, column
from fireworks.errors import EngineError


class StepOutput(dict[str, Any]):
    """What a training step gives: ``engine.state.output``.

    A dict, so that Ignite's output transforms read it, with the same names as attributes.

    Attributes:
        loss: The loss, a scalar tensor without gradient.
        output: What the model returned, without gradients where it is a tensor.
    """

    loss: torch.Tensor
    output: Any

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"a training step has no {name!r}, only {list(self)}") from None


def create_trainer(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    loss: Callable[..., torch.Tensor],
    *,
    inputs: Inputs,
    target: str | None = None,
    device: str | torch.device = "auto",
) -> Engine:
    """Return an Ignite Engine that trains a model on batches with named columns.

    Each iteration puts the model in training mode, calls it, computes
    ``loss(output, target)``, propagates backwards and takes one optimizer step.

    Args:
        model: The model; it is moved to the device.
        optimizer: The optimizer of the model's parameters.
        loss: Takes the model's output and the target column; returns a scalar tensor.
        inputs: The columns that the model gets: names for positional arguments, a dict from
            argument names to columns, or a function of the batch.
        target: The column that ``loss`` gets second; without one, it gets the output alone.
        device: Where to train; ``"auto"`` is CUDA where there is one, else the CPU.

    Returns:
        The trainer. After each iteration ``trainer.state.output`` has ``loss`` and ``output``.
        Run it over any iterable of Messages or dicts of tensors.

    Raises:
        WrongValue: ``inputs`` names no column.
        ColumnNotFound: (when run) a batch lacks a column; the nearest name is offered.
        EngineError: (when run) the loss is no scalar tensor.
    """
    where = choose_device(device)
    model_inputs = ModelInputs(inputs, where)
    model.to(where)

    def step(engine: Engine, batch: Any) -> StepOutput:
        model.train()
        optimizer.zero_grad()
        output = model_inputs.call(model, batch)
        value = loss(output) if target is None else loss(output, column(batch, target, where))
        _check_scalar(value)
        value.backward()
        optimizer.step()
        return StepOutput(loss=value.detach(), output=_detached(output))

    return Engine(step)


def create_evaluator(
    model: nn.Module,
    *,
    metrics: Mapping[str, Metric] | None = None,
    inputs: Inputs,
    target: str | None = None,
    device: str | torch.device = "auto",
) -> Engine:
    """Return an Ignite Engine that runs a model in evaluation mode and computes metrics.

    Args:
        model: The model; it is moved to the device.
        metrics: Ignite metrics by name; they are attached and get ``(output, target)``.
        inputs: The columns that the model gets, as in `create_trainer`.
        target: The column that the metrics compare with.
        device: Where to compute; ``"auto"`` is CUDA where there is one, else the CPU.

    Returns:
        The evaluator. After each iteration ``evaluator.state.output`` is ``(output, target)`` (the
        output alone without a target); after a run ``evaluator.state.metrics`` has the metrics.

    Raises:
        WrongValue: ``inputs`` names no column.
        ColumnNotFound: (when run) a batch lacks a column; the nearest name is offered.
    """
    where = choose_device(device)
    model_inputs = ModelInputs(inputs, where)
    model.to(where)

    @torch.no_grad()
    def step(engine: Engine, batch: Any) -> Any:
        model.eval()
        output = model_inputs.call(model, batch)
        return output if target is None else (output, column(batch, target, where))

    evaluator = Engine(step)
    for name, metric in (metrics or {}).items():
        metric.attach(evaluator, name)
    return evaluator


def _check_scalar(value: object) -> None:
    if isinstance(value, torch.Tensor) and value.ndim == 0:
        return
    what = f"a tensor of shape {tuple(value.shape)}" if isinstance(value, torch.Tensor) else value
    raise EngineError(
        f"The loss must return a scalar tensor; it returned {what!r}. Reduce it, for example "
        "with .mean()."
    )


def _detached(output: Any) -> Any:
    return output.detach() if isinstance(output, torch.Tensor) else output
