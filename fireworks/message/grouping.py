"""Rows in groups of equal keys, and what is computed of each group."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from fireworks.errors import WrongType, WrongValue
from fireworks.message.column import Column
from fireworks.message.conversion import from_pandas
from fireworks.message.kinds.number import NumberColumn
from fireworks.message.kinds.tensor import TensorColumn
from fireworks.message.vectors import as_vector

if TYPE_CHECKING:
    from fireworks.message.message import Message

Columns = dict[str, Column]


class GroupBy:
    """Rows in groups of equal keys, from `Message.groupby`; groups are sorted by their keys."""

    def __init__(self, message: Message, by: list[str]) -> None:
        self._message = message
        self._by = by
        self._keys = message[by].dataframe()
        self._grouper = self._keys.groupby(by, sort=True, observed=True, dropna=False)

    def __iter__(self) -> Iterator[tuple[Any, Message]]:
        """Pairs of a key (a tuple where there are several) and the Message of its rows."""
        for key, rows in self._grouper.indices.items():
            yield key, self._message.take(np.asarray(rows, np.int64))

    def __len__(self) -> int:
        return self._grouper.ngroups

    def agg(self, function: Any = None, /, **named: tuple[str, str]) -> Message:
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
            others = [name for name in self._message.columns if name not in self._by]
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

    def size(self) -> Message:
        """The keys, and in a column ``count`` how many rows each has."""
        columns = self._key_columns()
        columns["count"] = NumberColumn(self._grouper.size().to_numpy())
        return type(self._message).from_columns(columns)

    def mean(self) -> Message:
        """The mean of each column in each group."""
        return self.agg("mean")

    def sum(self) -> Message:
        """The sum of each column in each group."""
        return self.agg("sum")

    def first(self) -> Message:
        """The first value of each column in each group."""
        return self.agg("first")

    def _key_columns(self) -> Columns:
        first = self._grouper.head(1).index.to_numpy()
        numbers = self._grouper.ngroup().to_numpy()[first]
        return dict(self._message[self._by].take(first[np.argsort(numbers)]).stored)

    def _aggregate(self, name: str, aggregate: Any) -> Column:
        column = self._message[[name]].stored[name]
        try:
            if isinstance(column, TensorColumn) and column.array.ndim > 1:
                return TensorColumn(_reduce(column.array, self._groups(), len(self), aggregate))
            series = as_vector(column).present(name)
            grouped = series.groupby(self._groups(), sort=True)
            return from_pandas(grouped.agg(aggregate))
        except (TypeError, ValueError, AttributeError) as error:
            raise WrongType(f"Column {name!r} has no aggregate {aggregate!r}: {error}") from error

    def _groups(self) -> np.ndarray[Any, np.dtype[np.int64]]:
        return self._grouper.ngroup().to_numpy()


_REDUCTIONS = {"mean": "mean", "min": "amin", "max": "amax", "prod": "prod"}


def _reduce(
    tensor: torch.Tensor, groups: np.ndarray[Any, Any], count: int, aggregate: str
) -> torch.Tensor:
    """Aggregate rows of a tensor by group; gradients pass through."""
    index = torch.from_numpy(np.array(groups)).to(tensor.device)
    result = tensor.new_zeros((count, *tensor.shape[1:]))
    if aggregate == "sum":
        return result.index_add(0, index, tensor)
    if aggregate in _REDUCTIONS:
        return result.index_reduce(0, index, tensor, _REDUCTIONS[aggregate], include_self=False)
    if aggregate in ("first", "last"):
        step = 1 if aggregate == "first" else -1
        _, rows = np.unique(groups[::step], return_index=True)
        rows = rows if step == 1 else len(groups) - 1 - rows
        return tensor.index_select(0, torch.from_numpy(rows).to(tensor.device))
    raise ValueError(f"tensors of several dimensions have {', '.join(['sum', *_REDUCTIONS])}")
