"""What counts as a metric's value, and how it becomes a float."""

from __future__ import annotations

import sys
from numbers import Real
from typing import Any, final

from fireworks.errors import WrongType, WrongValue


@final
class DeviceScalar:
    """A zero-dimensional tensor on a device, copied there at once and read later.

    Reading it at once would make the training loop wait for the device.
    """

    def __init__(self, tensor: Any) -> None:
        self._copy = tensor.detach().clone()  # the loop may change the tensor in place
        self._ready = None
        if self._copy.is_cuda:
            self._ready = sys.modules["torch"].cuda.Event()
            self._ready.record()

    def read(self) -> float:
        """Wait for the device and return the number."""
        if self._ready is not None:
            self._ready.synchronize()
        return float(self._copy.item())


def scalar(name: str, value: Any) -> float | DeviceScalar:
    """Return ``value`` as a float; a tensor on a device stays there until ``read``.

    Python, NumPy and other real numbers (booleans as 0 and 1) and zero-dimensional arrays and
    tensors are accepted; NaN and infinities are numbers.

    Raises:
        WrongType: None, a string, a complex number, an array, or anything else.
        WrongValue: An integer too large for a float.
    """
    try:
        torch = sys.modules.get("torch")  # whoever has a tensor has imported it
        if torch is not None and isinstance(value, torch.Tensor):
            if value.ndim == 0 and not value.is_complex():
                return float(value.item()) if value.is_cpu else DeviceScalar(value)
        elif isinstance(value, Real):
            return float(value)
        elif getattr(value, "ndim", None) == 0 and callable(getattr(value, "item", None)):
            item = value.item()
            if isinstance(item, Real):
                return float(item)
    except OverflowError:
        raise WrongValue(f"The metric {name!r} is too large for a float: {value!r:.60}…") from None
    raise WrongType(f"The metric {name!r} must be one number; got {_described(value)}")


def is_message(value: Any) -> bool:
    """Whether a value is a Message; asking does not import what that needs."""
    module = sys.modules.get("fireworks.message")  # whoever has a Message has imported it
    return module is not None and isinstance(value, module.Message)


def _described(value: Any) -> str:
    if value is None:
        return "None. Leave the metric out of this call, or log float('nan')."
    kind = type(value).__name__
    shape = getattr(value, "shape", None)
    if shape is not None and len(tuple(shape)):
        return (
            f"{kind} of shape {tuple(shape)}. Reduce it first, for example with .mean(), "
            "or log its elements under names of their own."
        )
    if isinstance(value, str):
        return f"the string {value!r:.60}. Log it as Text(…), or keep it in params or notes."
    return f"{kind}: {value!r:.60}."
