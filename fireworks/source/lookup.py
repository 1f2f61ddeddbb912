"""Recursive calls: an attribute that a source lacks is looked up on what it reads from."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fireworks.source.node import Node

_MISSING = object()


def has_own(source: Node, name: str) -> bool:
    """Whether a source defines ``name`` itself; nothing is evaluated."""
    return inspect.getattr_static(source, name, _MISSING) is not _MISSING


def find(source: Node, name: str) -> Any:
    """Return what ``name`` means upstream of a source, its own meaning left aside.

    Found in one branch: that. Found in several: a dict keyed by the source's input names, or,
    where all are callable, one callable that calls each and returns such a dict.

    Raises:
        AttributeError: No source upstream has it; the message shows the path searched.
    """
    seen: dict[int, Node] = {id(source): source}
    value = _find(source, name, seen)
    if value is not _MISSING:
        return value
    path = " <- ".join(type(each).__name__ for each in seen.values())
    raise AttributeError(f"no source has the attribute {name!r}; searched {path}")


def _find(source: Node, name: str, seen: dict[int, Node]) -> Any:
    found: dict[str, Any] = {}
    if source.closes_loops:
        return _MISSING  # what lies beyond is downstream already
    for input_name, above in source.inputs.items():
        if id(above) in seen:
            continue
        seen[id(above)] = above
        if has_own(above, name):
            found[input_name] = object.__getattribute__(above, name)
        elif (value := _find(above, name, seen)) is not _MISSING:
            found[input_name] = value
    if len(found) > 1:
        return _on_each(found) if all(map(callable, found.values())) else found
    return next(iter(found.values()), _MISSING)


def _on_each(methods: dict[str, Any]) -> Callable[..., dict[str, Any]]:
    def call(*args: object, **options: object) -> dict[str, Any]:
        return {name: method(*args, **options) for name, method in methods.items()}

    return call
