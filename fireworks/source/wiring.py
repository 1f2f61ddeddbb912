"""How sources are connected: who reads from whom, and which inputs are still open."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from fireworks.errors import WiringError, WrongType

if TYPE_CHECKING:
    from fireworks.source.base import Source
    from fireworks.source.node import Node

SINGLE = "input"
"""The name of the input of a source that has only one."""


_version = 0


def version() -> int:
    """Return a number that changes whenever a source is bound, for what remembers a graph."""
    return _version


def changed() -> None:
    """Note that a source was bound."""
    global _version
    _version += 1


def upstream(source: Node) -> Iterator[Source]:
    """Yield a source and everything it reads from, each once, nearest first.

    What closes a loop is yielded; what it reads lies downstream.
    """
    queue: list[Any] = [source]
    seen = {id(source)}
    for each in queue:
        yield each
        if each.closes_loops:
            continue
        for above in each.inputs.values():
            if id(above) not in seen:
                seen.add(id(above))
                queue.append(above)


def named(inputs: object) -> dict[str, Source]:
    """Return what was given as ``inputs`` as a dict of named sources.

    Raises:
        WrongType: Something in it is no Source.
    """
    from fireworks.source.base import Source

    if isinstance(inputs, Source):
        return {SINGLE: inputs}
    if isinstance(inputs, list | tuple):
        inputs = {str(number): each for number, each in enumerate(inputs)}
    if isinstance(inputs, Mapping):
        found: dict[str, Source] = {}
        for name, source in inputs.items():
            if not isinstance(name, str) or not isinstance(source, Source):
                break
            found[name] = source
        else:
            return found
    raise WrongType(
        f"inputs must be a Source, or a dict or list of Sources, not {inputs!r}. "
        "A Message becomes a source with fireworks.sources.MessageSource(message)."
    )


def check_bindable(source: Node, inputs: Mapping[str, Source]) -> None:
    """Refuse to bind inputs twice, to bind none, and to close a cycle.

    Raises:
        WiringError: The source is bound already, or reads from itself through an input.
    """
    if source.inputs:
        bound = ", ".join(map(repr, source.inputs.values()))
        raise WiringError(
            f"{source!r} has its input already: {bound}. A source is bound once; "
            "make a second one to read from somewhere else."
        )
    if not inputs:
        raise WiringError(f"{source!r} was given an empty dict of inputs.")
    if source.closes_loops:
        return
    for above in inputs.values():
        if any(each is source for each in upstream(above)):
            names = " <- ".join(repr(each) for each in _path(above, source))
            raise WiringError(
                f"{source!r} would read from itself: {source!r} <- {names}. A loop passes through "
                "a FeedbackSource."
            )


def _path(start: Node, end: Node) -> list[Node]:
    """Return the sources from one up to another that it reads from."""
    for above in [] if start is end else start.inputs.values():
        if any(each is end for each in upstream(above)):
            return [start, *_path(above, end)]
    return [start]


def the_open_end(source: Node) -> Node:
    """Return the one source at or above ``source`` whose input is not bound yet.

    Raises:
        WiringError: There is none, or there are several.
    """
    if source.closes_loops and not source.inputs:
        return source
    unbound = [each for each in upstream(source) if each.needs_inputs and not each.inputs]
    if len(unbound) == 1:
        return unbound[0]
    if not unbound:
        raise WiringError(
            f"There is nothing to bind: {source!r} and everything upstream of it has its "
            "inputs already, or reads from none."
        )
    names = ", ".join(map(repr, unbound))
    raise WiringError(f"Several inputs are open upstream of {source!r}: {names}. Use inputs=.")
