"""Rows in groups of equal keys, and what is computed of each group."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Generic, TypeVar

import numpy as np
import torch

from fireworks.errors import WrongType, WrongValue
from fireworks.message.column import Column
from fireworks.message.conversion import from_pandas
from fireworks.message.frames import dataframe
from fireworks.message.kinds.number import NumberColumn
from fireworks.message.kinds.tensor import TensorColumn
from fireworks.message.table import Table
from fireworks.message.vectors import as_vector

Columns = dict[str, Column]


T = TypeVar("T", bound=Table)


class GroupBy(Generic[T]):
    """Rows in groups of equal keys, from `Message.groupby`; groups are sorted by their keys."""

    def __init__(self, message: T, by: list[str]) -> None:
        self._message = message
        self._by = by
        keys = dataframe({name: message.stored[name] for name in by})
        try:
            groups = keys.groupby(by, sort=True, observed=True, dropna=False).ngroup()
        except TypeError as error:  # cells that cannot be hashed
            raise WrongType(f"Rows cannot be grouped by {by}: {error}.") from error
        self._groups = groups.to_numpy(np.int64)  # by row, the number of its group
        self._first = np.unique(self._groups, return_index=True)[1]  # by group, its first row

    def __iter__(self) -> Iterator[tuple[Any, T]]:
        """Pairs of a key (a tuple where there are several) and the Message of its rows."""
        order = self._groups.argsort(kind="stable")
        ends = np.cumsum(np.bincount(self._groups))[:-1]
        keys: Any = dataframe(self._key_columns()).itertuples(index=False, name=None)
        for key, rows in zip(keys, np.split(order, ends), strict=True):
            yield key if len(key) > 1 else key[0], self._message.take(rows)

    def __len__(self) -> int:
        return len(self._first)

    def agg(self, function: Any = None, /, **named: tuple[str, str]) -> T:
        """One row for each group: the keys, then an aggregate of each column.

        Args:
            function: The name of an aggregate (``"mean"``, ``"sum"``, ``"min"``, ``"max"``,
                ``"first"``, ``"last"``, ``"count"``, or any that pandas knows), for all columns; or
                a dict of names by column.
            **named: New columns, each a pair of a column and an aggregate.

        Raises:
            ColumnNotFound: There is no such column.
            WrongType: A column has no such aggregate.
        """
        if isinstance(function, Mapping):
            wanted = {name: (name, each) for name, each in function.items()}
        elif function is not None:
            others = [name for name in self._message.stored if name not in self._by]
            wanted = {name: (name, function) for name in others}
        else:
            wanted = {}
        wanted.update(named)
        if not wanted:
            raise WrongValue('Nothing to aggregate. Give a name: agg("mean"), agg(x="sum").')
        columns = self._key_columns()
        for name, (source, aggregate) in wanted.items():
            columns[name] = self._aggregate(source, aggregate)
        return type(self._message).from_columns(columns)

    def size(self) -> T:
        """The keys, and in a column ``count`` how many rows each has."""
        columns = self._key_columns()
        columns["count"] = NumberColumn(np.bincount(self._groups))
        return type(self._message).from_columns(columns)

    def mean(self) -> T:
        """The mean of each column in each group."""
        return self.agg("mean")

    def sum(self) -> T:
        """The sum of each column in each group."""
        return self.agg("sum")

    def first(self) -> T:
        """The first value of each column in each group."""
        return self.agg("first")

    def _key_columns(self) -> Columns:
        return dict(self._message.take(self._first, self._by).stored)

    def _aggregate(self, name: str, aggregate: Any) -> Column:
        column = self._message[[name]].stored[name]
        try:
            if isinstance(column, TensorColumn) and column.array.ndim > 1:
                return TensorColumn(_reduce(column.array, self._groups, len(self), aggregate))
            series = as_vector(column).present(name)
            grouped = series.groupby(self._groups, sort=True)
            return from_pandas(grouped.agg(aggregate))
        except (TypeError, ValueError, AttributeError) as error:
            raise WrongType(f"Column {name!r} has no aggregate {aggregate!r}: {error}") from error


def _reduce(
    tensor: torch.Tensor, groups: np.ndarray[Any, Any], count: int, aggregate: str
) -> torch.Tensor:
    """Aggregate rows of a tensor by group; gradients pass through."""
    index = torch.from_numpy(np.array(groups)).to(tensor.device)
    shape = (count, *tensor.shape[1:])
    if aggregate in ("sum", "mean"):
        sums = tensor.new_zeros(shape).index_add(0, index, tensor)
        if aggregate == "sum":
            return sums
        rows = torch.bincount(index, minlength=count)
        return sums / rows.reshape(-1, *[1] * (tensor.ndim - 1))
    if aggregate in ("min", "max"):
        places = index.reshape(-1, *[1] * (tensor.ndim - 1)).expand_as(tensor)
        return tensor.new_zeros(shape).scatter_reduce(
            0, places, tensor, f"a{aggregate}", include_self=False
        )
    if aggregate in ("first", "last"):
        step = 1 if aggregate == "first" else -1
        _, rows = np.unique(groups[::step], return_index=True)
        rows = rows if step == 1 else len(groups) - 1 - rows
        return tensor.index_select(0, torch.from_numpy(rows).to(tensor.device))
    raise ValueError("tensors of several dimensions have sum, mean, min, max, first and last")
