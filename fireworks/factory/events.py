"""The events of a sweep: Ignite's own machinery, so that its filters work."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ignite.engine import Engine, EventEnum

if TYPE_CHECKING:
    from fireworks.factory.factory import Factory


class FactoryEvents(EventEnum):
    """What a handler can be attached to; the Factory's process calls them one at a time.

    ``FactoryEvents.TRIAL_COMPLETED(every=5)`` and Ignite's other filters (``once``, ``before``,
    ``after``, ``event_filter``) count the events of that kind from 1.
    """

    STARTED = "started"
    """``run`` has begun."""
    PROPOSED = "proposed"
    """A trial has its parameters."""
    TRIAL_STARTED = "trial_started"
    """An attempt at a trial begins."""
    TRIAL_REPORTED = "trial_reported"
    """A trial has reported a value."""
    DECIDED = "decided"
    """Whether to go on with a trial was decided on its report."""
    TRIAL_COMPLETED = "trial_completed"
    """``train`` has returned the objective."""
    TRIAL_PRUNED = "trial_pruned"
    """A trial was ended early as not worth going on with."""
    TRIAL_PAUSED = "trial_paused"
    """A trial waits for a decision, or to be gone on with, without a process."""
    TRIAL_FAILED = "trial_failed"
    """The last attempt at a trial failed."""
    TRIAL_RETRIED = "trial_retried"
    """An attempt failed; the trial waits for another."""
    INTERRUPTED = "interrupted"
    """Ctrl-C: no trial is begun any more."""
    COMPLETED = "completed"
    """``run`` ends."""


class Handlers:
    """The handlers of one Factory, kept by an Ignite engine that runs nothing else.

    Args:
        factory: What handlers are called with.
    """

    def __init__(self, factory: Factory) -> None:
        self._factory = factory
        self._handled = False  # whether there is a handler at all
        self._engine = Engine(lambda engine, batch: None)
        self._engine.register_events(
            *FactoryEvents, event_to_attr={event: event.value for event in FactoryEvents}
        )

    def add(self, event: Any, handler: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        """Attach a handler; it is called as ``handler(factory, *args, **kwargs)``.

        One that takes no factory is called with the arguments alone, as Ignite does it.
        """
        takes_factory = True
        try:
            inspect.signature(handler).bind(self._factory, *args, **kwargs)
        except TypeError:
            takes_factory = False
            inspect.signature(handler).bind(*args, **kwargs)
        self._handled = True
        first = (self._factory,) if takes_factory else ()
        self._engine.add_event_handler(event, lambda: handler(*first, *args, **kwargs))

    def fire(self, event: FactoryEvents) -> None:
        """Count the event and call its handlers, in the order they were attached."""
        count = getattr(self._engine.state, event.value)
        setattr(self._engine.state, event.value, count + 1)
        if self._handled:
            self._engine.fire_event(event)
