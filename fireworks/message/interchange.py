"""Files, and the protocols by which other libraries read a Message."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any, Self

import numpy as np

from fireworks.message import files, frames
from fireworks.message.column import ArrowTable
from fireworks.message.kinds.string import StringColumn
from fireworks.message.kinds.tensor import TensorColumn
from fireworks.message.table import Table


class Interchange(Table):
    """Saving, loading and handing over, exactly."""

    __slots__ = ()

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the Message to an Arrow IPC file, from which `load` gives it back exactly.

        The file takes its name when it is complete: a failed write leaves an earlier file as it
        was. Tensors are loaded to main memory, whatever their device was.

        Raises:
            WrongType: A column holds objects that no open format can hold.
        """
        files.save(self.stored, path)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read a file written by `save`.

        Raises:
            DamagedFile: The file is truncated, of a newer version, or no Message.
        """
        return cls.from_columns(files.load(path))

    def to_arrow(self) -> ArrowTable:
        """A pyarrow Table, which shares memory where it can and from which Message is exact."""
        return files.table_from_columns(self.stored)

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return self.to_arrow().__arrow_c_stream__(requested_schema)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
        matrix = frames.as_matrix(self.stored)
        return matrix if dtype is None else matrix.astype(dtype)

    def __narwhals_dataframe__(self) -> Any:
        # scikit-learn takes any table that narwhals knows. What it selects from this one, by rows
        # or columns, are then DataFrames.
        import narwhals

        return narwhals.from_native(frames.dataframe(self.stored))._compliant_frame  # type: ignore[attr-defined]

    def to_parquet(self, path: str | os.PathLike[str]) -> None:
        """Write a Parquet file, from which `from_parquet` gives the Message back exactly.

        Raises:
            WrongType: A column holds objects that no open format can hold.
        """
        files.to_parquet(self.stored, path)

    @classmethod
    def from_parquet(
        cls, path: str | os.PathLike[str], columns: Iterable[str] | None = None
    ) -> Self:
        """Read a Parquet file, written by `to_parquet` or by anything else.

        Args:
            path: The file.
            columns: Which columns to read; all by default.

        Raises:
            DamagedFile: It is no complete Parquet file.
            ColumnNotFound: It has no such column.
        """
        wanted = None if columns is None else list(columns)
        return cls.from_columns(files.from_parquet(path, wanted))

    def to_csv(self, path: str | os.PathLike[str], **options: Any) -> None:
        """Write a CSV file with a header; ``options`` are those of ``DataFrame.to_csv``.

        Raises:
            WrongType: A column whose cells are no single values.
        """
        files.to_csv(self.stored, path, options)

    @classmethod
    def from_csv(cls, path: str | os.PathLike[str], **options: Any) -> Self:
        """Read a CSV file with a header; ``options`` are those of ``pandas.read_csv``."""
        return cls.from_columns(frames.columns_of(files.from_csv(path, options)))

    def to_dict(self) -> dict[str, Any]:
        """A dict of the tensors and, for vectors, of lists."""
        return {
            name: column.array
            if isinstance(column, TensorColumn)
            else column.array.to_pylist()
            if isinstance(column, StringColumn)
            else column.present(name).tolist()
            for name, column in self.stored.items()
        }
