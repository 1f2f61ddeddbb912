"""What a kind is: the two ways between a Message's column and the cells of a table's column."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, TypeAlias

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray

from fireworks.errors import WrongType, WrongValue
from fireworks.message.column import Column
from fireworks.message.kinds.extension import ExtensionColumn
from fireworks.message.kinds.number import NumberColumn
from fireworks.message.kinds.object import ObjectColumn
from fireworks.message.kinds.string import StringColumn

Spec = dict[str, Any]

Cells: TypeAlias = list[Any] | NDArray[Any] | Any
"""Python objects, None where a value is missing; or an array, of NumPy or Arrow, of such."""

_ENOUGH_CHARACTERS = 80


@dataclass(frozen=True)
class Place:
    """The column of a table that cells go to: what it takes, and how messages name it.

    Attributes:
        table: The table's name.
        column: The column's name.
        declared: The type, as SQLAlchemy prints it.
        nullable: Whether it may hold NULL.
        dialect: ``"sqlite"``, ``"postgresql"``, ``"mariadb"``, … or empty where it is not known.
    """

    table: str
    column: str
    declared: str
    nullable: bool
    dialect: str

    @property
    def is_mariadb(self) -> bool:
        """Whether the database is MariaDB or MySQL."""
        return self.dialect in ("mariadb", "mysql")

    def unfit(self, row: int, value: object, why: str) -> WrongValue:
        """Return the error for a value that the column cannot hold."""
        shown = repr(value)
        if len(shown) > _ENOUGH_CHARACTERS:
            shown = shown[:_ENOUGH_CHARACTERS] + "…"
        return WrongValue(
            f"Row {row}: {shown} does not fit the column {self.column!r} ({self.declared}) of the "
            f"table {self.table!r}: {why}. No row was written."
        )

    def wrong_kind(self, column: Column, wanted: str) -> WrongType:
        """Return the error for a whole column of another kind."""
        kind = column.field.kind
        found = "a tensor" if kind == "tensor" else f"a vector ({column.field.dtype})"
        return WrongType(
            f"The column {self.column!r} is {found} in the rows; in the table {self.table!r} it "
            f"takes {wanted} ({self.declared})."
        )


class Kind(ABC):
    """What the cells of a column are, and the column of a Message that they make.

    A cell is a Python object as SQLAlchemy takes and gives it for the type that `holds` it.
    """

    name: ClassVar[str]

    binds: ClassVar[bool] = False
    """Whether cells that `write` gave still go through `bind`, on their way to the driver."""

    @property
    def spec(self) -> Spec:
        """What makes this kind again (see `declared.kind_from`); survives JSON."""
        return {"kind": self.name}

    @property
    @abstractmethod
    def holds(self) -> sa.types.TypeEngine[Any]:
        """The type of SQL that holds the cells, with a variant for each database that differs."""

    @abstractmethod
    def read(self, cells: Sequence[Any], nullable: bool) -> Column:
        """Return cells as a column; its kind does not depend on them.

        Raises:
            WrongValue, ValueError, TypeError, OverflowError, pyarrow.ArrowException: A cell is of
                another kind.
        """

    @abstractmethod
    def write(self, column: Column, place: Place) -> Cells:
        """Return a column as cells: as an array where none needs a look of its own.

        Raises:
            WrongType: The column is of another kind.
            WrongValue: A value does not fit; row, column and value are named.
        """

    def bind(self, cell: Any, dialect: str) -> Any:
        """Return what a database's driver is given for a cell (or for a value in a condition)."""
        return cell


def objects_of(column: Column) -> list[Any] | None:
    """Return the values of a vector as Python objects, None where missing; no tensors."""
    if isinstance(column, NumberColumn):
        array = column.array
        values: list[Any] = array.tolist()
        return values if array.dtype.kind != "f" else [None if v != v else v for v in values]
    if isinstance(column, StringColumn):
        return column.array.to_pylist()
    if isinstance(column, ObjectColumn):
        return column.array.tolist()
    if isinstance(column, ExtensionColumn):
        array = column.array
        values = array.astype(object).tolist() if len(array) else []
        missing = np.asarray(array.isna()).tolist()
        return [None if gone else v for v, gone in zip(values, missing, strict=True)]
    return None


def each_cell(
    column: Column, place: Place, wanted: str, convert: Callable[[Any], Any]
) -> list[Any]:
    """Return the values of a vector, converted one by one.

    Args:
        column: The vector.
        place: Where the cells go.
        wanted: What the column takes, for messages.
        convert: Returns the cell for a value, or raises a WrongValue or TypeError that says why
            there is none.

    Raises:
        WrongType: It is a tensor, or a row is of another type.
        WrongValue: A value does not fit.
    """
    values = objects_of(column)
    if values is None:
        raise place.wrong_kind(column, wanted)
    cells: list[Any] = []
    for row, value in enumerate(values):
        if value is None:
            cells.append(None)
            continue
        try:
            cells.append(convert(value))
        except TypeError:
            if not isinstance(column, ObjectColumn):
                raise place.wrong_kind(column, wanted) from None
            raise place.unfit(row, value, f"it takes {wanted}") from None
        except WrongValue as error:
            raise place.unfit(row, value, str(error)) from None
    return cells
