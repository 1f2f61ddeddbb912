"""How long training waits for data, and for which source."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from time import perf_counter
from typing import Any, Self, final

from ignite.engine import Engine, Events

from fireworks.engine.events import FireworksEvents, fire, register_events
from fireworks.experiment import Experiment
from fireworks.source import Source

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class EpochProfile:
    """Where the time of an epoch went.

    Attributes:
        epoch: The epoch, from 1.
        waiting: Seconds from asking for a batch until it was there.
        computing: Seconds between batches: the step and the handlers.
        slowest: The source that took most of the time in this epoch; None without sources.
        seconds: How long that source worked, its inputs left out.
    """

    epoch: int
    waiting: float
    computing: float
    slowest: str | None
    seconds: float

    @property
    def share(self) -> float:
        """The part of the time that was spent waiting, from 0 to 1."""
        return self.waiting / max(self.waiting + self.computing, 1e-9)

    def __str__(self) -> str:
        text = f"epoch {self.epoch}: {self.share:.0%} of the time waited for data"
        if self.slowest is None:
            return text
        return f"{text}; the slowest source is {self.slowest} ({self.seconds:.2f} s)"


@final
class DataProfiler:
    """Measures waiting for data against computing, in each epoch.

    After each batch ``engine.state.data_wait`` has the seconds it took, and the event
    ``FireworksEvents.DATA_WAIT`` is fired.

    Args:
        experiment: Where to log ``data/waiting``, the share of each epoch; nowhere by default.

    Attributes:
        epochs: A profile of each epoch.
    """

    def __init__(self, experiment: Experiment | None = None) -> None:
        self.epochs: list[EpochProfile] = []
        self._experiment = experiment
        self._asked = self._came = 0.0
        self._waiting = self._computing = 0.0
        self._before: dict[str, float] = {}

    def attach(self, engine: Engine) -> Self:
        """Attach to a trainer or evaluator; returns the profiler itself."""
        register_events(engine)
        engine.add_event_handler(Events.EPOCH_STARTED, self._begin)
        engine.add_event_handler(Events.GET_BATCH_STARTED, self._ask)
        engine.add_event_handler(Events.GET_BATCH_COMPLETED, self._take)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._end)
        return self

    def _begin(self, engine: Engine) -> None:
        self._waiting = self._computing = self._came = 0.0
        self._before = _seconds(engine.state.dataloader)

    def _ask(self) -> None:
        self._asked = perf_counter()
        if self._came:
            self._computing += self._asked - self._came

    def _take(self, engine: Engine) -> None:
        self._came = perf_counter()
        waited = self._came - self._asked
        self._waiting += waited
        state: Any = engine.state
        state.data_wait = waited
        fire(engine, FireworksEvents.DATA_WAIT)

    def _end(self, engine: Engine) -> None:
        computing = self._computing + (perf_counter() - self._came if self._came else 0.0)
        spent = {
            name: seconds - self._before.get(name, 0.0)
            for name, seconds in _seconds(engine.state.dataloader).items()
        }
        slowest = max(spent, key=lambda name: spent[name]) if spent else None
        profile = EpochProfile(
            engine.state.epoch, self._waiting, computing, slowest, spent.get(slowest or "", 0.0)
        )
        self.epochs.append(profile)
        _log.info("%s", profile)
        if self._experiment is not None:
            self._experiment.log({"data/waiting": profile.share}, step=engine.state.iteration)


def _seconds(data: Any) -> dict[str, float]:
    """How long each source upstream has worked so far."""
    source = getattr(data, "source", data)
    if not isinstance(source, Source):
        return {}
    nodes, _ = source.graph_description()
    return {name: each.statistics.seconds for name, each in nodes.items()}
