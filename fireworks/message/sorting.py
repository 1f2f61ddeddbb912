"""The order of rows by the values of columns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from fireworks.errors import WrongLength, WrongType
from fireworks.message.column import Column
from fireworks.message.kinds.extension import ExtensionColumn
from fireworks.message.kinds.number import NumberColumn
from fireworks.message.kinds.string import StringColumn
from fireworks.message.kinds.tensor import TensorColumn
from fireworks.message.rows import Rows

Array = np.ndarray[Any, Any]


def sorted_rows(
    names: Sequence[str], columns: Sequence[Column], ascending: bool | Sequence[bool]
) -> Rows:
    """Row numbers in the order of one or several columns, the first of which counts most.

    The sort is stable; missing values come last, in either direction.

    Raises:
        WrongLength: Not as many directions as columns.
        WrongType: A column whose values have no order.
    """
    directions = [ascending] * len(columns) if isinstance(ascending, bool) else list(ascending)
    if len(directions) != len(columns):
        raise WrongLength(f"{len(directions)} directions were given for {len(columns)} columns.")
    keys = [
        _directed(_key(column, name), up)
        for name, column, up in zip(names, columns, directions, strict=True)
    ]
    if len(keys) == 1:
        return Rows(_stable_argsort(keys[0]))
    return Rows(np.lexsort(keys[::-1]))


def _stable_argsort(key: Array) -> Array:
    """Numpy's fast sort is not stable; that only shows where two keys are equal."""
    if len(key) < 10_000:
        return key.argsort(kind="stable")
    order = key.argsort()
    ordered = key[order]
    ties = (ordered[1:] == ordered[:-1]).any()
    if not ties and key.dtype.kind == "f":
        ties = np.isnan(ordered[-2:]).all()  # more than one NaN: they are not equal, but tied
    return key.argsort(kind="stable") if ties else order


def _key(column: Column, name: str) -> Array:
    """Numbers in the order of the values, NaN where they are missing."""
    if isinstance(column, TensorColumn):
        tensor = column.array.detach().cpu()
        if tensor.ndim != 1 or tensor.is_complex():
            raise WrongType(
                f"Rows cannot be sorted by column {name!r}: it is {column.field.dtype} of shape "
                f"{column.field.shape} per row, which has no order."
            )
        return (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy()
    if isinstance(column, NumberColumn):
        array = column.array
        if array.dtype.kind in "mM":
            return _with_missing(array.view(np.int64), np.isnat(array))
        if array.dtype.kind == "c":
            raise WrongType(f"Rows cannot be sorted by column {name!r}: complex numbers.")
        return array
    if isinstance(column, StringColumn):
        return column.ranks()
    series = column.present(name)
    try:
        if isinstance(column, ExtensionColumn) and column.field.kind == "category":
            codes = column.array.codes
            return _with_missing(codes, codes < 0)
        return np.asarray(series.rank(method="dense"), float)
    except (TypeError, ValueError) as error:
        raise WrongType(f"Rows cannot be sorted by column {name!r}: {error}.") from error


def _with_missing(numbers: Array, missing: Array) -> Array:
    if not missing.any():
        return numbers
    # Ranks, for int64 does not fit into a float exactly.
    _, ranks = np.unique(numbers, return_inverse=True)
    return np.where(missing, np.nan, ranks)


def _directed(key: Array, ascending: bool) -> Array:
    if ascending:
        return key
    # -x would overflow at the smallest integer, and does not exist for unsigned ones.
    return -key if key.dtype.kind == "f" else ~key
