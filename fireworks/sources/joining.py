"""Rows of two sources that have a key in common."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import pandas as pd

from fireworks.errors import ColumnNotFound, WiringError, WrongValue
from fireworks.message import Message
from fireworks.source import Rows, Run, Source
from fireworks.source.rings import Flow, Position


class JoinSource(Source):
    """Each row of the input ``left`` beside the rows of the input ``right`` with the same key.

    The right input is a table to look things up in: it is indexed, its keys are scanned once, and
    its epoch 0 serves all epochs. Where the left input is indexed and the same in every epoch, its
    keys are scanned too, and the join is indexed (16 bytes a row): put a shuffle behind it.
    Otherwise it is a stream. A left row with several partners comes once with each.

    Args:
        on: The column that both have.
        missing: What to do with a left row without a partner: ``"error"`` or ``"drop"``.
        inputs: The sources, named ``"left"`` and ``"right"``; apart from ``on`` no column is in
            both.
        name: Tells this source from others of its class.

    Raises:
        WiringError: The inputs are not called left and right.
        ColumnNotFound: (when read) an input lacks the column.
        WrongValue: (when read) a left row has no partner, and ``missing`` is ``"error"``.
    """

    epoch_aware = True

    def __init__(
        self,
        on: str,
        *,
        missing: Literal["error", "drop"] = "error",
        inputs: Mapping[str, Source] | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(inputs=inputs, name=name)
        if missing not in ("error", "drop"):
            raise WrongValue(f"missing is 'error' or 'drop', not {missing!r}.")
        self.on = on
        self.missing = missing
        self._index: pd.Index | None = None
        self._places: Rows | None = None
        self._pairs: tuple[Rows, Rows] | None = None

    @property
    def indexed(self) -> bool:
        """Whether both inputs are, and the left one is the same in every epoch."""
        sides = self.inputs.values()
        return bool(sides) and all(s.indexed for s in sides) and not self._side("left").varies

    @property
    def varies(self) -> bool:
        """Whether the left input does."""
        return bool(self.inputs) and self._side("left").varies

    @property
    def item_rows(self) -> int:
        """Single rows."""
        return 1

    @property
    def num_rows(self) -> int:
        """Pairs."""
        return len(self._all_pairs()[0])

    def prepare(self) -> None:
        """Scan the keys."""
        if self.indexed:
            self._all_pairs()

    def rows_moved(self, kept: int) -> None:
        """Scan the keys again."""
        self._index = self._places = self._pairs = None
        super().rows_moved(0)

    def read(self, rows: Rows) -> Message:
        """Return pairs."""
        above = self.rows_above(rows)
        left = self._side("left").read(above["left"])
        return left.merge(self._side("right").read(above["right"]).drop(self.on))

    def flow(self, run: Run, start: Position) -> Flow:
        """Yield the rows of a streamed left input beside their partners."""
        for message, position in run.open(self._side("left"), start, reader=self):
            left, right = self._matched(message, 0)
            partners = self._side("right").read(right)
            yield message.take(left).merge(partners.drop(self.on)), position

    def rows_above(self, rows: Rows) -> Mapping[str, Rows]:
        """Return the rows of both sides."""
        left, right = self._all_pairs()
        epochs, places = np.divmod(rows, max(1, len(left)))
        return {
            "left": epochs * self._side("left").num_rows + left[places],
            "right": right[places],
        }

    def describe(self) -> dict[str, Any]:
        """Return the column and what becomes of rows without a partner."""
        return {"on": self.on, "missing": self.missing}

    def _side(self, name: str) -> Source:
        if not self.inputs:
            return self.input  # says how to bind them
        if set(self.inputs) != {"left", "right"}:
            raise WiringError(
                f"{self!r} has two inputs, 'left' and 'right'; it was given {list(self.inputs)}."
            )
        return self.inputs[name]

    def _keys(self, message: Message, side: str) -> pd.Series:
        if self.on not in message:
            raise ColumnNotFound(f"The {side} input of {self!r} has no column {self.on!r}.")
        return pd.Series(np.asarray(message[self.on]))

    def _right_index(self) -> tuple[pd.Index, Rows]:
        """Return the right keys sorted, and the row of each."""
        if self._index is None or self._places is None:
            blocks = [self._keys(block, "right") for block in self._side("right").blocks()]
            keys = pd.concat(blocks, ignore_index=True) if blocks else pd.Series([], dtype=object)
            self._places = np.asarray(keys.argsort(kind="stable"), np.int64)
            self._index = pd.Index(keys.iloc[self._places])
        return self._index, self._places

    def _matched(self, message: Message, first: int) -> tuple[Rows, Rows]:
        """Return pairs of left places (from 0) and right rows, for a block of the left input."""
        index, places = self._right_index()
        keys = self._keys(message, "left")
        low, high = index.searchsorted(keys, "left"), index.searchsorted(keys, "right")
        counts = np.asarray(high - low, np.int64)
        alone = np.flatnonzero(counts == 0)
        if len(alone) and self.missing == "error":
            shown = ", ".join(repr(keys[n]) for n in alone[:5])
            raise WrongValue(
                f"{len(alone)} rows of the left input of {self!r} from row {first} on have no "
                f"partner, with {self.on} {shown}{', …' if len(alone) > 5 else ''}. "
                "missing='drop' leaves such rows away."
            )
        left = np.repeat(np.arange(len(counts)), counts)
        within = np.arange(len(left)) - np.repeat(np.cumsum(counts) - counts, counts)
        return left, places[np.repeat(np.asarray(low, np.int64), counts) + within]

    def _all_pairs(self) -> tuple[Rows, Rows]:
        with self._lock:
            if self._pairs is None:
                first = 0
                parts: list[tuple[Rows, Rows]] = [(np.empty(0, np.int64), np.empty(0, np.int64))]
                for block in self._side("left").blocks():
                    left, right = self._matched(block, first)
                    parts.append((left + first, right))
                    first += len(block)
                left, right = (np.concatenate(side) for side in zip(*parts, strict=True))
                self._pairs = left, right
            return self._pairs
