"""Rows of several lengths as tensors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from fireworks.errors import DuplicateColumn, WrongType, WrongValue
from fireworks.message import Message
from fireworks.message.kinds.object import ObjectColumn
from fireworks.message.kinds.ragged import RaggedColumn, ragged
from fireworks.message.kinds.tensor import TensorColumn
from fireworks.source import OnError, Source


class PadSource(Source):
    """Ragged columns as tensors of shape (n, width), filled up, beside the lengths.

    For each column ``c`` a column ``c_length`` (int64, shape (n,)) says how many of a row's values
    are its own; rows that were cut have the width.

    With ``max_length`` every row is exactly that wide, wherever it is read. Without it (or with
    ``fixed=False``) the rows of one Message are as wide as the longest among them: less to compute
    when it stands behind the batches, but the width then depends on which rows are read together,
    and rows that were read apart may not fit into one tensor.

    Args:
        columns: The columns to pad, one name or several; tensors of shape (n, width) may be among
            them.
        max_length: The width, at least 1; longer rows are cut.
        value: What to fill up with; it must fit the column's dtype.
        side: Where to fill up: ``"right"``, or ``"left"``, for models that go on writing at the
            end. Rows are cut at that side too: the right keeps their first values, the left their
            last.
        fixed: Whether ``max_length`` is the width of every row, and not only the largest.
        on_error: ``"raise"``, ``"skip"`` to leave out rows that cannot be changed (see
            ``skipped``; the source then streams), or ``Retry(n)``.
        inputs: The source of the rows.
        name: Tells this source from others of its class.

    Raises:
        WrongValue: No columns, ``max_length`` below 1, another ``side``; or (when read) a ``value``
            that a column's dtype cannot hold.
        WrongType: (when read) a column holds no lists of numbers; its first offending row is named.
        DuplicateColumn: (when read) there is a column ``c_length`` already.
    """

    def __init__(
        self,
        columns: str | Sequence[str],
        *,
        max_length: int | None = None,
        value: float = 0,
        side: Literal["left", "right"] = "right",
        fixed: bool = True,
        on_error: OnError = "raise",
        inputs: Source | Mapping[str, Source] | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(inputs=inputs, name=name, on_error=on_error)
        self.padded = [columns] if isinstance(columns, str) else list(columns)
        if not self.padded:
            raise WrongValue("PadSource needs the name of at least one column.")
        if max_length is not None and (
            not isinstance(max_length, int | np.integer) or max_length < 1
        ):
            raise WrongValue(f"max_length is an integer of at least 1, not {max_length!r}.")
        if side not in ("left", "right"):
            raise WrongValue(f"side is 'left' or 'right', not {side!r}.")
        self.max_length = None if max_length is None else int(max_length)
        self.value = value
        self.side = side
        self.fixed = fixed

    def transform(self, message: Message) -> Message:
        """Return the rows with tensors in place of the columns, and with their lengths."""
        changed = message.copy(deep=False)
        for column in self.padded:
            padded, lengths = self._padded(self._ragged(message, column), column)
            changed[column] = torch.from_numpy(padded)
            if (beside := f"{column}_length") in changed:
                raise DuplicateColumn(f"{self!r} adds a column {beside!r}, which is there already.")
            changed[beside] = torch.from_numpy(lengths)
        return changed

    def describe(self) -> dict[str, Any]:
        """Return the columns, the width, the value and the side."""
        return {
            "columns": self.padded,
            "max_length": self.max_length,
            "value": self.value,
            "side": self.side,
            "fixed": self.fixed,
        }

    def _padded(self, rows: RaggedColumn, column: str) -> tuple[NDArray[Any], NDArray[np.int64]]:
        values, offsets = rows.values, rows.offsets
        full = np.diff(offsets)
        longest = int(full.max(initial=0))
        width = longest
        if self.max_length is not None:
            width = self.max_length if self.fixed else min(longest, self.max_length)
        lengths = np.minimum(full, width)
        if not _fits(self.value, values.dtype):
            raise WrongValue(
                f"value={self.value!r} does not fit column {column!r} of {values.dtype}; choose "
                "another value, or convert the column first."
            )
        places = np.arange(width)
        left = self.side == "left"
        own = places >= (width - lengths)[:, None] if left else places < lengths[:, None]
        if longest > width:
            starts = offsets[1:] - lengths if left else offsets[:-1]
            first = np.cumsum(lengths) - lengths  # where each row begins in what is kept
            kept = np.arange(int(lengths.sum())) + np.repeat(starts - first, lengths)
            values = values[kept]
        padded = np.full((len(full), width), self.value, values.dtype)
        padded[own] = values
        return padded, lengths

    def _ragged(self, message: Message, column: str) -> RaggedColumn:
        _ = message.array(column)  # says which columns there are
        stored = message.stored[column]
        if isinstance(stored, RaggedColumn):
            return stored
        if isinstance(stored, TensorColumn) and stored.array.ndim == 2:
            matrix = stored.array.detach().cpu().numpy()
            n, width = matrix.shape
            return RaggedColumn(matrix.reshape(-1), np.arange(n + 1) * width)
        if isinstance(stored, ObjectColumn):
            if (found := ragged(stored.array)) is not None:
                return found
            row = next(i for i, each in enumerate(stored.array) if ragged([each]) is None)
            shown = f"row {row} is {stored.array[row]!r:.60}"
        else:
            shown = f"it holds {stored.field.kind}s of {stored.field.dtype}"
        raise WrongType(
            f"Column {column!r} cannot be padded: {shown}. PadSource takes lists of numbers; texts "
            "become such with TokenizerSource."
        )


def _fits(value: float, dtype: np.dtype[Any]) -> bool:
    if dtype.kind == "f":
        return True
    if value != value or value in (float("inf"), -float("inf")) or value != int(value):
        return False
    limits = (0, 1) if dtype.kind == "b" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
    return limits[0] <= value <= limits[1]
