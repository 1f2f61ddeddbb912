"""Rows of a DataFrame or an Arrow table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from fireworks.errors import DuplicateColumn, WrongType
from fireworks.message import Message
from fireworks.source import Rows, Source


class FrameSource(Source):
    """The rows of a table that is in memory, indexed: pandas, polars, pyarrow, DuckDB and others.

    The columns share the table's memory where its format allows it. Later changes to a pandas
    DataFrame are not seen.

    Args:
        frame: A pandas DataFrame or Series, or anything with ``__arrow_c_stream__``.
        columns: The columns to take, in this order; all by default.
        index: The name of a new column for the index of a pandas DataFrame, which is left away
            otherwise.
        name: Tells this source from others of its class.

    Raises:
        WrongType: It is no table, or has no index.
        ColumnNotFound: There is no such column; the nearest name is offered.
        DuplicateColumn: Two columns have one name.
    """

    def __init__(
        self,
        frame: Any,
        *,
        columns: Sequence[str] | None = None,
        index: str | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(name=name)
        if _is_pandas(frame):
            # While this is held, pandas copies what it writes to in the user's frame.
            self._held = frame = frame.copy(deep=False)
        message = self._table(frame)
        if columns is not None:
            message = message[list(columns)] if columns else Message()
        if index is not None:
            if not _is_pandas(frame):
                raise WrongType(f"{type(frame).__name__} has no index; leave index={index!r} away.")
            if index in message:
                raise DuplicateColumn(f"There is a column {index!r} already; name it otherwise.")
            message = message.assign(**{index: frame.index})
        self.message = message

    @property
    def num_rows(self) -> int:
        """Rows of the table."""
        return len(self.message)

    def read(self, rows: Rows) -> Message:
        """Return the rows asked for, as a copy."""
        return self.message.take(rows)

    def describe(self) -> dict[str, Any]:
        """Return the columns and the number of rows."""
        return {"columns": self.message.columns, "num_rows": len(self.message)}

    def __getstate__(self) -> dict[str, Any]:
        return {key: each for key, each in super().__getstate__().items() if key != "_held"}

    def _table(self, frame: Any) -> Message:
        if _is_pandas(frame):
            return Message(frame if frame.ndim == 2 else frame.to_frame())
        if isinstance(frame, pa.Table | pa.RecordBatch):
            return Message(frame)
        if hasattr(frame, "__arrow_c_stream__"):
            return Message(pa.table(frame))
        raise WrongType(
            f"{self!r} takes a DataFrame or another table that Arrow can read, not "
            f"{type(frame).__name__}. A dict of columns goes into MessageSource, records that come "
            "one by one into IterableSource."
        )


def _is_pandas(frame: object) -> bool:
    import pandas as pd

    return isinstance(frame, pd.DataFrame | pd.Series)
