"""A part of the rows for each of several processes that train together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np

from fireworks.errors import WrongLength, WrongValue
from fireworks.source import Rows, Source


class ShardSource(Source):
    """The rows of one rank: places ``rank``, ``rank + world``, … of the order above it.

    Put it behind the shuffle and before the batches. All ranks together are the epoch, once. A
    state names what all ranks together have consumed, so it is equal on all of them, and a run
    with 4 ranks goes on with 2.

    Args:
        rank: Which rank this is, from 0.
        world: How many ranks there are.
        uneven: Where the rows cannot be dealt out evenly: ``"pad"`` repeats the first ones until
            they can, ``"drop"`` leaves the last ones away, ``"error"`` raises.
        inputs: The source whose rows are dealt out.
        name: Tells this source from others of its class.

    Raises:
        WrongValue: The rank is not one of the world's.
        WrongLength: (when read) ``"error"``, and the rows cannot be dealt out evenly.
    """

    def __init__(
        self,
        rank: int,
        world: int,
        *,
        uneven: Literal["pad", "drop", "error"] = "pad",
        inputs: Source | Mapping[str, Source] | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(inputs=inputs, name=name)
        if world < 1 or not 0 <= rank < world:
            raise WrongValue(f"There is no rank {rank} among {world}: ranks go from 0.")
        if uneven not in ("pad", "drop", "error"):
            raise WrongValue(f"uneven is 'pad', 'drop' or 'error', not {uneven!r}.")
        self.rank = rank
        self.world = world
        self.uneven = uneven

    @property
    def num_rows(self) -> int:
        """Rows of this rank in an epoch; the same for all ranks."""
        rows = self.input.num_rows
        if self.uneven == "error" and rows % self.world:
            raise WrongLength(f"{rows} rows cannot be dealt out evenly to {self.world} ranks.")
        return rows // self.world if self.uneven == "drop" else -(-rows // self.world)

    @property
    def ranks(self) -> int:
        """The world."""
        return self.world

    def reorder(self, rows: Rows) -> Rows:
        """Return where this rank's rows stand in the order of all."""
        if not len(rows):
            return rows
        epochs, places = np.divmod(rows, self.num_rows)
        total = self.input.num_rows
        return epochs * total + (places * self.world + self.rank) % total

    def describe(self) -> dict[str, Any]:
        """Return what all ranks have in common."""
        return {"uneven": self.uneven}
