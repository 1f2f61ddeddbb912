"""Functions that users hand to sources: what they are called, and whether they can travel."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from types import FunctionType
from typing import Any

from fireworks.errors import WrongType
from fireworks.source import Source


def name_of(function: Callable[..., Any]) -> str:
    """Return what a function is called, for messages and for the fingerprint of a graph."""
    while isinstance(function, functools.partial):
        function = function.func
    name = getattr(function, "__qualname__", None) or type(function).__qualname__
    return f"{getattr(function, '__module__', None) or type(function).__module__}.{name}"


def check_callable(source: Source, function: object) -> None:
    """Refuse what is no function.

    Raises:
        WrongType: It cannot be called.
    """
    if not callable(function):
        raise WrongType(f"{source!r} takes a function, not {function!r:.60}.")


def check_travels(source: Source, function: Callable[..., Any]) -> None:
    """Refuse to pickle a function that pickle cannot find by name; call it in ``__getstate__``.

    pickle would say the same in words that do not tell what to do. cloudpickle takes functions by
    value, and copies keep them as they are: both go on as if this were not here.

    Raises:
        WrongType: The function is a lambda, or defined inside another one.
    """
    while isinstance(function, functools.partial):
        function = function.func
    if not isinstance(function, FunctionType) or _found_by_name(function) or not _pickling():
        return
    code = function.__code__
    raise WrongType(
        f"{source!r} cannot be pickled, and so not sent to another process: its function "
        f"{function.__qualname__!r} ({code.co_filename}:{code.co_firstlineno}) has no name that "
        "another process could import. Define it with def at the top of a module, and pass that; "
        "for arguments of its own use functools.partial."
    )


def _found_by_name(function: FunctionType) -> bool:
    found: Any = sys.modules.get(function.__module__)
    for name in function.__qualname__.split("."):
        found = getattr(found, name, None)
    return found is function


def _pickling() -> bool:
    """Whether it is the stock pickle that asks for a state: nothing but the caller tells."""
    frame = sys._getframe(1)  # pyright: ignore[reportPrivateUsage]
    while frame is not None and frame.f_code.co_name in ("__getstate__", "check_travels"):
        frame = frame.f_back
    caller = "" if frame is None else frame.f_globals.get("__name__", "")
    return caller != "copy" and "cloudpickle" not in caller
