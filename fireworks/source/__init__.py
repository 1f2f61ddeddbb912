"""The base of the data graph: a Source, how sources are wired, and a pass over one."""

from fireworks.source.base import Source
from fireworks.source.failures import OnError, Retry, Skipped
from fireworks.source.graph import Graph
from fireworks.source.passes import Pass
from fireworks.source.reading import Rows
from fireworks.source.run import Reader, Run
from fireworks.source.statistics import Statistics

__all__ = [
    "Graph",
    "OnError",
    "Pass",
    "Reader",
    "Retry",
    "Rows",
    "Run",
    "Skipped",
    "Source",
    "Statistics",
]
