"""From the columns of a batch to the arguments of a model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import ignite.distributed as idist
import torch

from fireworks.errors import ColumnNotFound, WrongType, WrongValue, suggest
from fireworks.message import Message

Inputs = str | Sequence[str] | Mapping[str, str] | Callable[[Any], Any]
"""Columns for positional arguments, columns by argument name, or a function of the batch."""

Target = str | Callable[[Any], Any]
"""A column, or a function of the batch."""


def choose_device(device: str | torch.device) -> torch.device:
    """Return the device named; ``"auto"`` is CUDA where there is one, else the CPU.

    Of several processes on a machine each gets a GPU of its own.
    """
    if device != "auto":
        return torch.device(device)
    if not torch.cuda.is_available():
        return torch.device("cpu")
    if idist.get_world_size() == 1:
        return torch.device("cuda")
    return torch.device("cuda", idist.get_local_rank() % torch.cuda.device_count())


def column(batch: Any, name: str, device: torch.device) -> torch.Tensor:
    """Return one column of a batch as a tensor on a device.

    A numeric vector becomes a tensor, a floating-point one in torch's default dtype.

    Args:
        batch: A Message, or a dict of tensors.
        name: The column.
        device: Where the tensor shall be.

    Raises:
        ColumnNotFound: The batch has no such column; the nearest name is offered.
        WrongType: The column cannot become a tensor, or the batch has no columns.
    """
    if not isinstance(batch, Message) and not isinstance(batch, Mapping):
        kind = type(batch).__name__
        raise WrongType(
            f"A batch is a Message or a dict of tensors, not {kind}. "
            + (
                "Iterating a Message gives the names of its columns: make batches of it, "
                "MessageSource(rows) >> BatchingSource(32)."
                if isinstance(batch, str)
                else "Take anything else apart by functions: inputs=lambda batch: batch[0], "
                "target=lambda batch: batch[1]."
            )
        )
    if name not in batch:
        known = cast("Mapping[str, object]", batch).keys()
        raise ColumnNotFound(f"The batch has no column {name!r}.{suggest(name, known)}")
    if isinstance(batch, Message):
        values = batch.array(name)
        if not isinstance(values, torch.Tensor):
            values = batch.tensors([name])[name]
            if values.is_floating_point():
                values = values.to(torch.get_default_dtype())
    else:
        values = batch[name]
    if not isinstance(values, torch.Tensor):
        raise WrongType(f"The column {name!r} is no tensor but {type(values).__name__}.")
    return values.to(device, non_blocking=True)


def target_of(batch: Any, target: Target, device: torch.device) -> Any:
    """Return what of a batch the output is compared with, tensors on a device.

    Raises:
        ColumnNotFound: The batch has no such column; the nearest name is offered.
        WrongType: The column cannot become a tensor, or the batch has no columns.
    """
    return _move(target(batch), device) if callable(target) else column(batch, target, device)


class ModelInputs:
    """What of a batch goes to the model, and as which arguments.

    Args:
        inputs: One column or several, for positional arguments; a dict from argument names to
            columns; or a function of the batch that returns a tensor, a tuple of positional
            arguments or a dict of keyword arguments.
        device: Where the tensors shall be.

    Raises:
        WrongValue: No columns are named.
    """

    def __init__(self, inputs: Inputs, device: torch.device) -> None:
        self._inputs = [inputs] if isinstance(inputs, str) else inputs
        self._device = device
        if not self._inputs:
            raise WrongValue("inputs= names no column: the model would get no arguments.")

    @property
    def columns(self) -> str:
        """What the model gets, as it reads in a message."""
        wanted = self._inputs
        if callable(wanted):
            return "tensors that inputs= returned"
        names = list(wanted.values() if isinstance(wanted, Mapping) else wanted)
        return f"column{'s' if len(names) > 1 else ''} {', '.join(map(repr, names))}"

    def call(self, model: Callable[..., Any], batch: Any) -> Any:
        """Call the model with what it gets of the batch."""
        wanted = self._inputs
        if isinstance(wanted, Mapping):
            return model(**{key: column(batch, name, self._device) for key, name in wanted.items()})
        if not callable(wanted):
            return model(*(column(batch, name, self._device) for name in wanted))
        given = wanted(batch)
        if isinstance(given, Mapping):
            return model(**{key: _move(each, self._device) for key, each in given.items()})
        if isinstance(given, tuple):
            return model(*(_move(each, self._device) for each in given))
        return model(_move(given, self._device))


def _move(value: Any, device: torch.device) -> Any:
    return value.to(device, non_blocking=True) if isinstance(value, torch.Tensor) else value
