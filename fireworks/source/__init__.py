"""The base of the data graph: a Source, how sources are wired, and a pass over one."""

from fireworks.source.base import Source
from fireworks.source.passes import Pass

__all__ = ["Pass", "Source"]
