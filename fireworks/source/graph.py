"""A whole graph of sources: what there is, where it ends, how to run it."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from fireworks.errors import StateMismatch, WiringError, WrongType, WrongValue
from fireworks.message import Message
from fireworks.source import drawing, state
from fireworks.source.base import Source
from fireworks.source.passes import Pass
from fireworks.source.reading import one_step
from fireworks.source.rings import Laggard
from fireworks.source.run import RING_SIZE, Run
from fireworks.source.statistics import Statistics

_PREPARED_TOGETHER = 8

Sinks = Source | Sequence[Source] | Mapping[str, Source]


class Graph:
    """Everything that one or several sources are made of.

    Args:
        sinks: Where the graph ends: a source, or several, in a list or by name.

    Attributes:
        sinks: The ends, by name.
        nodes: Every source, from the ends upwards, by the key that it has in states.

    Raises:
        WrongType: Something among the sinks is no source.
        WiringError: There are no sinks, or an input of some source is not bound.
    """

    def __init__(self, sinks: Sinks) -> None:
        self.sinks: dict[str, Source] = _named(sinks)
        if not self.sinks:
            raise WiringError("A graph ends in at least one source; none was given.")
        self.nodes = state.nodes(*self.sinks.values())
        open_ends = [
            key for key, each in self.nodes.items() if each.needs_inputs and not each.inputs
        ]
        if open_ends:
            raise WiringError(
                f"These sources have no input yet: {', '.join(open_ends)}. Bind each with inputs= "
                "or >> first."
            )

    @property
    def edges(self) -> list[tuple[str, str]]:
        """Pairs of keys: rows flow from the first to the second."""
        keys = {id(source): key for key, source in self.nodes.items()}
        return [
            (keys[id(above)], key)
            for key, source in self.nodes.items()
            for above in source.inputs.values()
            if id(above) in keys
        ]

    @property
    def fingerprint(self) -> str:
        """A digest that two graphs share when they give the same rows from the same data."""
        return state.fingerprint(state.described(self.nodes))

    @property
    def statistics(self) -> dict[str, Statistics]:
        """What each source has done so far."""
        return {key: source.statistics for key, source in self.nodes.items()}

    # -- running ----------------------------------------------------------------------------------

    def run(
        self, *, laggard: Laggard = "block", ring: int = RING_SIZE
    ) -> Generator[dict[str, Message]]:
        """Run all sinks side by side, one item of each a step; yield them by the sinks' names.

        Within a step each row of a source that several sinks share is computed once, and a shared
        stream is read once in the whole run. A sink that has ended is absent from later steps.

        Args:
            laggard: What happens when one reader of a shared stream is ``ring`` chunks ahead of
                another: ``"block"`` waits for the other, and is an error where it cannot come;
                ``"spill"`` keeps the chunks on disk; ``"reread"`` lets the other read the stream
                itself until it has caught up; ``"drop"`` lets it miss the oldest chunks.
            ring: Chunks of a shared stream that are kept in memory.

        Raises:
            DeadlockError: ``"block"``, and the reader that lags cannot move.
        """
        sinks = list(self.sinks.values())
        starts = {key: each.take_resume() for key, each in self.sinks.items()}
        epochs = {epoch for epoch, _ in starts.values()}
        if len(epochs) > 1:
            raise StateMismatch(f"The sinks of one run are in different epochs: {sorted(epochs)}.")
        shared = Run(sinks, epochs.pop(), laggard=laggard, ring=ring)
        passes = {
            key: Pass(each, shared, starts[key][1], owns_run=False)
            for key, each in self.sinks.items()
        }
        try:
            while passes:
                step: dict[str, Message] = {}
                with one_step(shared.apart):
                    for key in list(passes):
                        item = next(passes[key], None)
                        if item is None:
                            del passes[key]
                        else:
                            step[key] = item
                if step:
                    yield step
        finally:
            for each in passes.values():
                each.close()
            shared.close()

    def drain(self) -> dict[str, int]:
        """Run all sinks for what they write; return how many rows each gave."""
        counts = dict.fromkeys(self.sinks, 0)
        for step in self.run():
            for key, message in step.items():
                counts[key] += len(message)
        return counts

    def prepare(self) -> None:
        """Do all one-time work now, from the top down: scans, fits, vocabularies, indices.

        Sources of which none reads from another are prepared side by side, in threads.

        Raises:
            Exception: What the first of them raised, once those begun with it are done.
        """
        for together in state.levels(self.nodes.values()):
            if len(together) == 1:
                together[0].prepare()
                continue
            with ThreadPoolExecutor(min(_PREPARED_TOGETHER, len(together))) as pool:
                for done in [pool.submit(source.prepare) for source in together]:
                    done.result()

    # -- state ------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Return where every sink stands; it survives ``json.dumps``."""
        return {key: each.state_dict() for key, each in self.sinks.items()}

    def state_rows(self) -> dict[str, Message]:
        """Return the part of the state that is too large for `state_dict`, by source."""
        return {
            key: rows for each in self.sinks.values() for key, rows in each.state_rows().items()
        }

    def load_state_dict(
        self, saved: Mapping[str, Any], rows: Mapping[str, Message] | None = None
    ) -> None:
        """Make the next run go on where a state was taken.

        Raises:
            StateMismatch: The state belongs to another graph.
        """
        if set(saved) != set(self.sinks):
            raise StateMismatch(
                f"The state has the sinks {', '.join(saved)}; here are {', '.join(self.sinks)}."
            )
        for key, each in self.sinks.items():
            each.load_state_dict(saved[key], rows)

    # -- checking ---------------------------------------------------------------------------------

    def validate(self, sample: int = 64) -> None:
        """Read a few rows through every source and check that the contract holds.

        Every indexed source must give the same rows when it is read again, in another order, and
        one row at a time. (Streams are only read.)

        Args:
            sample: Rows to read of each source.

        Raises:
            WrongValue: A source is not deterministic; it is named.
            WrongType, WrongLength: A source broke its contract otherwise.
        """
        keys = {id(source): key for key, source in self.nodes.items()}
        for source in chain.from_iterable(state.levels(self.nodes.values())):
            key = keys[id(source)]
            if source.closes_loops:
                continue
            if not source.indexed:
                source.take(sample)
                continue
            rows = np.arange(min(sample, source.num_rows))
            first = source.read(rows)
            if len(first) != len(rows):
                raise WrongValue(f"{key} was asked for {len(rows)} rows and gave {len(first)}.")
            if source.read(rows[::-1].copy()) != first.take(rows[::-1].copy()):
                raise WrongValue(
                    f"{key} gives other rows when it is read again in another order. What is "
                    "random must be drawn from the seed, the epoch and the row (MapSource with "
                    "seed= does that)."
                )

    # -- looking ----------------------------------------------------------------------------------

    def explain(self) -> str:
        """Return a table of where the time went, slowest first, and the bottleneck by name."""
        return drawing.explained(self.statistics)

    def mermaid(self) -> str:
        """Return the graph as a Mermaid flowchart."""
        return drawing.mermaid(self.nodes, self.edges)

    def svg(self) -> str:
        """Return the graph as an SVG picture."""
        return drawing.svg(self.nodes, self.edges)

    def show(self, path: str | Path | None = None) -> Graph:
        """Write the graph as an HTML page (or SVG, by the path's ending); in a notebook it shows.

        Args:
            path: Where to write; nowhere by default.
        """
        if path is not None:
            picture = self.svg()
            page = picture if Path(path).suffix == ".svg" else drawing.page(picture, self.explain())
            Path(path).write_text(page, encoding="utf-8")
        return self

    def _repr_html_(self) -> str:
        return self.svg()

    def __repr__(self) -> str:
        return f"Graph({len(self.nodes)} sources, ending in {', '.join(self.sinks)})"


def _named(sinks: Any) -> dict[str, Source]:
    if isinstance(sinks, Source):
        return {sinks.name or "output": sinks}
    named: dict[str, Any] = dict(
        sinks if isinstance(sinks, Mapping) else {str(n): each for n, each in enumerate(sinks)}
    )
    for key, each in named.items():
        if not isinstance(each, Source):
            raise WrongType(f"A graph ends in sources; {key!r} is {type(each).__name__}.")
    return named
