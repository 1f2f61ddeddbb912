"""Events of our own, beside Ignite's."""

from __future__ import annotations

import re
from typing import Any

from ignite.engine import Engine, Events
from ignite.engine.events import EventEnum

from fireworks.errors import WrongValue, suggest

_NAMED = re.compile(r"(?P<name>\w+)(\((?P<filter>(\s*\w+\s*=\s*\d+\s*,?)+)\))?")


class FireworksEvents(EventEnum):
    """What Fireworks' handlers fire on the engine that they are attached to.

    They are used like Ignite's: ``trainer.on(FireworksEvents.CHECKPOINT_SAVED)``, with filters
    too. An engine knows them once `register_events` was called, or a handler of ours attached.

    Attributes:
        DATA_WAIT: A batch has come; ``engine.state.data_wait`` says how many seconds it took.
            Fired by `DataProfiler`.
        CHECKPOINT_SAVED: A checkpoint is on disk; ``engine.state.checkpoint`` is its path.
        METRICS_LOGGED: The metrics of an evaluator were logged by `ExperimentLogger`.
    """

    DATA_WAIT = "data_wait"
    CHECKPOINT_SAVED = "checkpoint_saved"
    METRICS_LOGGED = "metrics_logged"


_COUNTERS = {
    FireworksEvents.DATA_WAIT: "data_waits",
    FireworksEvents.CHECKPOINT_SAVED: "checkpoints_saved",
    FireworksEvents.METRICS_LOGGED: "metrics_logged",
}


def register_events(engine: Engine) -> None:
    """Make our events known to an engine; again: does nothing."""
    if not all(event in engine._allowed_events for event in _COUNTERS):  # pyright: ignore[reportPrivateUsage]
        engine.register_events(*_COUNTERS, event_to_attr=dict(_COUNTERS))


def fire(engine: Engine, event: FireworksEvents) -> None:
    """Count an event and call its handlers."""
    counter = _COUNTERS[event]
    setattr(engine.state, counter, getattr(engine.state, counter, 0) + 1)
    if engine._event_handlers[event]:  # pyright: ignore[reportPrivateUsage]
        engine.fire_event(event)  # which takes microseconds, listened to or not


def event_named(text: str) -> Any:
    """Return the event of Ignite or of ours that a string names, as a configuration holds it.

    Args:
        text: ``"epoch_completed"``, ``"iteration_completed(every=100)"``, or with ``once=``,
            ``before=`` or ``after=``.

    Raises:
        WrongValue: There is no such event (the nearest is offered), or the filter is none.
    """
    found = _NAMED.fullmatch(text.strip())
    events = {each.name.lower(): each for kind in (Events, FireworksEvents) for each in kind}
    name = found["name"].lower() if found else text
    if found is None or name not in events:
        raise WrongValue(f"There is no event {text!r}.{suggest(name, events)}")
    if found["filter"] is None:
        return events[name]
    filters = {"every", "once", "before", "after"}
    pairs = dict(each.split("=") for each in found["filter"].replace(" ", "").split(","))
    if not filters.issuperset(pairs) or not all(each.isdecimal() for each in pairs.values()):
        raise WrongValue(f"An event is filtered by {sorted(filters)} with a number; got {text!r}.")
    try:
        arguments: dict[str, Any] = {key: int(value) for key, value in pairs.items()}
        return events[name](**arguments)
    except ValueError as error:
        raise WrongValue(f"{text!r} is no event: {error}") from None
