"""Sweeps: propose parameters, run each trial in a process of its own, decide, repeat."""

from fireworks.factory.events import FactoryEvents
from fireworks.factory.factory import Factory
from fireworks.factory.fork_server import ForkServer
from fireworks.factory.proposers import EndSearch, Grid, Proposer, Random
from fireworks.factory.records import TrialRecord
from fireworks.factory.trial import Trial, TrialPruned

__all__ = [
    "EndSearch",
    "Factory",
    "FactoryEvents",
    "ForkServer",
    "Grid",
    "Proposer",
    "Random",
    "Trial",
    "TrialPruned",
    "TrialRecord",
]
