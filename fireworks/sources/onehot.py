"""Labels as vectors with a single 1."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch

from fireworks.errors import WrongType, WrongValue
from fireworks.message import Message
from fireworks.source import OnError, Source
from fireworks.sources.labelling import Given, LabellingSource


class OneHotSource(LabellingSource):
    """Columns of labels or ids as tensors of shape (n, k), 1 at the label's place and 0 elsewhere.

    The places are those of the labels in sorted order, found by one scan over epoch 0 of the input
    when they are first needed, or in the order in which labels are given (``labels=range(10)``).

    Args:
        columns: The columns with labels; one name or several. Each has labels of its own.
        labels: The labels in order; a list, or a dict of lists by column.
        unknown: What becomes of values that are no label or are missing: ``"raise"`` an error, or
            ``"zeros"``: a row of zeros.
        dtype: The dtype of the tensors.
        fitted: Another OneHotSource whose labels are used: for validation and test data.
        on_error: ``"raise"``, ``"skip"`` to leave out rows that cannot be changed (see
            ``skipped``; the source then streams), or ``Retry(n)``.
        inputs: The source of the rows.
        name: Tells this source from others of its class.

    Raises:
        WrongValue: No columns are named, labels occur twice or are for other columns; or (when
            read) a value is no label, or there are no labels at all.
        WrongType: ``fitted`` is no OneHotSource, ``dtype`` no dtype of torch, or (when read) a
            column holds no single values of one type.
    """

    def __init__(
        self,
        columns: str | Sequence[str],
        *,
        labels: Given | None = None,
        unknown: Literal["raise", "zeros"] = "raise",
        dtype: torch.dtype = torch.float32,
        fitted: OneHotSource | None = None,
        on_error: OnError = "raise",
        inputs: Source | Mapping[str, Source] | None = None,
        name: str | None = None,
    ) -> None:
        labels = list(labels) if isinstance(labels, range) else labels
        super().__init__(
            columns, labels=labels, fitted=fitted, on_error=on_error, inputs=inputs, name=name
        )
        if unknown not in ("raise", "zeros"):
            raise WrongValue(f"unknown is 'raise' or 'zeros', not {unknown!r}.")
        if not isinstance(dtype, torch.dtype):
            raise WrongType(f"dtype is a dtype of torch, for example torch.float32, not {dtype!r}.")
        self.unknown = unknown
        self.dtype = dtype

    def transform(self, message: Message) -> Message:
        """Return the rows with the columns as tensors of zeros and ones."""
        changed = message.copy(deep=False)
        for column in self.labelled:
            zeros = self.unknown == "zeros"
            ids = torch.from_numpy(self._ids(message, column, -1 if zeros else None))
            hot = torch.zeros(len(ids), len(self.labels[column]), dtype=self.dtype)
            rows = (ids >= 0).nonzero().squeeze(1)
            hot[rows, ids[rows]] = 1
            changed[column] = hot
        return changed

    def describe(self) -> dict[str, Any]:
        """Return the columns, digests of given labels, what is unknown, and the dtype."""
        return {**super().describe(), "unknown": self.unknown, "dtype": str(self.dtype)}
