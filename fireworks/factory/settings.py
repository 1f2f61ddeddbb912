"""The numbers of a sweep, checked before anything is begun."""

from __future__ import annotations

import os
from dataclasses import dataclass

from fireworks.errors import WrongType, WrongValue
from fireworks.factory.limits import Limits


@dataclass(frozen=True)
class Settings:
    """The numbers of a sweep; see :class:`fireworks.factory.Factory`."""

    workers: int
    ordered: int
    retries: int
    threads: int
    seed: int
    limits: Limits
    grace: float


def make_settings(
    *,
    workers: object,
    ordered: object,
    retries: object,
    cpus_per_trial: object,
    seed: object,
    time_limit: object,
    sweep_time_limit: object,
    progress_limit: object,
    memory_limit: object,
    grace: object,
) -> Settings:
    """Check what a Factory was given; a seed that is None is drawn.

    Raises:
        WrongType: One is no number, or not a whole one.
        WrongValue: One is too small to make sense.
    """
    return Settings(
        workers=at_least(1, "workers", workers),
        ordered=at_least(1, "ordered", workers if ordered is None else ordered),
        retries=at_least(0, "retries", retries),
        threads=at_least(1, "cpus_per_trial", cpus_per_trial),
        seed=int.from_bytes(os.urandom(4), "big") if seed is None else at_least(0, "seed", seed),
        limits=Limits(
            trial=_positive("time_limit", time_limit),
            sweep=_positive("sweep_time_limit", sweep_time_limit),
            progress=_positive("progress_limit", progress_limit),
            memory=None if memory_limit is None else at_least(1, "memory_limit", memory_limit),
        ),
        grace=_seconds("grace", grace),
    )


def at_least(least: int, name: str, value: object) -> int:
    """A whole number that an argument must be.

    Raises:
        WrongType: It is none.
        WrongValue: It is less.
    """
    if isinstance(value, bool) or not isinstance(value, int):
        raise WrongType(f"{name} must be an int, not {value!r}")
    if value < least:
        raise WrongValue(f"{name} must be at least {least}, not {value}")
    return value


def _seconds(name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise WrongType(f"{name} must be a number of seconds, not {value!r}")
    if not value >= 0:
        raise WrongValue(f"{name} must be at least 0 seconds, not {value}")
    return float(value)


def _positive(name: str, value: object) -> float | None:
    if value is None:
        return None
    if _seconds(name, value) == 0:
        raise WrongValue(f"{name} must be more than 0 seconds")
    return _seconds(name, value)
