"""Putting Messages together: end to end, side by side, and by a key."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from fireworks.errors import ColumnNotFound, DuplicateColumn, WrongLength, WrongType, suggest
from fireworks.message.column import Column
from fireworks.message.kinds.object import ObjectColumn
from fireworks.message.kinds.tensor import TensorColumn

Columns = dict[str, Column]


def concat_columns(tables: Sequence[Mapping[str, Column]]) -> Columns:
    """Columns end to end; all tables have the same columns, in the order of the first.

    Raises:
        ColumnNotFound: A table lacks a column, or has one that the first lacks.
        WrongType: Columns of one name do not fit together.
    """
    first = tables[0]
    names = first.keys()
    for position, table in enumerate(tables):
        if table.keys() != names:
            _report_difference(first, table, position)
    return {name: join_column(name, [table[name] for table in tables]) for name in first}


def join_column(name: str, parts: Sequence[Column]) -> Column:
    """One column from parts of it, which may be of several kinds of vector."""
    first = parts[0]
    if len(parts) == 1:
        return first
    kind = type(first)
    try:
        if any(type(part) is not kind for part in parts):
            return _join_kinds(parts)
        return first.concat(parts[1:])
    except WrongType as error:
        raise WrongType(f"Column {name!r}: {error}.") from None


def _join_kinds(parts: Sequence[Column]) -> Column:
    tensors = [isinstance(part, TensorColumn) for part in parts]
    if any(tensors):
        raise WrongType(
            "it is a tensor in one Message and a vector in another; convert one of them with "
            "to_tensors or to_vectors"
        )
    objects = np.concatenate([part.objects() for part in parts])
    return ObjectColumn(objects)


def _report_difference(
    first: Mapping[str, Column], table: Mapping[str, Column], position: int
) -> None:
    for name in first:
        if name not in table:
            raise ColumnNotFound(
                f"Message {position} has no column {name!r}, which Message 0 has."
                + suggest(name, table)
            )
    for name in table:
        if name not in first:
            raise ColumnNotFound(
                f"Message {position} has a column {name!r}, which Message 0 lacks."
                + suggest(name, first)
            )


def merge_columns(tables: Sequence[Mapping[str, Column]]) -> Columns:
    """Columns side by side; tables without columns do not count.

    Raises:
        DuplicateColumn: Two tables have a column of the same name.
        WrongLength: The tables have different numbers of rows.
    """
    merged: Columns = {}
    length: int | None = None
    for position, table in enumerate(tables):
        for name, column in table.items():
            if name in merged:
                raise DuplicateColumn(
                    f"Column {name!r} is in more than one of the Messages to merge. Rename or "
                    f"drop one of them first."
                )
            if length is not None and len(column) != length:
                raise WrongLength(
                    f"Message {position} has {len(column)} rows and those before it {length}. "
                    f"Messages are merged side by side, row by row."
                )
            length = len(column)
            merged[name] = column
    return merged
