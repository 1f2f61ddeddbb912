"""The kinds of a source's columns: settled once, so that every block comes in the same ones.

What a column becomes in a Message can depend on whether a value is missing: whole numbers and
booleans are plain arrays without, and nullable ones with; lists of numbers are tensors or ragged
columns without, and objects with. A settled schema says which it is in ``Field.nullable``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa

from fireworks.errors import ColumnNotFound, WrongType, WrongValue, suggest
from fireworks.message import Message
from fireworks.message.arrow import column_from_arrow
from fireworks.message.column import Column
from fireworks.message.kinds.extension import ExtensionColumn
from fireworks.message.kinds.object import ObjectColumn, object_array

# pyarrow brings no types; these say what is meant.
ArrowArray: TypeAlias = Any
ArrowType: TypeAlias = Any
ArrowField: TypeAlias = Any
ArrowSchema: TypeAlias = Any
ArrowTable: TypeAlias = Any

Types: TypeAlias = Mapping[str, Any]
"""Declared types by column: an Arrow type or its name, a numpy dtype, ``int``, ``str``, …

``"Int64"`` and the like, in capitals as in pandas, and ``"boolean"`` are types in which values may
be missing.
"""

_PYTHON = {int: pa.int64(), float: pa.float64(), str: pa.string(), bool: pa.bool_()}
_NULLABLE = {
    **{f"{'U' * u}Int{bits}": f"{'u' * u}int{bits}" for u in (0, 1) for bits in (8, 16, 32, 64)},
    "boolean": "bool",
}


class MissingCell(WrongValue):
    """A value is missing in a column that was settled as one without missing values."""


def declared(types: Types | None) -> dict[str, ArrowField]:
    """Return declared types as fields.

    Raises:
        WrongValue: Something that names no type.
    """
    fields: dict[str, ArrowField] = {}
    for name, each in (types or {}).items():
        kind, nullable = each, False
        if isinstance(each, str):
            nullable = each in _NULLABLE
            kind = _NULLABLE.get(each, each)
        fields[name] = pa.field(name, _arrow_type(name, kind), nullable=nullable)
    return fields


def _arrow_type(name: str, kind: Any) -> ArrowType:
    if isinstance(kind, pa.DataType):
        return kind
    try:
        if kind in _PYTHON:
            return _PYTHON[kind]
        if isinstance(kind, str):
            return pa.type_for_alias("string" if kind == "str" else kind)
        return pa.from_numpy_dtype(np.dtype(kind))
    except (TypeError, ValueError, pa.ArrowException):
        known = ["int64", "float32", "float64", "string", "bool", "timestamp[us]", "date32"]
        raise WrongValue(
            f"types: {kind!r} of column {name!r} is no type." + suggest(kind, [*known, *_NULLABLE])
        ) from None


def check_columns(
    wanted: Iterable[str], known: Sequence[str], where: object, argument: str
) -> None:
    """Refuse names that are no columns.

    Raises:
        ColumnNotFound: A column is not there; the nearest name is offered.
    """
    for name in wanted:
        if name not in known:
            raise ColumnNotFound(
                f"{where} has no column {name!r}, which {argument} names.{suggest(name, known)}"
            )


def selected(columns: Sequence[str] | None) -> list[str] | None:
    """Return a selection of columns as a list of names, each once.

    Raises:
        WrongType: A name that is no string, or one string in place of a list.
        WrongValue: A name twice, or none at all.
    """
    if columns is None:
        return None
    if isinstance(columns, str) or not all(isinstance(name, str) for name in columns):
        raise WrongType(f'columns is a list of names, as in columns=["x"], not {columns!r}.')
    names = list(columns)
    if not names or len(set(names)) < len(names):
        raise WrongValue(f"columns names at least one column and none twice, not {names!r}.")
    return names


def plain(kind: ArrowType) -> ArrowType:
    """Return the type in which a column is settled.

    Dictionaries become their values: each file or group may have a dictionary of its own.
    """
    if isinstance(kind, pa.DictionaryType):
        return plain(kind.value_type)
    return pa.large_string() if _is_text(kind) else kind


def depends_on_nulls(kind: ArrowType) -> bool:
    """Whether the kind of column that a type becomes depends on missing values."""
    if _is_list(kind):
        return _is_number(kind.value_type)
    if pa.types.is_fixed_size_list(kind):
        while pa.types.is_fixed_size_list(kind):
            kind = kind.value_type
        return _is_number(kind)
    return pa.types.is_integer(kind) or pa.types.is_boolean(kind)


def has_nulls(array: ArrowArray) -> bool:
    """Whether a value is missing, at any depth of its lists."""
    if isinstance(array, pa.ChunkedArray):
        return any(has_nulls(chunk) for chunk in array.chunks)
    while not array.null_count:
        if not _is_list(array.type) and not pa.types.is_fixed_size_list(array.type):
            return False
        array = array.flatten()
    return True


def settled(table: ArrowTable, fields: Mapping[str, ArrowField]) -> ArrowSchema:
    """Return the schema of a first block, declared fields as they were declared."""
    found: list[ArrowField] = []
    for name, column in zip(table.column_names, table.columns, strict=True):
        if name in fields:
            found.append(fields[name])
        else:
            kind = pa.large_string() if pa.types.is_null(column.type) else plain(column.type)
            found.append(pa.field(name, kind, nullable=has_nulls(column)))
    return pa.schema(found)


def as_message(table: ArrowTable, schema: ArrowSchema) -> Message:
    """Return the rows of a table in the kinds of a settled schema.

    Raises:
        MissingCell: A value is missing where the schema has none.
        pyarrow.ArrowInvalid: A value does not fit its type.
    """
    columns = {field.name: _column(table.column(field.name), field) for field in schema}
    return Message.from_columns(columns, table.num_rows)


def _column(array: ArrowArray, field: ArrowField) -> Column:
    kind = field.type
    if array.type != kind:
        array = array.cast(kind)
    if not depends_on_nulls(kind):
        return column_from_arrow(array)
    if not field.nullable:
        if has_nulls(array):
            raise MissingCell(_no_value(field))
        return column_from_arrow(array)
    if pa.types.is_nested(kind):
        return ObjectColumn(object_array(array.to_pylist()))
    return ExtensionColumn(_nullable_dtype(kind).__from_arrow__(array))


def _nullable_dtype(kind: ArrowType) -> Any:
    import pandas as pd

    return pd.api.types.pandas_dtype(_nullable_name(kind))


def _nullable_name(kind: ArrowType) -> str:
    return next(name for name, plain_name in _NULLABLE.items() if plain_name == str(kind))


def _no_value(field: ArrowField) -> str:
    told = f"column {field.name!r} has no value here, and was settled as {field.type} without gaps"
    if pa.types.is_nested(field.type):
        return told
    return f'{told}; declare types={{"{field.name}": "{_nullable_name(field.type)}"}}'


def _is_list(kind: ArrowType) -> bool:
    return pa.types.is_list(kind) or pa.types.is_large_list(kind)


def _is_number(kind: ArrowType) -> bool:
    return pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)


def _is_text(kind: ArrowType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or str(kind) == "string_view"
