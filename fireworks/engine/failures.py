"""What happens when a run fails: everybody concerned is told once, and the error says where."""

from __future__ import annotations

import logging
from collections.abc import Callable
from types import TracebackType
from typing import Any
from weakref import WeakKeyDictionary

from ignite.engine import Engine, Events

_log = logging.getLogger(__name__)

Callback = Callable[[Engine, BaseException], None]

_watched: WeakKeyDictionary[Engine, list[Callback]] = WeakKeyDictionary()
_told: WeakKeyDictionary[Engine, BaseException] = WeakKeyDictionary()


def on_failure(engine: Engine, callback: Callback | None = None) -> None:
    """Call a function once when a run of an engine fails, in the order of these calls.

    What the function raises is logged: it never hides the original error. Handlers of
    ``EXCEPTION_RAISED`` that a user attached decide, as in Ignite, whether the error goes on; where
    there are none, it does.

    Args:
        engine: The engine.
        callback: Gets the engine and the error; None to have errors say where they happened only.
    """
    if engine not in _watched:
        _watched[engine] = []
        engine.add_event_handler(Events.EXCEPTION_RAISED, _failed)
    if callback is not None:
        _watched[engine].append(callback)


def _failed(engine: Engine, error: BaseException) -> None:
    # Ignite fires this event again for an error that a handler of it raised.
    if _told.get(engine) is not error:
        _told[engine] = error
        _say_where(engine, error)
        for callback in _watched[engine]:
            try:
                callback(engine, error)
            except Exception:
                _log.exception("while dealing with %r", error)
    handlers: Any = engine._event_handlers  # pyright: ignore[reportPrivateUsage]
    if len(handlers[Events.EXCEPTION_RAISED]) == 1:
        # Where nobody raises, Ignite goes on with the next epoch.
        raise error


def _say_where(engine: Engine, error: BaseException) -> None:
    """Note in which handler of the engine, at which event, an error was raised."""
    state = engine.state
    where = f"at iteration {state.iteration}, epoch {state.epoch}"
    trace: TracebackType | None = error.__traceback__
    while trace is not None:
        values = trace.tb_frame.f_locals
        if trace.tb_frame.f_code.co_name == "_fire_event" and values.get("self") is engine:
            name = _name(values.get("func"))
            error.add_note(f"In the handler {name} of {values.get('event_name')}, {where}.")
            return
        trace = trace.tb_next


def _name(handler: Any) -> str:
    parent: Any = getattr(handler, "_parent", None)  # Ignite wraps handlers of filtered events
    if parent is not None:
        handler = parent() or handler
    name = getattr(handler, "__qualname__", None) or type(handler).__qualname__
    owner = getattr(handler, "__self__", None)
    return f"{type(owner).__qualname__}.{handler.__name__}" if owner is not None else str(name)
