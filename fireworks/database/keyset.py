"""Going on behind a key: conditions on keys of one or several columns, and keys as JSON."""

from __future__ import annotations

import datetime
import operator
import uuid
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any

import sqlalchemy as sa

from fireworks.database.declared import MarkedType, SqlType
from fireworks.database.parameters import column_cells
from fireworks.errors import WrongType
from fireworks.message import Message

Compare = Callable[[Any, Any], Any]

_BYTES = (sa.LargeBinary, sa.BINARY, sa.VARBINARY)
_ORDERED = (
    sa.Integer, sa.String, sa.Numeric, sa.DateTime, sa.Date, sa.Time, sa.Uuid, *_BYTES,
)  # fmt: skip


def keeps_order(kind: SqlType) -> bool:
    """Return whether values of a type compare in a database as they are sorted there.

    A floating point number need not equal what was read of it, and MariaDB sorts an enumeration by
    its numbers and compares it by its names.
    """
    kind = _held(kind)
    return isinstance(kind, _ORDERED) and not isinstance(kind, sa.Float | sa.Enum)


def _held(kind: SqlType) -> SqlType:
    return kind.kind.holds if isinstance(kind, MarkedType) else kind


def behind(key: Sequence[sa.ColumnElement[Any]], values: Sequence[Any]) -> sa.ColumnElement[bool]:
    """Return the condition for the rows whose key is greater than some values."""
    return _compared(key, values, operator.gt, operator.ge, operator.gt)


def up_to(key: Sequence[sa.ColumnElement[Any]], values: Sequence[Any]) -> sa.ColumnElement[bool]:
    """Return the condition for the rows whose key is at most some values."""
    return _compared(key, values, operator.lt, operator.le, operator.le)


def _compared(
    key: Sequence[sa.ColumnElement[Any]],
    values: Sequence[Any],
    differs: Compare,
    differs_or_equals: Compare,
    at_last: Compare,
) -> sa.ColumnElement[bool]:
    """Compare column by column: MariaDB searches no index by ``(a, b) > (1, 2)``."""
    column, value = key[0], values[0]
    if len(key) == 1:
        return at_last(column, value)
    rest = _compared(key[1:], values[1:], differs, differs_or_equals, at_last)
    # The first condition follows from the second; it is what an index is searched by.
    return sa.and_(differs_or_equals(column, value), sa.or_(differs(column, value), rest))


def encoded(values: Sequence[Any]) -> list[Any]:
    """Return the cells of a key as what JSON can hold.

    Raises:
        WrongType: A cell is of a kind that is no key.
    """
    return [_encoded(each) for each in values]


def decoded(values: Sequence[Any], types: Sequence[SqlType]) -> list[Any]:
    """Return the cells of a key as they were, by the declared types of its columns."""
    return [_decoded(value, kind) for value, kind in zip(values, types, strict=True)]


def last_of(chunk: Message, fields: Sequence[sa.Column[Any]]) -> list[Any]:
    """Return the key of the last row of a Message, as what SQLAlchemy takes.

    Args:
        chunk: The rows, at least one.
        fields: The columns of the key.
    """
    row = chunk[-1:]
    return [column_cells(row, str(field.name), field)[0] for field in fields]


def _encoded(value: Any) -> Any:
    if isinstance(value, bool | int | str):
        return value
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, Decimal | uuid.UUID):
        return str(value)
    if isinstance(value, bytes | memoryview):
        return bytes(value).hex()
    raise WrongType(f"A key holds {value!r} ({type(value).__name__}); that cannot be a position.")


def _decoded(value: Any, kind: SqlType) -> Any:
    if isinstance(value, str):
        for types, decode in _DECODERS:
            if isinstance(_held(kind), types):
                return decode(value)
    return value


_DECODERS: list[tuple[Any, Callable[[str], Any]]] = [
    (sa.DateTime, datetime.datetime.fromisoformat),
    (sa.Date, datetime.date.fromisoformat),
    (sa.Time, datetime.time.fromisoformat),
    (sa.Numeric, Decimal),
    (sa.Uuid, uuid.UUID),
    (_BYTES, bytes.fromhex),
]
