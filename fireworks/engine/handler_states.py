"""Everything that determines the future of a run, taken and given back."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from typing import Any

import ignite.distributed as idist
import torch
from ignite.engine import Engine
from ignite.metrics import Metric
from torch import nn

from fireworks.engine.parts import has_state, known_evaluators
from fireworks.errors import StateMismatch

_log = logging.getLogger(__name__)

VERSION = 1


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
    """Make the next run of an engine go on after an iteration.

    Without the trick at the end, Ignite would begin anew where all epochs are done.
    """
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

    engine._dataloader_iter = engine._init_iter = None  # pyright: ignore
    engine._internal_run_generator = go_on()  # pyright: ignore


def handler_states(trainer: Engine, parts: Mapping[str, object]) -> dict[str, Any]:
    """Return the state of every handler that has one, of the trainer and its evaluators."""
    return {name: each.state_dict() for name, each in _stateful(trainer, parts)}


def restore_handler_states(
    trainer: Engine, parts: Mapping[str, object], saved: Mapping[str, Any]
) -> None:
    """Give handlers their states back; those that are new here begin anew."""
    here = dict(_stateful(trainer, parts))
    for name, each in here.items():
        if name in saved:
            each.load_state_dict(saved[name])
    if gone := [name for name in saved if name not in here]:
        _log.warning("the checkpoint has states of handlers not attached here: %s", gone)


def _stateful(trainer: Engine, parts: Mapping[str, object]) -> Iterator[tuple[str, Any]]:
    seen = {id(each) for each in parts.values()}
    engines = {"trainer": trainer, **known_evaluators(trainer)}
    for place, engine in engines.items():
        counts: dict[str, int] = {}
        events: Any = engine._event_handlers  # pyright: ignore[reportPrivateUsage]
        for handlers in events.values():
            for function, _, _ in handlers:
                parent: Any = getattr(function, "_parent", None)  # of a filtered event
                function = (parent() if parent is not None else None) or function
                owner = function if has_state(function) else getattr(function, "__self__", None)
                if owner is None or id(owner) in seen or not has_state(owner):
                    continue
                seen.add(id(owner))
                if isinstance(owner, Engine | nn.Module):
                    continue
                if isinstance(owner, Metric) and engine is not trainer:
                    continue  # an evaluation begins with all metrics anew
                name = type(owner).__qualname__
                counts[name] = counts.get(name, 0) + 1
                yield f"{place}/{name}-{counts[name]}", owner


def gather(value: Any) -> list[Any]:
    """Return a value of every process, by rank; each must call it."""
    world = idist.get_world_size()
    if world == 1:
        return [value]
    values: list[Any] = [None] * world
    torch.distributed.all_gather_object(values, value)
    return values


def check_parts(parts: Mapping[str, Any], saved: Mapping[str, Any]) -> None:
    """Check that states are of these parts, before any of them is changed.

    Raises:
        StateMismatch: They are not; missing and unexpected names are listed.
    """
    _compare("The trainer", "parts", set(parts), set(saved))
    for name, part in parts.items():
        state = saved[name]
        if isinstance(part, nn.Module):
            own = part.state_dict()
            _compare(f"The {name}", "tensors", set(own), set(state))
            for key, value in own.items():
                if isinstance(value, torch.Tensor) and value.shape != state[key].shape:
                    raise StateMismatch(
                        f"{key!r} of the {name} has shape {tuple(value.shape)}; in the checkpoint "
                        f"it has {tuple(state[key].shape)}. Build the model as it was."
                    )
        elif isinstance(part, torch.optim.Optimizer):
            sizes = [len(group["params"]) for group in part.param_groups]
            was = [len(group["params"]) for group in state["param_groups"]]
            if sizes != was:
                raise StateMismatch(
                    f"The {name} has groups of {sizes} parameters; in the checkpoint, of {was}."
                )


def _compare(what: str, of: str, here: set[str], saved: set[str]) -> None:
    if here == saved:
        return
    missing, unexpected = sorted(saved - here), sorted(here - saved)
    raise StateMismatch(
        f"{what} is not as in the checkpoint. Of the {of} there, missing here: "
        f"{_listed(missing)}; not in the checkpoint: {_listed(unexpected)}."
    )


def _listed(names: list[str]) -> str:
    return ", ".join(names[:10]) + (f" and {len(names) - 10} more" if names[10:] else "") or "none"
