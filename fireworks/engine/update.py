"""The training step that `create_trainer` supplies: forward, backward, optimizer step."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, final

import torch
from ignite.engine import Engine
from torch import nn

from fireworks.engine.batches import ModelInputs, Target, target_of
from fireworks.engine.devices import explain_devices
from fireworks.engine.gradients import Gradients
from fireworks.engine.layers import note_layer
from fireworks.engine.precision import Precision
from fireworks.errors import EngineError, LossNotFinite


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


@final
class Update:
    """An update function ``(engine, batch) -> StepOutput``.

    Args:
        model: Put in training mode before each step.
        forward: What is called: the model, or the model compiled or wrapped.
        optimizer: Takes a step each ``accumulate`` iterations.
        loss: Takes the output and the target; returns a scalar tensor.
        inputs: What of a batch goes to the model.
        target: What of a batch ``loss`` gets second, or None.
        device: Where the target shall be.
        precision: The number format.
        accumulate: Iterations whose gradients make one step.
        clip_norm: The largest norm of all gradients together, or None.
        clip_value: The largest absolute value of a gradient, or None.
        check_loss: Whether to raise when the loss is not finite.
        ema: An averaged model to bring up to date after each step, or None.

    Attributes:
        gradients: What has been collected for a step still to come.
    """

    def __init__(
        self,
        model: nn.Module,
        forward: Callable[..., Any],
        optimizer: torch.optim.Optimizer,
        loss: Callable[..., torch.Tensor],
        inputs: ModelInputs,
        target: Target | None,
        device: torch.device,
        precision: Precision,
        *,
        accumulate: int,
        clip_norm: float | None,
        clip_value: float | None,
        check_loss: bool,
        ema: torch.optim.swa_utils.AveragedModel | None,
    ) -> None:
        self._model = model
        self._forward = forward
        self._optimizer = optimizer
        self._loss = loss
        self._inputs = inputs
        self._target = target
        self._device = device
        self._precision = precision
        self._accumulate = accumulate
        self._clip_norm = clip_norm
        self._clip_value = clip_value
        self._check_loss = check_loss
        self._ema = ema
        self.gradients = Gradients({"optimizer": optimizer})
        self._stepped = False

    def __call__(self, engine: Engine, batch: Any) -> StepOutput:
        """Train on one batch."""
        model, iteration = self._model, engine.state.iteration
        model.train()
        if (iteration - 1) % self._accumulate == 0:
            self._optimizer.zero_grad()
        try:
            with self._precision.autocast():
                output = self._inputs.call(self._forward, batch)
        except RuntimeError as error:
            explain_devices(error, model, self._inputs.columns, self._device)
            note_layer(error, model)
            raise
        with self._precision.autocast():
            value = self._compare(output, batch)
        _check_scalar(value)
        detached = value.detach()
        if self._check_loss and not math.isfinite(detached.item()):
            raise LossNotFinite(
                f"The loss is {detached.item()} at iteration {iteration}, epoch "
                f"{engine.state.epoch}; the weights are those before it. Look at the batch for "
                "values that are not finite, lower the learning rate, or clip the gradients "
                "(clip_norm=1.0)."
            )
        self._backward(value)
        whole = self.gradients.used = iteration % self._accumulate == 0
        self._stepped = whole and self._step()
        if self._stepped and self._ema is not None:
            self._ema.update_parameters(model)
        return StepOutput(loss=detached, output=_detached(output))

    def took_step(self) -> bool:
        """Whether the last iteration took an optimizer step."""
        return self._stepped

    def _compare(self, output: Any, batch: Any) -> torch.Tensor:
        if self._target is None:
            return self._loss(output)
        target = target_of(batch, self._target, self._device)
        try:
            return self._loss(output, target)
        except (RuntimeError, ValueError) as error:
            if isinstance(output, torch.Tensor) and isinstance(target, torch.Tensor):
                name = f" {self._target!r}" if isinstance(self._target, str) else ""
                error.add_note(
                    f"The loss got the model's output of shape {tuple(output.shape)}, "
                    f"{output.dtype}, and the target{name} of shape "
                    f"{tuple(target.shape)}, {target.dtype}."
                )
            raise

    def _backward(self, value: torch.Tensor) -> None:
        if self._accumulate > 1:
            value = value / self._accumulate
        if self._precision.scaler is not None:
            value = self._precision.scaler.scale(value)
        value.backward()

    def _step(self) -> bool:
        """Take an optimizer step; False where float16 gradients overflowed and it was left out."""
        scaler = self._precision.scaler
        if self._clip_norm is not None or self._clip_value is not None:
            if scaler is not None:
                scaler.unscale_(self._optimizer)
            parameters = [
                each for group in self._optimizer.param_groups for each in group["params"]
            ]
            if self._clip_value is not None:
                nn.utils.clip_grad_value_(parameters, self._clip_value)
            if self._clip_norm is not None:
                nn.utils.clip_grad_norm_(parameters, self._clip_norm)
        if scaler is None:
            self._optimizer.step()
            return True
        before = scaler.get_scale()
        scaler.step(self._optimizer)
        scaler.update()
        return scaler.get_scale() >= before


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
