"""What users of pandas reach for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Self

from fireworks.message import frames
from fireworks.message.grouping import GroupBy
from fireworks.message.table import Table


class DataFrameHabits(Table):
    """Methods of a DataFrame that give Messages back.

    Most of them look at the columns of single values: vectors and tensors of one dimension.
    """

    __slots__ = ()

    def head(self, n: int = 5) -> Self:
        """The first rows, as a view."""
        return self[:n]

    def tail(self, n: int = 5) -> Self:
        """The last rows, as a view."""
        return self[max(0, len(self) - n) :] if n >= 0 else self[-n:]

    def describe(self) -> Self:
        """Count, mean, quartiles, … of the columns of single values, as pandas has them."""
        return self.from_columns(frames.describe(self.stored))

    def query(self, expression: str, **names: Any) -> Self:
        """The rows for which an expression is true: ``m.query("label == 1 and x > @low", low=2)``.

        Args:
            expression: In pandas' language, over the columns of single values.
            **names: What ``@name`` stands for in it.

        Raises:
            WrongValue: The expression is wrong.
        """
        rows = frames.queried_rows(self.stored, expression, names)
        return self.take(rows)

    def groupby(self, by: str | Iterable[str]) -> GroupBy[Self]:
        """Rows in groups of equal keys: ``m.groupby("label").agg({"x": "mean"})``."""
        return GroupBy(self, list(self._chosen(by)))

    def value_counts(self, columns: str | Iterable[str] | None = None) -> Self:
        """Each distinct row of some columns with its ``count``, the most frequent first."""
        chosen = self.stored if columns is None else self._chosen(columns)
        rows, counts = frames.value_counts(chosen)
        return self.take(rows, list(chosen)).assign(count=counts)

    def isna(self) -> Self:
        """Where values are missing (NaN, None, NaT), as booleans; tensors element by element."""
        return self.from_columns(frames.is_missing(self.stored), len(self))

    def fillna(self, value: Any) -> Self:
        """Put a value, or values by column, in place of those missing."""
        if isinstance(value, Mapping):
            self._chosen(value)
        return self.from_columns(frames.filled(self.stored, value), len(self))

    def dropna(self, columns: str | Iterable[str] | None = None) -> Self:
        """The rows in which none of the columns has a missing value."""
        chosen = self.stored if columns is None else self._chosen(columns)
        return self.take(frames.complete_rows(chosen, len(self)))

    def drop_duplicates(self, columns: str | Iterable[str] | None = None) -> Self:
        """The first of each set of rows that agree in the columns."""
        chosen = self.stored if columns is None else self._chosen(columns)
        return self.take(frames.first_of_each(chosen))

    def assign(self, **columns: Any) -> Self:
        """This Message with columns added or replaced: arrays, scalars, or functions of it."""
        made = {name: each(self) if callable(each) else each for name, each in columns.items()}
        return self._replaced(made)
