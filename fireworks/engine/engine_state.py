"""Ignite's counters: which iteration of which epoch a run stands at."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ignite.engine import Engine


def engine_state(engine: Engine, iteration: int) -> dict[str, Any]:
    """Return what Ignite's own ``state_dict`` has, also where an epoch's length is unknown."""
    state = engine.state
    return {
        "iteration": iteration,
        "epoch_length": state.epoch_length,
        "max_epochs": state.max_epochs,
        "max_iters": state.max_iters,
        "user": {key: getattr(state, key) for key in engine.state_dict_user_keys},
    }


def restore_engine_state(engine: Engine, saved: Mapping[str, Any]) -> None:
    """Make the next run of an engine go on after an iteration."""
    state, length = engine.state, saved["epoch_length"]
    state.iteration = saved["iteration"]
    state.epoch = 0 if length is None else saved["iteration"] // length
    state.epoch_length = length
    state.max_epochs, state.max_iters = saved["max_epochs"], saved["max_iters"]
    for key, value in saved["user"].items():
        setattr(state, key, value)

    def go_on() -> Iterator[Any]:
        if not engine._is_done(state):  # pyright: ignore[reportPrivateUsage]
            yield from engine._internal_run_as_gen()  # pyright: ignore[reportPrivateUsage]
        return state

    # As after `interrupt()`: Ignite would begin anew where all epochs are done.
    engine._dataloader_iter = engine._init_iter = None  # pyright: ignore
    engine._internal_run_generator = go_on()  # pyright: ignore
