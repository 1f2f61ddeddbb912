"""Rows named after where they come from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from fireworks.errors import DuplicateColumn, WiringError
from fireworks.message import Message, concat
from fireworks.message.kinds.string import StringColumn
from fireworks.source import Rows, Run, Source
from fireworks.source.rings import Flow, Position
from fireworks.source.wiring import SINGLE


class LabelSource(Source):
    """Rows with a column that says which input they come from.

    Of several inputs the rows follow each other, input by input::

        animals = LabelSource(inputs={"cat": cats, "dog": dogs})       # column "label": cat, dog

    The label is the key of the input in the dict or, of a single source, its ``name``. Indexed
    where all inputs are.

    Args:
        column: The name of the new column, of strings.
        inputs: The sources to label, by label; or one source with a name.
        name: Tells this source from others of its class.

    Raises:
        WiringError: (when read) the only input has neither a key nor a name.
        DuplicateColumn: (when read) an input has such a column already.
    """

    epoch_aware = True
    needs_inputs = True

    def __init__(
        self,
        column: str = "label",
        *,
        inputs: Source | Mapping[str, Source] | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(inputs=inputs, name=name)
        self.column = column

    @property
    def num_rows(self) -> int:
        """Rows of all inputs together."""
        return int(self._starts()[-1])

    def read(self, rows: Rows) -> Message:
        """Return the rows asked for, each with its label."""
        starts = self._starts()
        if not len(rows):
            return self._labelled(next(iter(self.inputs.values())).read(rows), rows)
        which = np.searchsorted(starts, rows % starts[-1], side="right") - 1
        above = self.rows_above(rows)
        parts = [self.inputs[name].read(asked) for name, asked in above.items() if len(asked)]
        found = parts[0] if len(parts) == 1 else concat(parts)
        if len(parts) > 1:
            # The parts stand in the order of the inputs: back into the order that was asked for.
            places = np.empty(len(rows), np.int64)
            places[which.argsort(kind="stable")] = np.arange(len(rows))
            found = found.take(places)
        return self._labelled(found, which)

    def rows_above(self, rows: Rows) -> Mapping[str, Rows]:
        """Return which rows of each input these are."""
        starts = self._starts()
        epochs, places = np.divmod(rows, max(1, starts[-1]))
        which = np.searchsorted(starts, places, side="right") - 1
        return {
            name: (epochs * (starts[i + 1] - starts[i]) + places - starts[i])[which == i]
            for i, name in enumerate(self.inputs)
        }

    def flow(self, run: Run, start: Position) -> Flow:
        """Yield the chunks of each input in turn; the position says which one."""
        first, above = (0, None) if start is None else (start["input"], start["above"])
        for i, source in enumerate(list(self.inputs.values())[first:], first):
            for message, position in run.open(source, above, reader=self):
                labelled = self._labelled(message, np.full(len(message), i))
                yield labelled, {"input": i, "above": position}
            above = None

    def describe(self) -> dict[str, Any]:
        """Return the name of the column."""
        return {"column": self.column}

    def _starts(self) -> Rows:
        """Return where the rows of each input start, and where the last ends; shape (k + 1,)."""
        if not self.inputs:
            _ = self.input  # says that there is none
        return np.cumsum([0, *(each.num_rows for each in self.inputs.values())])

    def _labelled(self, message: Message, which: Rows) -> Message:
        if self.column in message:
            raise DuplicateColumn(
                f"{self!r} adds a column {self.column!r}, which is there already; name another: "
                "LabelSource(column)."
            )
        changed = message.copy(deep=False)
        changed[self.column] = StringColumn(pa.array(self._names(), pa.large_string()), which)
        return changed

    def _names(self) -> list[str]:
        names = list(self.inputs)
        if names != [SINGLE]:
            return names
        if self.input.name is None:
            raise WiringError(
                f"{self!r} does not know what to call the rows of {self.input!r}. Give that a "
                "name=, or give a dict: LabelSource(inputs={'cat': source})."
            )
        return [self.input.name]
