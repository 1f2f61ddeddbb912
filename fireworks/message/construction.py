"""From the tables that users have to columns by name."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from fireworks.errors import DuplicateColumn, WrongLength, WrongType, WrongValue
from fireworks.message.column import ArrowTable, Column
from fireworks.message.conversion import (
    column_from,
    from_list,
    from_numpy,
    is_scalar,
    stack,
)
from fireworks.message.kinds.object import ObjectColumn
from fireworks.message.kinds.tensor import TensorColumn
from fireworks.message.rows import Rows, resolve
from fireworks.message.table import Table
from fireworks.message.vectors import as_vector

Columns = dict[str, Column]


def columns_from(data: Any, length: int | None = None) -> Columns:
    """The columns of a mapping, table, structured array or list of records.

    Args:
        data: What a Message can be made of.
        length: How many rows scalars are repeated to, where no column says it.
    """
    if data is None:
        return {}
    if type(data) is dict:
        return _from_mapping(data, length)
    if isinstance(data, Table):
        return dict(data.stored)
    if isinstance(data, pa.Table | pa.RecordBatch):
        return _from_arrow(pa.table(data))
    if _is_dataframe(data):
        return _from_dataframe(data)
    if isinstance(data, np.ndarray):
        if data.dtype.names is None:
            raise WrongType(
                f"An array of dtype {data.dtype} has no column names. Give a dict: "
                f'Message({{"x": array}}).'
            )
        return {name: from_numpy(data[name]) for name in data.dtype.names}
    if isinstance(data, torch.Tensor):
        raise WrongType('A tensor has no column name. Give a dict: Message({"x": tensor}).')
    if isinstance(data, Mapping) or _is_tensordict(data):
        names: list[Any] = list(data.keys())  # a TensorDict itself iterates over its rows
        return _from_mapping({name: data[name] for name in names}, length)
    if hasattr(data, "__arrow_c_stream__"):
        return _from_arrow(pa.table(data))
    if isinstance(data, str | bytes) or not isinstance(data, Iterable):
        raise WrongType(
            f"A Message cannot be made of {type(data).__name__}. Give a dict of columns, a "
            f"DataFrame, a pyarrow Table, or a list of records (dicts)."
        )
    return _from_records(list(data))


def shared_length(columns: Mapping[str, Column]) -> int:
    """The length of all columns; 0 where there are none.

    Raises:
        WrongLength: They differ.
    """
    length = -1
    for column in columns.values():
        if length < 0:
            length = len(column)
        elif len(column) != length:
            first = next(iter(columns))
            name = next(key for key, each in columns.items() if len(each) != length)
            raise WrongLength(
                f"Column {name!r} has {len(columns[name])} rows and column {first!r} has "
                f"{length}. The columns of a Message have one length."
            )
    return max(length, 0)


def _from_mapping(data: Mapping[Any, Any], length: int | None) -> Columns:
    columns: Columns = {}
    scalars = False
    for name, value in data.items():
        if not isinstance(name, str):
            raise WrongType(f"A column's name is a str, not {name!r} ({type(name).__name__}).")
        if isinstance(value, torch.Tensor | np.ndarray):
            scalar = not value.ndim
        else:
            scalar = is_scalar(value)
        if scalar:
            scalars = True
        else:
            columns[name] = _column(name, value)
    found = shared_length(columns)
    if not scalars:
        return columns
    if columns:
        length = found
    return {
        name: columns[name] if name in columns else _column(name, value, length)
        for name, value in data.items()
    }


def _column(name: str, value: Any, length: int | None = None) -> Column:
    try:
        return column_from(value, length)
    except (WrongType, WrongLength) as error:
        raise type(error)(f"Column {name!r}: {error}.") from None


def _is_dataframe(data: object) -> bool:
    if "pandas" not in sys.modules:
        return False
    import pandas as pd

    return isinstance(data, pd.DataFrame)


def _is_tensordict(data: object) -> bool:
    return type(data).__module__.partition(".")[0] == "tensordict" and hasattr(data, "keys")


def _from_dataframe(frame: Any) -> Columns:
    columns: Columns = {}
    for position, label in enumerate(frame.columns):
        name = label if isinstance(label, str) else str(label)
        if name in columns:
            raise DuplicateColumn(f"The DataFrame has two columns named {name!r}.")
        columns[name] = _column(name, frame.iloc[:, position])
    return columns


def _from_arrow(table: ArrowTable) -> Columns:
    from fireworks.message.files import columns_from_table

    names = table.column_names
    if len(set(names)) != len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise DuplicateColumn(f"The table has two columns named {twice!r}.")
    return columns_from_table(table)


def _from_records(records: list[Any]) -> Columns:
    for row, record in enumerate(records):
        if not isinstance(record, Mapping):
            raise WrongType(
                f"Record {row} is {record!r:.60} ({type(record).__name__}); each record is a dict "
                f"of cells by column name."
            )
    names = list(dict.fromkeys(name for record in records for name in record))
    columns: Columns = {}
    for name in names:
        cells = [record.get(name) for record in records]
        if all(isinstance(cell, torch.Tensor) for cell in cells):
            columns[name] = stack(cells)
        else:
            columns[name] = _column(name, from_list(cells))
    for name in names:
        if not isinstance(name, str):
            raise WrongType(f"A column's name is a str, not {name!r} ({type(name).__name__}).")
    return columns


def names_columns(key: object) -> bool:
    """Whether a key of ``message[key]`` is a list of column names."""
    if type(key) is np.ndarray or isinstance(key, torch.Tensor):
        if isinstance(key, np.ndarray) and key.dtype.kind in "UO" and key.size:
            return isinstance(key.flat[0], str)
        return False
    if isinstance(key, list):
        return len(key) > 0 and isinstance(key[0], str)
    if type(key).__module__.partition(".")[0] == "pandas":
        return len(key) > 0 and isinstance(key[0] if not hasattr(key, "iloc") else key.iloc[0], str)  # type: ignore[arg-type,index]
    return False


def permutation(rows: Any, length: int) -> Rows:
    """Check that rows are all rows in some order."""
    chosen = resolve(rows, length)
    count = np.bincount(chosen.numpy, minlength=length)
    if len(chosen) != length or (count != 1).any():
        raise WrongValue(
            f"A permutation of {length} rows names each of them once; {len(chosen)} were given, "
            f"{int((count == 0).sum())} rows are missing."
        )
    return chosen


def fitted(values: Column, column: Column) -> Column:
    """Values of one kind as values for a column of another, for assignment to rows."""
    if type(values) is type(column):
        return values
    if isinstance(column, TensorColumn):
        tensor = values.tensor()
        return TensorColumn(tensor)
    if isinstance(column, ObjectColumn):
        return ObjectColumn(values.objects())
    if isinstance(values, TensorColumn):
        return fitted(as_vector(values), column)
    raise WrongType(
        f"values of dtype {values.field.dtype} do not fit a column of dtype {column.field.dtype}; "
        f"convert them first"
    )
