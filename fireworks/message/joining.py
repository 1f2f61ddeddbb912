"""Joining two tables by the values of key columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from fireworks.errors import DuplicateColumn, WrongType, WrongValue
from fireworks.message.column import Column
from fireworks.message.conversion import from_pandas
from fireworks.message.kinds.tensor import TensorColumn
from fireworks.message.rows import Rows
from fireworks.message.vectors import as_vector

Columns = dict[str, Column]


def join_columns(
    left: Mapping[str, Column], right: Mapping[str, Column], on: Sequence[str], how: str
) -> Columns:
    """The columns of both tables for each pair of rows with equal keys.

    Raises:
        DuplicateColumn: A column that is no key is in both tables.
        WrongType: Keys of different kinds, or tensors that would have missing rows.
        WrongValue: ``how`` is neither ``"inner"`` nor ``"left"``.
    """
    import pandas as pd

    if how not in ("inner", "left"):
        raise WrongValue(f'A join is "inner" or "left", not {how!r}.')
    for name in right:
        if name in left and name not in on:
            raise DuplicateColumn(
                f"Column {name!r} is in both Messages and no key. Rename or drop one of them, or "
                f"add it to `on`."
            )
    # The names of keys must not meet those of the row numbers.
    keys = {f"key {place}": name for place, name in enumerate(on)}
    frames = [
        pd.DataFrame({key: as_vector(table[name]).present(key) for key, name in keys.items()})
        for table in (left, right)
    ]
    for side, frame in zip(("left", "right"), frames, strict=True):
        frame[side] = np.arange(len(frame))
    try:
        pairs = frames[0].merge(frames[1], on=list(keys), how=how)  # type: ignore[arg-type]
    except (TypeError, ValueError) as error:
        raise WrongType(f"The keys {list(on)} cannot be compared: {error}") from error
    rows = Rows(pairs["left"].to_numpy(np.int64))
    joined = {name: column.take(rows) for name, column in left.items()}
    matched = pairs["right"].fillna(-1).to_numpy(np.int64)
    for name, column in right.items():
        if name not in on:
            joined[name] = _take_or_missing(name, column, matched)
    return joined


def _take_or_missing(name: str, column: Column, rows: np.ndarray) -> Column:
    if not len(rows) or rows.min() >= 0:
        return column.take(Rows(rows))
    if isinstance(column, TensorColumn):
        raise WrongType(
            f"Column {name!r} is a tensor, and {int((rows < 0).sum())} rows have no match: a "
            f'tensor has no missing values. Use how="inner", or to_vectors first.'
        )
    return from_pandas(column.present(name).reindex(rows))
