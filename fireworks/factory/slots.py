"""Where a trial may run: how many at once, and on which GPUs."""

from __future__ import annotations

import math
import os
from typing import final

from fireworks.errors import WrongType, WrongValue


@final
class Slots:
    """The places of the trials that run at once.

    Args:
        workers: How many.
        gpus_per_trial: GPUs that each has to itself; a fraction shares one among several trials;
            0 hides all; None leaves every GPU visible to every trial.
        devices: The names of the GPUs that there are; found where None and needed.

    Raises:
        WrongType: ``gpus_per_trial`` is no number.
        WrongValue: It is negative or, above 1, not whole; or there are too few GPUs for so many
            workers.
    """

    def __init__(
        self, workers: int, gpus_per_trial: float | None, devices: list[str] | None = None
    ) -> None:
        self._free: list[list[str]] | None = None  # None: no trial is told which to use
        if gpus_per_trial is not None:
            share = _checked(gpus_per_trial)
            found = (visible_gpus() if devices is None else devices) if share else []
            self._free = _places(workers, share, found)

    def take(self) -> list[str] | None:
        """The GPUs for one more trial; None where it is not to be told."""
        return None if self._free is None else self._free.pop(0)

    def give_back(self, devices: list[str] | None) -> None:
        """A trial has ended."""
        if self._free is not None and devices is not None:
            # The next trial gets the place that was used last: a warm worker may wait there.
            self._free.insert(0, devices)


def visible_gpus() -> list[str]:
    """What ``CUDA_VISIBLE_DEVICES`` would have to say for each GPU that this process may use.

    CUDA itself is not started.
    """
    os.environ.setdefault("PYTORCH_NVML_BASED_CUDA_CHECK", "1")
    import torch

    count = torch.cuda.device_count()
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is None:
        return [str(number) for number in range(count)]
    return [each.strip() for each in named.split(",")][:count]


def _checked(share: object) -> float:
    if isinstance(share, bool) or not isinstance(share, int | float):
        raise WrongType(f"gpus_per_trial must be a number of GPUs, not {share!r}")
    if not 0 <= share < math.inf or (share > 1 and share != int(share)):
        raise WrongValue(
            f"gpus_per_trial must be 0, a fraction of one GPU or a whole number, not {share!r}"
        )
    return share


def _places(workers: int, share: float, devices: list[str]) -> list[list[str]]:
    """A list of devices per worker, the GPUs filled evenly."""
    if share == 0:
        return [[] for _ in range(workers)]
    fits, width = max(1, int(1 / share + 1e-9)), max(1, int(share))
    firsts = range(0, len(devices) - width + 1, width)
    places = [devices[first : first + width] for _ in range(fits) for first in firsts]
    if len(places) >= workers:
        return places[:workers]
    there = {0: "is none", 1: "is one"}.get(len(devices), f"are {len(devices)}")
    advice = (
        f"Use workers={len(places)}, or a smaller gpus_per_trial."
        if places
        else "Leave gpus_per_trial out to train without."
    )
    raise WrongValue(
        f"workers={workers} with gpus_per_trial={share:g} need {math.ceil(workers / fits) * width} "
        f"GPUs; there {there}. {advice}"
    )
