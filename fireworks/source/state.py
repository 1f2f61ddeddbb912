"""States: where a pass stands, as a plain dict, and whether it belongs to this graph."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from fireworks.errors import StateMismatch, WrongType
from fireworks.source import wiring
from fireworks.source.rings import Position

if TYPE_CHECKING:
    from fireworks.message import Message
    from fireworks.source.base import Source

_VERSION = 1


def nodes(*sinks: Source) -> dict[str, Source]:
    """Return every source of a graph by the key it has in states: its name, or its place.

    Sources are numbered from the end of the graph upwards, so that two equal graphs have equal
    keys.
    """
    found: dict[str, Source] = {}
    seen: set[int] = set()
    for sink in sinks:
        for source in wiring.upstream(sink):
            if id(source) in seen:
                continue
            seen.add(id(source))
            key = source.name or f"{type(source).__name__}-{len(found)}"
            found[key if key not in found else f"{key}-{len(found)}"] = source
    return found


def levels(sources: Iterable[Source]) -> list[list[Source]]:
    """Return the sources of a graph from the top down: each level reads from those before it.

    What closes a loop stands at the top, since what it reads lies downstream.
    """
    depth: dict[int, int] = {}

    def below(source: Source) -> int:
        if id(source) not in depth:
            inputs = () if source.closes_loops else source.inputs.values()
            depth[id(source)] = max((below(each) + 1 for each in inputs), default=0)
        return depth[id(source)]

    found: dict[int, list[Source]] = {}
    for source in sources:
        found.setdefault(below(source), []).append(source)
    return [found[level] for level in sorted(found)]


def described(graph: Mapping[str, Source]) -> list[str]:
    """Return one line per source: its key, class, inputs and what else decides its rows."""
    keys = {id(source): key for key, source in graph.items()}
    lines: list[str] = []
    for key, source in graph.items():
        inputs = {name: keys.get(id(above), "outside") for name, above in source.inputs.items()}
        settings = json.dumps(source.describe(), sort_keys=True, default=str)
        lines.append(f"{key}: {type(source).__name__} {settings} from {json.dumps(inputs)}")
    return lines


def fingerprint(lines: list[str]) -> str:
    """Return a short digest of a described graph."""
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


def saved(source: Source, epoch: int, position: Position) -> dict[str, Any]:
    """Return the state of a pass over a source, everything upstream included."""
    graph, lines = source.graph_description()
    own = {key: state for key, each in graph.items() if (state := each.own_state())}
    ranks = source.ranks
    if source.indexed and position is not None:
        # Rows of all ranks together: equal on every rank, and to be taken up by other ranks.
        position = min(position * source.item_rows, source.num_rows) * ranks
    return {
        "version": _VERSION,
        "graph": lines,
        "epoch": epoch,
        "position": position,
        "ranks": ranks,
        "sources": own,
    }


def rows_of(source: Source) -> dict[str, Message]:
    """Return what is too large for a state, by the key of its source."""
    graph, _ = source.graph_description()
    return {key: rows for key, each in graph.items() if (rows := each.own_rows()) is not None}


def restore(
    source: Source, state: Mapping[str, Any], rows: Mapping[str, Message]
) -> tuple[int, Position]:
    """Check that a state is of this graph, give every source its own, return epoch and position.

    Nothing is changed where the state is refused.

    Raises:
        StateMismatch: The state is of another graph, or of a newer version.
        WrongType: It is no state.
    """
    try:
        version, lines = state["version"], list(state["graph"])
        epoch, position, own = state["epoch"], state["position"], state["sources"]
        ranks = state["ranks"]
    except (KeyError, TypeError) as error:
        raise WrongType(f"This is no state of a source: {error} is missing.") from None
    if version != _VERSION:
        raise StateMismatch(f"The state has version {version}; this is version {_VERSION}.")
    graph, here = source.graph_description()
    if lines != here:
        raise StateMismatch(f"The state belongs to another graph. {_difference(lines, here)}")
    for key in own:
        if own[key].get("rows") and key not in rows:
            raise StateMismatch(f"The state of {key!r} has rows beside it; they are missing here.")
    for key, each in graph.items():
        each.restore_rows(own.get(key))
    position = _of_this_rank(source, position, ranks)
    for key, each in graph.items():
        each.restore_own(own.get(key), rows.get(key))
    return epoch, position


def _of_this_rank(source: Source, position: Position, ranks: int) -> Position:
    """Return the position of one rank from what all ranks together have consumed."""
    if position is None:
        return None
    if not source.indexed:
        if ranks == source.ranks:
            return position
        raise StateMismatch(
            f"The state was taken with {ranks} ranks; here are {source.ranks}. With a filter, "
            "skipped rows or buckets behind the ShardSource, ranks advance differently, and only "
            "as many ranks can go on."
        )
    rows, left = divmod(position, source.ranks)
    if rows >= source.num_rows:
        return len(source)
    if left or rows % source.item_rows:
        raise StateMismatch(
            f"{position} rows were consumed by {ranks} ranks; {source.ranks} ranks with "
            f"{source.item_rows} rows a batch cannot stand at that row. Choose ranks and batch "
            "size so that a step of all ranks divides it."
        )
    return rows // source.item_rows


def _difference(saved: list[str], here: list[str]) -> str:
    for old, new in zip(saved, here, strict=False):
        if old != new:
            return f"It was saved with [{old}]; here is [{new}]."
    more, where = (saved, "saved with") if len(saved) > len(here) else (here, "here has")
    extra = more[min(len(saved), len(here))]
    return f"The one {where} another source: [{extra}]."
