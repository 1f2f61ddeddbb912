"""Sweeps: propose parameters, run each trial in a process of its own, decide, repeat.

What is named here is imported when it is first used: the fork server must be under way, and bound
to the life of its parent, before it spends seconds on imports.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fireworks.factory.backend import Backend as Backend
    from fireworks.factory.events import FactoryEvents as FactoryEvents
    from fireworks.factory.factory import Factory as Factory
    from fireworks.factory.fork_server import ForkServer as ForkServer
    from fireworks.factory.halving import Halving as Halving
    from fireworks.factory.parts import Evaluation as Evaluation
    from fireworks.factory.parts import Stopping as Stopping
    from fireworks.factory.parts import Training as Training
    from fireworks.factory.proposers import EndSearch as EndSearch
    from fireworks.factory.proposers import Grid as Grid
    from fireworks.factory.proposers import Memory as Memory
    from fireworks.factory.proposers import Proposer as Proposer
    from fireworks.factory.proposers import Random as Random
    from fireworks.factory.pruning_handler import PruningHandler as PruningHandler
    from fireworks.factory.records import TrialRecord as TrialRecord
    from fireworks.factory.spawn import Spawn as Spawn
    from fireworks.factory.trial import Trial as Trial
    from fireworks.factory.trial import TrialPaused as TrialPaused
    from fireworks.factory.trial import TrialPruned as TrialPruned
    from fireworks.factory.warm import Warm as Warm

_HOMES = {
    "Backend": "backend",
    "EndSearch": "proposers",
    "Evaluation": "parts",
    "Factory": "factory",
    "FactoryEvents": "events",
    "ForkServer": "fork_server",
    "Grid": "proposers",
    "Halving": "halving",
    "Memory": "proposers",
    "Proposer": "proposers",
    "PruningHandler": "pruning_handler",
    "Random": "proposers",
    "Spawn": "spawn",
    "Stopping": "parts",
    "Training": "parts",
    "Trial": "trial",
    "TrialPaused": "trial",
    "TrialPruned": "trial",
    "TrialRecord": "records",
    "Warm": "warm",
}

__all__ = [
    "Backend",
    "EndSearch",
    "Evaluation",
    "Factory",
    "FactoryEvents",
    "ForkServer",
    "Grid",
    "Halving",
    "Memory",
    "Proposer",
    "PruningHandler",
    "Random",
    "Spawn",
    "Stopping",
    "Training",
    "Trial",
    "TrialPaused",
    "TrialPruned",
    "TrialRecord",
    "Warm",
]


def __getattr__(name: str) -> object:
    if name in _HOMES:
        value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
