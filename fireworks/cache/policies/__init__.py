"""Which rows make room: one class per policy, each for whole arrays of slots."""

from __future__ import annotations

from collections.abc import Callable

from fireworks.cache.policies.forecast import Forecast
from fireworks.cache.policies.keep import Keep
from fireworks.cache.policies.lfu import LFU
from fireworks.cache.policies.oldest import Oldest
from fireworks.cache.policies.policy import Policy
from fireworks.cache.policies.random import Random
from fireworks.errors import WrongValue, suggest

POLICIES: dict[str, Callable[[int], Policy]] = {
    "lru": lambda seed: Oldest(renewed=True),
    "lfu": lambda seed: LFU(),
    "fifo": lambda seed: Oldest(renewed=False),
    "random": Random,
    "keep": lambda seed: Keep(),
    "forecast": lambda seed: Forecast(),
    "unbounded": lambda seed: Keep(),
}


def make_policy(name: str, seed: int) -> Policy:
    """The policy of a name.

    Raises:
        WrongValue: There is no such policy; the nearest name is offered.
    """
    if name not in POLICIES:
        raise WrongValue(f"There is no policy {name!r}.{suggest(name, POLICIES)}")
    return POLICIES[name](seed)


__all__ = ["POLICIES", "Policy", "make_policy"]
