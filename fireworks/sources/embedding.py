"""Ids as vectors of a table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike

from fireworks.errors import RowOutOfRange, WrongType, WrongValue
from fireworks.message import Message
from fireworks.source import OnError, Source


class EmbeddingSource(Source):
    """Ids in a column as the vectors that a given table has for them: pretrained embeddings.

    Ids of shape (n,) become vectors of shape (n, d), ids of shape (n, width), as PadSource makes
    them, vectors of shape (n, width, d). The table is looked up, not trained: for a table that
    learns, put ``torch.nn.Embedding`` into the model.

    Args:
        table: The vectors, shape (k, d): a tensor or array, on the device of the ids.
        column: The column with ids from 0 to k - 1, a vector or tensor of integers.
        output: The name of the column for the vectors; by default they take the place of the ids.
        on_error: ``"raise"``, ``"skip"`` to leave out rows that cannot be changed (see
            ``skipped``; the source then streams), or ``Retry(n)``.
        inputs: The source of the rows.
        name: Tells this source from others of its class.

    Raises:
        WrongValue: The table has not two dimensions.
        WrongType: The table holds no numbers, or (when read) the column no integers of one shape.
        RowOutOfRange: (when read) the table has no such id; the first such row is named.
    """

    def __init__(
        self,
        table: torch.Tensor | ArrayLike,
        column: str,
        *,
        output: str | None = None,
        on_error: OnError = "raise",
        inputs: Source | Mapping[str, Source] | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(inputs=inputs, name=name, on_error=on_error)
        try:
            vectors = table if isinstance(table, torch.Tensor) else torch.tensor(np.asarray(table))
        except TypeError as error:
            raise WrongType(f"The table of {self!r} holds no numbers: {error}") from None
        if vectors.ndim != 2:
            raise WrongValue(
                f"The table of {self!r} has shape {tuple(vectors.shape)}; it should have one "
                "vector a row: (k, d)."
            )
        self.table = vectors.detach()
        self.column = column
        self.output = column if output is None else output

    def transform(self, message: Message) -> Message:
        """Return the rows with their vectors."""
        changed = message.copy(deep=False)
        changed[self.output] = self.vectors(message.tensors(self.column)[self.column])
        return changed

    def vectors(self, ids: torch.Tensor) -> torch.Tensor:
        """Return the vectors of ids of any shape, with one more dimension of size d.

        Raises:
            WrongType: The ids are no integers, or on another device than the table.
            RowOutOfRange: The table has no such id.
        """
        if ids.is_floating_point() or ids.is_complex() or ids.dtype == torch.bool:
            raise WrongType(f"{self!r} looks ids up, integers; {self.column!r} has {ids.dtype}.")
        if ids.device != self.table.device:
            raise WrongType(
                f"The ids are on {ids.device} and the table of {self!r} on {self.table.device}; "
                "move one of them, with DeviceSource or table.to(device)."
            )
        ids = ids.long()
        if ids.numel() and (ids.min() < 0 or ids.max() >= len(self.table)):
            place = ((ids < 0) | (ids >= len(self.table))).nonzero()[0]
            raise RowOutOfRange(
                f"Row {int(place[0])} of {self.column!r} has the id {int(ids[tuple(place)])}; the "
                f"table of {self!r} has ids 0 to {len(self.table) - 1}."
            )
        return self.table[ids]

    def describe(self) -> dict[str, Any]:
        """Return the columns and the table's shape."""
        return {
            "column": self.column,
            "output": self.output,
            "table": [*self.table.shape, str(self.table.dtype)],
        }
