"""Vectors as tensors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from fireworks.errors import WrongType
from fireworks.message import Message
from fireworks.source import OnError, Source


class TensorSource(Source):
    """Columns as tensors, of one dtype where it is given.

    Args:
        columns: The columns to convert, one name or several; all by default.
        dtype: The dtype of the tensors; by default that of the values. It applies to columns that
            are tensors already, too.
        on_error: ``"raise"``, ``"skip"`` to leave out rows that cannot be changed (see
            ``skipped``; the source then streams), or ``Retry(n)``.
        inputs: The source of the rows.
        name: Tells this source from others of its class.

    Raises:
        WrongType: ``dtype`` is no dtype of torch, or (when read) a column cannot be a tensor; its
            first offending row is named.
        ColumnNotFound: (when read) there is no such column.
    """

    def __init__(
        self,
        columns: str | Sequence[str] | None = None,
        *,
        dtype: torch.dtype | None = None,
        on_error: OnError = "raise",
        inputs: Source | Mapping[str, Source] | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(inputs=inputs, name=name, on_error=on_error)
        if dtype is not None and not isinstance(dtype, torch.dtype):
            raise WrongType(f"dtype is a dtype of torch, for example torch.float32, not {dtype!r}.")
        self.converted = [columns] if isinstance(columns, str) else columns and list(columns)
        self.dtype = dtype

    def transform(self, message: Message) -> Message:
        """Return the rows with the columns as tensors."""
        tensors = message.tensors(self.converted)
        if self.dtype is not None:
            for column in tensors.columns:
                tensors[column] = tensors[column].to(self.dtype)
        changed = message.copy(deep=False)
        for column in tensors.columns:
            changed[column] = tensors[column]
        return changed

    def describe(self) -> dict[str, Any]:
        """Return the columns and the dtype."""
        return {"columns": self.converted, "dtype": str(self.dtype)}
