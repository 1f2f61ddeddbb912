"""Which kind of process an attempt at a trial runs in."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Literal, TypeAlias, get_args

from fireworks.errors import WrongValue, suggest
from fireworks.factory.backend import Backend
from fireworks.factory.fork_server import ForkServer
from fireworks.factory.platforms import refuse_windows, require_linux
from fireworks.factory.spawn import Spawn
from fireworks.factory.warm import Warm

Isolation: TypeAlias = Literal["fork-server", "warm", "spawn"]


def check_isolation(isolation: Isolation | None) -> Isolation:
    """The kind of process that is meant; None means the best one of this system.

    Raises:
        WrongValue: There is no such kind.
        SweepFailed: This system has none, or not this one.
    """
    refuse_windows()
    if isolation is None:
        return "fork-server" if sys.platform == "linux" else "spawn"
    for known in get_args(Isolation):
        if isolation == known:
            if known == "fork-server":
                require_linux("isolation='fork-server'")
            return known
    raise WrongValue(
        f"there is no isolation {isolation!r}.{suggest(isolation, get_args(Isolation))}"
    )


def open_backend(isolation: Isolation, required: Iterable[str], optional: Iterable[str]) -> Backend:
    """A backend that runs attempts in such processes.

    Args:
        isolation: The kind.
        required: Modules without which no trial can run, to be imported ahead where possible.
        optional: Modules that trials are likely to import.
    """
    if isolation == "spawn":
        return Spawn()
    if isolation == "warm" and sys.platform != "linux":
        return Warm(Spawn())
    server = ForkServer(required, optional)
    return server if isolation == "fork-server" else Warm(server)
