"""What a trainer is made of, by name."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any
from weakref import WeakKeyDictionary, WeakValueDictionary

from ignite.engine import Engine

from fireworks.errors import WrongType, WrongValue

_parts: WeakKeyDictionary[Engine, dict[str, object]] = WeakKeyDictionary()
_evaluators: WeakKeyDictionary[Engine, WeakValueDictionary[str, Engine]] = WeakKeyDictionary()


def trainer_parts(trainer: Engine) -> Mapping[str, Any]:
    """Return what a trainer of `create_trainer` is made of, by name.

    ``model`` and ``optimizer`` (``model/generator``, … where there are several), and where they
    were asked for ``scheduler``, ``scaler`` (of float16) and ``ema``, the averaged model; and
    ``gradients``. Empty for an Engine made otherwise.
    """
    return MappingProxyType(_parts.get(trainer, {}))


def register_parts(trainer: Engine, parts: Mapping[str, object]) -> None:
    """Add to what a trainer is made of.

    Raises:
        WrongType: A part has no ``state_dict`` and ``load_state_dict``.
        WrongValue: There is another part of that name.
    """
    known = _parts.setdefault(trainer, {})
    for name, part in parts.items():
        if not has_state(part):
            raise WrongType(
                f"The part {name!r}, a {type(part).__name__}, has no state: it needs the methods "
                "state_dict() and load_state_dict(state)."
            )
        if known.get(name, part) is not part:
            raise WrongValue(f"The trainer has another part {name!r} already.")
    known.update(parts)


def has_state(value: object) -> bool:
    """Whether an object can give its state and take it back."""
    return all(callable(getattr(value, name, None)) for name in ("state_dict", "load_state_dict"))


def named(what: str, value: object) -> dict[str, object]:
    """Return one thing as a part called ``what``, several in a dict as ``what/<name>``."""
    if not isinstance(value, Mapping):
        return {what: value}
    return {f"{what}/{name}": each for name, each in value.items()}


def register_evaluators(trainer: Engine, evaluators: Mapping[str, Engine]) -> None:
    """Note which engines run beside a trainer, by name, so that handlers find each other."""
    _evaluators.setdefault(trainer, WeakValueDictionary()).update(evaluators)


def known_evaluators(trainer: Engine) -> dict[str, Engine]:
    """Return the engines that run beside a trainer, by name."""
    return dict(_evaluators.get(trainer, {}))
