"""The states of handlers: early stopping, metrics attached to a trainer."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from typing import Any

from ignite.engine import Engine
from ignite.metrics import Metric
from torch import nn

from fireworks.engine.parts import has_state, known_evaluators

_log = logging.getLogger(__name__)


def handler_states(trainer: Engine, parts: Mapping[str, object]) -> dict[str, Any]:
    """Return the state of every handler that has one, of the trainer and its evaluators.

    Args:
        trainer: The trainer.
        parts: What is saved otherwise.
    """
    return {name: each.state_dict() for name, each in _stateful(trainer, parts)}


def restore_handler_states(
    trainer: Engine, parts: Mapping[str, object], saved: Mapping[str, Any]
) -> None:
    """Give handlers their states back; those that are new here begin anew."""
    here = dict(_stateful(trainer, parts))
    for name, each in here.items():
        if name in saved:
            each.load_state_dict(saved[name])
    if gone := [name for name in saved if name not in here]:
        _log.warning("the checkpoint has states of handlers not attached here: %s", gone)


def _stateful(trainer: Engine, parts: Mapping[str, object]) -> Iterator[tuple[str, Any]]:
    """Yield the handlers with a state, each once, by engine, class and order of attachment."""
    seen = {id(each) for each in parts.values()}
    for place, engine in {"trainer": trainer, **known_evaluators(trainer)}.items():
        counts: dict[str, int] = {}
        for owner in _owners(engine):
            if id(owner) in seen or isinstance(owner, Engine | nn.Module) or not has_state(owner):
                continue
            if isinstance(owner, Metric) and engine is not trainer:
                continue  # an evaluation begins with all metrics anew
            seen.add(id(owner))
            name = type(owner).__qualname__
            counts[name] = counts.get(name, 0) + 1
            yield f"{place}/{name}-{counts[name]}", owner


def _owners(engine: Engine) -> Iterator[object]:
    """Yield the objects that are the handlers of an engine, or whose methods are."""
    events: Any = engine._event_handlers  # pyright: ignore[reportPrivateUsage]
    for handlers in events.values():
        for function, _, _ in handlers:
            parent: Any = getattr(
                function, "_parent", None
            )  # Ignite wraps those of filtered events
            function = (parent() if parent is not None else None) or function
            yield function if has_state(function) else getattr(function, "__self__", None)
