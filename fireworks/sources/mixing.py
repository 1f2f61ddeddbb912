"""Rows of several sources, mixed at random."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np

from fireworks.errors import WrongType, WrongValue, suggest
from fireworks.message import concat
from fireworks.source import Reader, Run, Source
from fireworks.source.rings import Flow, Position
from fireworks.source.run import ROWS_PER_READ


class MixSource(Source):
    """Rows drawn from several sources in given proportions, at random; a stream.

    Which source gives the next row depends on the seed, the epoch and the row's place alone.

    Args:
        weights: How often each input is drawn, by its name; they need not add up to 1.
        seed: The seed of the draws.
        stop: When to end: at the first draw from a source that has ended (``"first"``: the
            proportions hold to the end), or when all have (``"all"``: the rest is drawn from those
            that go on).
        inputs: The sources by name; all with the same columns.
        name: Tells this source from others of its class.

    Raises:
        WrongValue: A weight is negative or not finite, or all are 0; (when read) weights and
            inputs have different names.
        WrongType: The seed is no integer, or the weights are no mapping.
    """

    needs_inputs = True

    def __init__(
        self,
        weights: Mapping[str, float],
        *,
        seed: int,
        stop: Literal["first", "all"] = "first",
        inputs: Mapping[str, Source] | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(inputs=inputs, name=name)
        if not isinstance(seed, int | np.integer) or seed < 0:
            raise WrongType(f"MixSource needs a seed, an integer from 0; it got {seed!r}.")
        if not isinstance(weights, Mapping):
            raise WrongType(
                f"weights name the inputs, as in {{'a': 1, 'b': 2}}; they are {weights!r}."
            )
        values = np.array(list(weights.values()), float)
        if not len(values) or not np.isfinite(values).all() or values.min() < 0 or not values.any():
            raise WrongValue(f"weights are numbers from 0, not all 0; they are {dict(weights)}.")
        if stop not in ("first", "all"):
            raise WrongValue(f"stop is 'first' or 'all', not {stop!r}.")
        self.weights = dict(weights)
        self.seed = int(seed)
        self.stop = stop

    def flow(self, run: Run, start: Position) -> Flow:
        """Yield mixed rows, in chunks of one block of draws."""
        for key in self.weights:
            if key not in self.inputs:
                raise WrongValue(f"{self!r} has no input {key!r}.{suggest(key, self.inputs)}")
        keys = list(self.weights)
        places = {} if start is None else start["inputs"]
        readers = [Reader(run, self.inputs[k], places.get(k), reader=self) for k in keys]
        block = 0 if start is None else start["block"]
        weights = np.array([self.weights[key] for key in keys], float)
        for n in [] if start is None else start["ended"]:
            weights[n] = 0
        while weights.any():
            generator = np.random.default_rng([self.seed, run.epoch, block])
            drawn = generator.choice(len(keys), ROWS_PER_READ, p=weights / weights.sum())
            counts = np.bincount(drawn, minlength=len(keys))
            taken = [
                reader.take(n) if n else None for reader, n in zip(readers, counts, strict=True)
            ]
            got = np.array([0 if rows is None else len(rows) for rows in taken])
            # A row can be given where its source has that many left.
            turn = np.empty(len(drawn), np.int64)
            for n in range(len(keys)):
                turn[drawn == n] = np.arange(counts[n])
            there = turn < got[drawn]
            kept = np.ones(len(drawn), bool)
            if self.stop == "first" and not there.all():
                kept[int(np.argmin(there)) :] = False
            order = np.flatnonzero(there & kept)
            starts = np.cumsum(got) - got
            rows = [each for each in taken if each is not None]
            block += 1
            for n in np.flatnonzero(got < counts):
                weights[n] = 0
            if len(order):
                mixed = concat(rows).take(starts[drawn[order]] + turn[order])
                yield (
                    mixed,
                    {
                        "block": block,
                        "inputs": {k: r.position for k, r in zip(keys, readers, strict=True)},
                        "ended": np.flatnonzero(weights == 0).tolist(),
                    },
                )
            if self.stop == "first" and not kept.all():
                return

    def describe(self) -> dict[str, Any]:
        """Return what the draws depend on."""
        return {"weights": self.weights, "seed": self.seed, "stop": self.stop}
