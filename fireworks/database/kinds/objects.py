"""Python objects that databases have types for: bytes, UUIDs, JSON, arrays, and others."""

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import mysql

from fireworks.database.kinds.kind import Kind, Place, each_cell
from fireworks.errors import WrongValue
from fireworks.message.column import Column
from fireworks.message.kinds.object import ObjectColumn, object_array, same_cell

_KEY_BYTES = 255


def bytes_type(*, is_key: bool = False) -> sa.types.TypeEngine[Any]:
    """Return the type of SQL for bytes of any length, or for a key."""
    # MariaDB's BLOB ends at 64 kB, and it indexes bytes only up to a declared length.
    variant = mysql.VARBINARY(_KEY_BYTES) if is_key else mysql.LONGBLOB()
    return sa.LargeBinary().with_variant(variant, "mysql", "mariadb")


@dataclass(frozen=True)
class ObjectKind(Kind):
    """Values of a type without a kind of its own, as the driver gives and takes them."""

    name = "object"

    @property
    def holds(self) -> sa.types.TypeEngine[Any]:
        return sa.types.NullType()

    def read(self, cells: Sequence[Any], nullable: bool) -> Column:
        return ObjectColumn(object_array(cells))

    def write(self, column: Column, place: Place) -> list[Any]:
        return each_cell(column, place, "values that its driver takes", lambda value: value)


@dataclass(frozen=True)
class BytesKind(Kind):
    """Bytes.

    Attributes:
        length: The most of them; none for any number.
    """

    name = "bytes"
    length: int | None = None

    @property
    def holds(self) -> sa.types.TypeEngine[Any]:
        return bytes_type()

    def read(self, cells: Sequence[Any], nullable: bool) -> Column:
        return ObjectColumn(
            object_array([each if each is None else _as_bytes(each) for each in cells])
        )

    def write(self, column: Column, place: Place) -> list[Any]:
        def convert(value: Any) -> bytes:
            if not isinstance(value, bytes | bytearray | memoryview):
                raise TypeError
            if self.length is not None and len(value) > self.length and place.dialect != "sqlite":
                raise WrongValue(f"it takes {self.length} bytes")
            return bytes(value)

        return each_cell(column, place, "bytes", convert)


def _as_bytes(cell: Any) -> bytes:
    if isinstance(cell, bytes | bytearray | memoryview):
        return bytes(cell)
    raise WrongValue(f"{cell!r}")


@dataclass(frozen=True)
class UuidKind(Kind):
    """UUIDs, as Python's UUID. Where the database has no type for them: 32 characters."""

    name = "uuid"

    @property
    def holds(self) -> sa.types.TypeEngine[Any]:
        # MariaDB sorts its own UUIDs by parts in another order, and knows none before 10.7.
        characters = sa.Uuid(native_uuid=False)
        return sa.Uuid().with_variant(characters, "mysql", "mariadb")

    def read(self, cells: Sequence[Any], nullable: bool) -> Column:
        return ObjectColumn(
            object_array(
                [
                    each if each is None or isinstance(each, uuid.UUID) else uuid.UUID(each)
                    for each in cells
                ]
            )
        )

    def write(self, column: Column, place: Place) -> list[Any]:
        def convert(value: Any) -> uuid.UUID:
            if not isinstance(value, uuid.UUID):
                raise TypeError
            return value

        return each_cell(column, place, "UUIDs", convert)


@dataclass(frozen=True)
class JsonKind(Kind):
    """Dicts, lists, text and numbers, as JSON; None is NULL."""

    name = "json"

    @property
    def holds(self) -> sa.types.TypeEngine[Any]:
        return sa.JSON(none_as_null=True)

    def read(self, cells: Sequence[Any], nullable: bool) -> Column:
        return ObjectColumn(object_array(cells))

    def write(self, column: Column, place: Place) -> list[Any]:
        return each_cell(column, place, "what JSON can hold", checked_json)


def checked_json(value: Any) -> Any:
    """Return a value if JSON gives it back as it is.

    Raises:
        WrongValue: It does not.
    """
    try:
        same = same_cell(json.loads(json.dumps(value, allow_nan=False)), value, 0, 0)
    except (TypeError, ValueError, RecursionError) as error:
        raise WrongValue(f"it is no JSON ({error})") from None
    if not same:
        raise WrongValue("JSON would not give it back as it is: keys are text, tuples are lists")
    return value


@dataclass(frozen=True)
class ListKind(Kind):
    """PostgreSQL's arrays, as lists, which may hold lists and None."""

    name = "list"

    @property
    def holds(self) -> sa.types.TypeEngine[Any]:
        raise NotImplementedError("declared by users, with the type of the elements")

    def read(self, cells: Sequence[Any], nullable: bool) -> Column:
        return ObjectColumn(object_array(cells))

    def write(self, column: Column, place: Place) -> list[Any]:
        from fireworks.message.kinds.ragged import RaggedColumn

        if isinstance(column, RaggedColumn):
            return [each.tolist() for each in column.objects()]

        def convert(value: Any) -> list[Any]:
            if hasattr(value, "tolist"):
                value = value.tolist()
            if not isinstance(value, list | tuple):
                raise TypeError
            return list(value)

        return each_cell(column, place, "lists", convert)
