"""What a sweep records of itself, and whether who goes on with it means the same one."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, is_dataclass
from typing import Any

from fireworks.errors import StateMismatch, WrongValue
from fireworks.experiment.stored_trials import read_sweep
from fireworks.factory.goal import Goal
from fireworks.factory.identity import code_of
from fireworks.factory.proposers import Proposer
from fireworks.factory.transport import import_name

SWEEP = "sweep"


def read_description(path: str | os.PathLike[str]) -> dict[str, Any]:
    """What a sweep recorded of itself: ``identity``, ``options`` and ``names`` of its functions.

    Raises:
        ExperimentNotFound: There is no experiment at ``path``.
        WrongValue: It holds no sweep, or one of a release that could not resume.
    """
    recorded = read_sweep(path)[1].get(SWEEP)
    if recorded is None:
        raise WrongValue(f"{str(path)!r} holds no sweep that could be gone on with")
    return recorded


def describe_sweep(
    goal: Goal,
    proposer: Proposer,
    functions: Mapping[str, object],
    deciders: Mapping[str, object],
    options: Mapping[str, object],
) -> dict[str, Any]:
    """What a sweep is, as JSON; the seed and ``ordered`` come to the ``identity`` later.

    Args:
        goal: What it is after.
        proposer: Where parameters come from.
        functions: What was given for ``train`` and the like.
        deciders: What was given for ``pruner`` and ``scheduler``.
        options: The other arguments; those that are plain values are kept.
    """
    code = {name: code_of(each) for name, each in functions.items()}
    return {
        "identity": {
            **goal.described(),
            "space": proposer.describe(),
            **{name: _described(each) for name, each in deciders.items()},
            **{f"code of {name}": each for name, each in code.items() if each},
        },
        "options": {
            name: value for name, value in options.items() if isinstance(value, str | int | float)
        },
        "names": {
            name: import_name(functions[name]) for name in functions if callable(functions[name])
        },
    }


def _described(decider: object) -> Any:
    if is_dataclass(decider) and not isinstance(decider, type):
        return asdict(decider)
    return decider if isinstance(decider, str | None) else type(decider).__name__


def refuse_changes(changed: list[str], *, force: bool) -> None:
    """Refuse to go on with a sweep that is not the same any more.

    Raises:
        StateMismatch: Something differs, and ``force`` is not set.
    """
    if changed and not force:
        raise StateMismatch(
            "this is not the sweep that was begun:\n"
            + "\n".join(f"- {each}" for each in changed)
            + "\nTo go on nevertheless, with what is new from here on: force=True, or "
            "fireworks resume --force. To begin another sweep: another experiment."
        )


def function_named(what: str, name: list[str] | None) -> Callable[..., Any]:
    """A function of an earlier process, by its import name.

    Raises:
        WrongValue: It has none, or cannot be imported.
    """
    if name is not None:
        try:
            found: Any = importlib.import_module(name[0])
            for part in name[1].split("."):
                found = getattr(found, part)
            return found
        except (ImportError, AttributeError):
            pass
    shown = ".".join(name) if name else "a function without an import name"
    raise WrongValue(
        f"{what}= must be given again: it was {shown}, which cannot be imported from here"
    )
