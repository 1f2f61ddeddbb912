"""The global random generators of this process: Python's, NumPy's, torch's and CUDA's."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

import ignite.distributed as idist
import numpy as np
import torch


def random_state() -> dict[str, Any]:
    """Return the state of all of them, of tensors and plain values."""
    version, numbers, gauss = random.getstate()
    legacy: Any = np.random.get_state(legacy=False)
    state: dict[str, Any] = {
        "python": [version, torch.from_numpy(np.array(numbers, dtype=np.int64)), gauss],
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else [],
    }
    if legacy["bit_generator"] == "MT19937":
        state["numpy"] = {
            "key": torch.from_numpy(legacy["state"]["key"].astype(np.int64)),
            "pos": int(legacy["state"]["pos"]),
            "has_gauss": int(legacy["has_gauss"]),
            "gauss": float(legacy["gauss"]),
        }
    return state


def random_state_of_all(state: dict[str, Any]) -> list[Any]:
    """Return the states of all processes that train together, by rank; each must call it."""
    world = idist.get_world_size()
    if world == 1:
        return [state]
    states: list[Any] = [None] * world
    torch.distributed.all_gather_object(states, state)
    return states


def restore_random_state(state: Mapping[str, Any]) -> None:
    """Put all of them where they were; CUDA's where there are as many devices."""
    version, numbers, gauss = state["python"]
    random.setstate((version, tuple(numbers.tolist()), gauss))
    if (numpy := state.get("numpy")) is not None:
        np.random.set_state(
            (
                "MT19937",
                numpy["key"].numpy().astype(np.uint32),
                numpy["pos"],
                numpy["has_gauss"],
                numpy["gauss"],
            )
        )
    torch.set_rng_state(state["torch"])
    if state["cuda"] and len(state["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(state["cuda"])
