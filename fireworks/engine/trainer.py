"""Trainers and evaluators: Ignite Engines over batches of named columns."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import ignite.distributed as idist
import torch
from ignite.engine import Engine, Events
from ignite.metrics import Metric
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from fireworks.engine.batches import Inputs, ModelInputs, Target, choose_device, target_of
from fireworks.engine.data_length import DataLength
from fireworks.engine.devices import explain_devices, move_model
from fireworks.engine.gradients import GRADIENTS, Gradients
from fireworks.engine.layers import note_layer
from fireworks.engine.parts import named, register_parts
from fireworks.engine.precision import Amp, Precision
from fireworks.engine.schedule import Every, Scheduler, attach_scheduler
from fireworks.engine.update import Update
from fireworks.errors import WrongType, WrongValue

UserUpdate = Callable[[Engine, Any], Any]


def create_trainer(
    model: nn.Module | Mapping[str, nn.Module],
    optimizer: torch.optim.Optimizer | Mapping[str, torch.optim.Optimizer],
    loss: Callable[..., torch.Tensor] | None = None,
    *,
    inputs: Inputs | None = None,
    target: Target | None = None,
    device: str | torch.device = "auto",
    update: UserUpdate | None = None,
    amp: Amp = False,
    accumulate: int = 1,
    clip_norm: float | None = None,
    clip_value: float | None = None,
    scheduler: Scheduler | None = None,
    schedule: Every = "step",
    ema: float | AveragedModel | None = None,
    compile: bool | Mapping[str, Any] = False,
    check_loss: bool = True,
) -> Engine:
    """Return an Ignite Engine that trains a model on batches with named columns.

    Each iteration puts the model in training mode, calls it, computes
    ``loss(output, target)``, propagates backwards and takes one optimizer step. A function of your
    own can do that instead, with as many models and optimizers as it likes::

        trainer = create_trainer(
            {"generator": g, "discriminator": d}, {"g": adam_g, "d": adam_d}, update=step
        )

    With several processes (``ignite.distributed``) the model is wrapped so that all take the same
    steps; give each its part of the rows with a ``ShardSource``.

    Args:
        model: The model, moved to the device; or several by name, for ``update``.
        optimizer: The optimizer of the model's parameters; or several by name, for ``update``.
        loss: Takes the model's output and the target column; returns a scalar tensor.
        inputs: The columns that the model gets: names for positional arguments, a dict from
            argument names to columns, or a function of the batch.
        target: The column that ``loss`` gets second, or a function of the batch that returns it;
            without one, it gets the output alone.
        device: Where to train; ``"auto"`` is CUDA where there is one, else the CPU.
        update: A function ``(engine, batch) -> output`` that does all of a step by itself, training
            mode and ``zero_grad`` included; the options from ``loss`` to ``clip_value`` and
            ``compile`` are not for it.
        amp: Mixed precision: True for bfloat16 on the CPU and float16 with scaled gradients on
            CUDA, or the type by name.
        accumulate: Iterations whose mean gradient makes one optimizer step, counted on across
            epochs.
        clip_norm: Shorten the gradient of all parameters together to this norm.
        clip_value: Cut each element of the gradient to this absolute value.
        scheduler: One of ``torch.optim.lr_scheduler`` or of ``ignite.handlers``.
        schedule: When it goes on: after each optimizer ``"step"`` (with ``update``, each iteration)
            or each ``"epoch"``.
        ema: The decay of an exponential moving average of the weights, such as 0.999; or torch's
            ``AveragedModel``. It is ``trainer_parts(trainer)["ema"]``, to be evaluated.
        compile: True, or arguments for ``torch.compile``.
        check_loss: Raise when the loss is not finite, before it reaches the weights. On CUDA this
            waits for the forward pass of each step.

    Returns:
        The trainer. After each iteration ``trainer.state.output`` has ``loss`` and ``output``, or
        is what ``update`` returned. Run it over any iterable of Messages or dicts of tensors.

    Raises:
        WrongValue: Options that make no sense, or an optimizer that has none of the model's
            parameters.
        WrongType: Something is not what it should be.
        ColumnNotFound: (when run) a batch lacks a column; the nearest name is offered.
        EngineError: (when run) the loss is no scalar tensor, the data has no batch or ends early in
            an epoch, or the model was moved to another device than the data.
        LossNotFinite: (when run) the loss is NaN or infinite.
    """
    where = choose_device(device)
    models, optimizers = named("model", model), named("optimizer", optimizer)
    parts = {**models, **optimizers}
    for each in models.values():
        if not isinstance(each, nn.Module):
            raise WrongType(f"A model is a torch.nn.Module, not {type(each).__name__}.")
        move_model(each, where)
    _check_optimizers(models, optimizers)
    average = _average(ema, model, where)
    stepped: Callable[[], bool] = _always
    if update is not None:
        given = {
            "loss": loss, "inputs": inputs, "target": target, "clip_norm": clip_norm,
            "clip_value": clip_value, "amp": amp or None, "compile": compile or None,
            "accumulate": None if accumulate == 1 else accumulate,
        }  # fmt: skip
        if refused := [name for name, value in given.items() if value is not None]:
            raise WrongValue(
                f"update= does all of a step by itself: it leaves no use for {', '.join(refused)}."
            )
        trainer = Engine(update)
        if average is not None:
            trainer.add_event_handler(
                Events.ITERATION_COMPLETED, lambda: average.update_parameters(_single(model))
            )
    else:
        if loss is None or inputs is None:
            raise WrongValue("create_trainer needs loss= and inputs=, or update=.")
        if isinstance(optimizer, Mapping):
            raise WrongValue(
                "Several optimizers need update=, a function (engine, batch) -> output that says "
                "which steps when."
            )
        if isinstance(optimizer, torch.optim.LBFGS):
            raise WrongValue(
                "LBFGS computes the loss several times in a step: it needs update=, a function "
                "(engine, batch) -> output that calls optimizer.step(closure)."
            )
        for name, value in {"accumulate": accumulate, "clip_norm": clip_norm}.items():
            if value is not None and value <= 0:
                raise WrongValue(f"{name} must be positive; it is {value!r}.")
        single, precision = _single(model), Precision(amp, where)
        if precision.scaler is not None:
            parts["scaler"] = precision.scaler
        step = Update(
            single,
            _compiled(_parallel(single, where), compile),
            optimizer,
            loss,
            ModelInputs(inputs, where),
            target,
            where,
            precision,
            accumulate=accumulate,
            clip_norm=clip_norm,
            clip_value=clip_value,
            check_loss=check_loss,
            ema=average,
        )
        parts[GRADIENTS] = step.gradients
        stepped = step.took_step
        trainer = Engine(step)
    if average is not None:
        parts["ema"] = average
    if scheduler is not None:
        parts["scheduler"] = scheduler
        attach_scheduler(trainer, scheduler, schedule, stepped=stepped)
    if GRADIENTS not in parts:
        parts[GRADIENTS] = Gradients(optimizers)
    DataLength(trainer)
    register_parts(trainer, parts)
    return trainer


def create_evaluator(
    model: nn.Module,
    *,
    metrics: Mapping[str, Metric] | None = None,
    inputs: Inputs,
    target: Target | None = None,
    device: str | torch.device = "auto",
    amp: Amp = False,
) -> Engine:
    """Return an Ignite Engine that runs a model in evaluation mode and computes metrics.

    Args:
        model: The model; it is moved to the device.
        metrics: Ignite metrics by name; they are attached and get ``(output, target)``.
        inputs: The columns that the model gets, as in `create_trainer`.
        target: The column that the metrics compare with, or a function of the batch.
        device: Where to compute; ``"auto"`` is CUDA where there is one, else the CPU.
        amp: Mixed precision, as in `create_trainer`.

    Returns:
        The evaluator. After each iteration ``evaluator.state.output`` is ``(output, target)`` (the
        output alone without a target); after a run ``evaluator.state.metrics`` has the metrics.

    Raises:
        WrongValue: ``inputs`` names no column.
        ColumnNotFound: (when run) a batch lacks a column; the nearest name is offered.
    """
    where = choose_device(device)
    model_inputs = ModelInputs(inputs, where)
    precision = Precision(amp, where)
    move_model(model, where)

    @torch.no_grad()
    def step(engine: Engine, batch: Any) -> Any:
        model.eval()
        try:
            with precision.autocast():
                output = model_inputs.call(model, batch)
        except RuntimeError as error:
            explain_devices(error, model, model_inputs.columns, where)
            note_layer(error, model)
            raise
        return output if target is None else (output, target_of(batch, target, where))

    evaluator = Engine(step)
    for name, metric in (metrics or {}).items():
        metric.attach(evaluator, name)
    return evaluator


def _single(model: nn.Module | Mapping[str, nn.Module]) -> nn.Module:
    if isinstance(model, nn.Module):
        return model
    raise WrongValue(
        "Several models need update=, a function (engine, batch) -> output; and an average (ema=) "
        "is of one model: make an AveragedModel for each, and update them there."
    )


def _always() -> bool:
    return True


def _average(
    ema: float | AveragedModel | None,
    model: nn.Module | Mapping[str, nn.Module],
    device: torch.device,
) -> AveragedModel | None:
    if ema is None:
        return None
    if isinstance(ema, AveragedModel):
        _single(model)
        return ema.to(device)
    if isinstance(ema, bool) or not isinstance(ema, int | float) or not 0 < ema < 1:
        raise WrongValue(
            f"ema is a decay between 0 and 1, such as 0.999, or an AveragedModel; not {ema!r}."
        )
    return AveragedModel(_single(model), multi_avg_fn=get_ema_multi_avg_fn(ema))


def _check_optimizers(models: Mapping[str, object], optimizers: Mapping[str, object]) -> None:
    """Refuse an optimizer that trains nothing of the models: one of a copy, usually."""
    own = {
        id(each)
        for model in models.values()
        if isinstance(model, nn.Module)
        for each in model.parameters()
    }
    for name, optimizer in optimizers.items():
        if not isinstance(optimizer, torch.optim.Optimizer):
            raise WrongType(f"The {name} is no torch Optimizer but {type(optimizer).__name__}.")
        its = [each for group in optimizer.param_groups for each in group["params"]]
        if not its or own.isdisjoint(map(id, its)):
            raise WrongValue(
                f"The {name} has {len(its)} parameters, none of them of the model: it would train "
                "nothing. Make it with model.parameters() of this model."
            )


def _parallel(model: nn.Module, device: torch.device) -> nn.Module:
    """Return the model as it is, or where several processes train together, wrapped for that."""
    if idist.get_world_size() == 1:
        return model
    return nn.parallel.DistributedDataParallel(
        model, device_ids=[device] if device.type == "cuda" else None
    )


def _compiled(model: nn.Module, how: bool | Mapping[str, Any]) -> Callable[..., Any]:
    if how is False:
        return model
    options: dict[str, Any] = {} if how is True else dict(how)
    return torch.compile(model, **options)
