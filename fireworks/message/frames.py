"""Columns as DataFrames, and what pandas computes of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from fireworks.errors import WrongType, WrongValue
from fireworks.message.column import Column
from fireworks.message.conversion import from_pandas
from fireworks.message.kinds.number import NumberColumn
from fireworks.message.kinds.string import StringColumn
from fireworks.message.kinds.tensor import TensorColumn
from fireworks.message.rows import Rows
from fireworks.message.vectors import as_vector

if TYPE_CHECKING:
    import pandas as pd

Columns = dict[str, Column]


def frame_of(columns: Mapping[str, Column]) -> pd.DataFrame:
    """The columns that have one value per row, as a DataFrame."""
    import pandas as pd

    flat = {
        name: as_vector(column).present(name)
        for name, column in columns.items()
        if not isinstance(column, TensorColumn) or column.array.ndim == 1
    }
    length = len(next(iter(columns.values()))) if columns else 0
    return pd.DataFrame(flat, index=pd.RangeIndex(length))


def dataframe(columns: Mapping[str, Column]) -> pd.DataFrame:
    """All columns as a DataFrame; tensors of several dimensions become cells of arrays."""
    import pandas as pd

    vectors = {name: as_vector(column) for name, column in columns.items()}
    length = len(next(iter(columns.values()))) if columns else 0
    return pd.DataFrame(
        {name: column.present(name) for name, column in vectors.items()},
        index=pd.RangeIndex(length),
        columns=pd.Index(list(vectors), dtype="str"),
    )


def columns_of(frame: pd.DataFrame) -> Columns:
    """The columns of a DataFrame that pandas made."""
    return {str(name): from_pandas(series) for name, series in frame.items()}


def describe(columns: Mapping[str, Column]) -> Columns:
    """Count, mean, quartiles, … of the columns; the first column, ``statistic``, names them."""
    frame = frame_of(columns)
    if not len(frame.columns):
        raise WrongValue("There is no column of single values to describe.")
    table = frame.describe()
    table.insert(0, "statistic", table.index.astype("str"))
    return columns_of(table)


def queried_rows(columns: Mapping[str, Column], expression: str, names: dict[str, Any]) -> Rows:
    """The rows for which an expression in pandas' language is true.

    Raises:
        WrongValue: The expression is wrong.
    """
    frame = frame_of(columns)
    try:
        mask = frame.eval(expression, local_dict=names)
    except Exception as error:  # whatever the parser meets in a wrong expression
        raise WrongValue(f"The query {expression!r} cannot be answered: {error}") from error
    mask = np.asarray(mask)
    if mask.dtype != bool or mask.shape != (len(frame),):
        raise WrongValue(f"The query {expression!r} is no condition: it gives {mask.dtype}.")
    return Rows(mask.nonzero()[0])


def is_missing(columns: Mapping[str, Column]) -> Columns:
    """Where values are missing: NaN, None or NaT; of a tensor, element by element."""
    missing: Columns = {}
    for name, column in columns.items():
        if isinstance(column, TensorColumn):
            missing[name] = TensorColumn(torch.isnan(column.array.detach()))
        else:
            missing[name] = NumberColumn(np.asarray(column.present(name).isna(), bool))
    return missing


def complete_rows(columns: Mapping[str, Column], length: int) -> Rows:
    """The rows without a missing value."""
    complete = np.ones(length, bool)
    for column in is_missing(columns).values():
        missing = column.array
        if isinstance(missing, torch.Tensor):
            missing = missing.reshape(length, -1).any(1).cpu().numpy()
        complete &= ~missing
    return Rows(complete.nonzero()[0])


def filled(columns: Mapping[str, Column], value: Any) -> Columns:
    """The columns with another value in place of those missing.

    Args:
        columns: The columns.
        value: One value, or a dict of values by column. One value is given to the columns that can
            hold it.

    Raises:
        WrongType: A column named in a dict cannot hold its value.
    """
    result = dict(columns)
    chosen: dict[str, Any] = (
        dict(value) if isinstance(value, Mapping) else dict.fromkeys(columns, value)
    )
    for name, each in chosen.items():
        try:
            result[name] = _filled(name, columns[name], each)
        except (TypeError, ValueError) as error:
            if isinstance(value, Mapping):
                raise WrongType(
                    f"Column {name!r} cannot be filled with {each!r}: {error}"
                ) from error
    return result


def _filled(name: str, column: Column, value: Any) -> Column:
    if isinstance(column, TensorColumn):
        tensor = column.array
        if not (tensor.is_floating_point() or tensor.is_complex()):
            return column
        return TensorColumn(tensor.where(~torch.isnan(tensor), value))
    series = column.present(name)
    if not series.isna().any():
        return column
    if isinstance(column, StringColumn) and not isinstance(value, str):
        raise TypeError("it holds strings")
    new = from_pandas(series.fillna(value))
    if type(new) is not type(column):
        raise TypeError(f"it holds {column.field.dtype}")
    return new


def group_codes(columns: Mapping[str, Column]) -> np.ndarray[Any, np.dtype[np.int64]]:
    """A number for each row, equal where the rows are equal, in the order of first occurrence."""
    import pandas as pd

    codes: np.ndarray[Any, Any] = np.zeros(0, np.int64)
    for position, column in enumerate(columns.values()):
        own = _codes(column)
        if position:
            own, _ = pd.factorize(codes * (int(own.max(initial=0)) + 1) + own)
        codes = own
    return codes.astype(np.int64, copy=False)


def _codes(column: Column) -> np.ndarray[Any, Any]:
    import pandas as pd

    if isinstance(column, TensorColumn) and column.array.ndim > 1:
        tensor = column.array.detach().cpu().contiguous()
        flat = tensor.reshape(len(tensor), -1).view(torch.uint8).numpy()
        rows: Any = pd.Series([row.tobytes() for row in flat], dtype=object)
    else:
        rows = as_vector(column).present("")
    try:
        return pd.factorize(rows, use_na_sentinel=False)[0]
    except TypeError:  # cells that cannot be hashed: lists, arrays, dicts
        return pd.factorize(rows.map(repr))[0]


def value_counts(columns: Mapping[str, Column]) -> tuple[Rows, np.ndarray[Any, Any]]:
    """For each distinct row its first occurrence and its count, the most frequent first."""
    codes = group_codes(columns)
    _, first, counts = np.unique(codes, return_index=True, return_counts=True)
    order = np.argsort(-counts, kind="stable")
    return Rows(first[order]), counts[order]


def first_of_each(columns: Mapping[str, Column]) -> Rows:
    """The first of each set of equal rows, in their order."""
    _, first = np.unique(group_codes(columns), return_index=True)
    return Rows(np.sort(first))


def as_matrix(columns: Mapping[str, Column]) -> np.ndarray[Any, Any]:
    """All values as one numpy array with a row for each row, as ``DataFrame.to_numpy`` has it.

    A tensor of several dimensions takes as many columns as its rows have elements.
    """
    frame = frame_of(columns)
    if len(frame.columns) == len(columns):
        return frame.to_numpy()
    parts: list[np.ndarray[Any, Any]] = []
    for name, column in columns.items():
        if isinstance(column, TensorColumn):
            flat = TensorColumn(column.array.reshape(-1))
            parts.append(as_vector(flat).array.reshape(len(column), -1))
        else:
            parts.append(frame[[name]].to_numpy())
    return np.concatenate(parts, axis=1)
