"""Fireworks: from raw data to a trained, tuned and documented model."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fireworks.message import Message as Message
    from fireworks.message import concat as concat
    from fireworks.message import merge as merge

_HOMES = {
    "Message": "fireworks.message",
    "concat": "fireworks.message",
    "merge": "fireworks.message",
}

__version__ = "0.1.0"
__all__ = ["Message", "__version__", "concat", "merge"]


def __getattr__(name: str) -> object:
    if name in _HOMES:
        value = getattr(import_module(_HOMES[name]), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'fireworks' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
