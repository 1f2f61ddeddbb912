"""Integers, floating point numbers and booleans."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import sqlalchemy as sa
from sqlalchemy.dialects import mysql

from fireworks.database.kinds.kind import Cells, Kind, Place, Spec, each_cell
from fireworks.errors import WrongValue
from fireworks.message.column import Column
from fireworks.message.kinds.extension import ExtensionColumn
from fireworks.message.kinds.number import NumberColumn
from fireworks.message.kinds.object import ObjectColumn


def _range(dtype: np.dtype[Any]) -> tuple[int, int]:
    return int(np.iinfo(dtype).min), int(np.iinfo(dtype).max)


INTEGER_RANGES = {
    np.dtype(f"{sign}{bits}"): _range(np.dtype(f"{sign}{bits}"))
    for sign in ("int", "uint")
    for bits in (8, 16, 32, 64)
}
_INT64 = np.dtype(np.int64)
_UINT64 = np.dtype(np.uint64)
_FLOAT64 = np.dtype(np.float64)
_NUMBERS = int | float | np.integer | np.floating | Decimal


def nullable_dtype(dtype: np.dtype[Any]) -> Any:
    """Return pandas' dtype of such numbers, or none."""
    name = {"i": "Int", "u": "UInt", "f": "Float"}[dtype.kind] + str(8 * dtype.itemsize)
    return pd.api.types.pandas_dtype(name)


@dataclass(frozen=True)
class IntegerKind(Kind):
    """Integers: int64 by default; with NULL, pandas' Int64.

    Attributes:
        dtype: What they are in a Message.
        low: The least that the column takes.
        high: The most.
    """

    name = "integer"
    dtype: np.dtype[Any] = _INT64
    low: int = INTEGER_RANGES[_INT64][0]
    high: int = INTEGER_RANGES[_INT64][1]

    @classmethod
    def of(cls, dtype: np.dtype[Any]) -> IntegerKind:
        """Return the kind of a column for all values of a dtype."""
        return cls(dtype, *INTEGER_RANGES[dtype])

    @property
    def spec(self) -> Spec:
        return {"kind": self.name, "dtype": self.dtype.name}

    @property
    def holds(self) -> sa.types.TypeEngine[Any]:
        if self.dtype == _UINT64:  # PostgreSQL's longest integer is signed
            longest = sa.BigInteger().with_variant(sa.Numeric(20, 0), "postgresql")
            return longest.with_variant(mysql.BIGINT(unsigned=True), "mysql", "mariadb")
        if self.high <= INTEGER_RANGES[np.dtype(np.int16)][1]:
            return sa.SmallInteger()
        if self.high <= INTEGER_RANGES[np.dtype(np.int32)][1]:
            return sa.Integer()
        # SQLite numbers the rows of an INTEGER PRIMARY KEY, and of no other.
        return sa.BigInteger().with_variant(sa.Integer(), "sqlite")

    def read(self, cells: Sequence[Any], nullable: bool) -> Column:
        wanted = pa.from_numpy_dtype(self.dtype)
        if self.dtype == _UINT64:
            array = pa.array([None if cell is None else int(cell) for cell in cells], wanted)
        else:
            array = pa.array(cells)  # asked for integers, pyarrow would cut the fraction off
            if array.type != wanted:
                # The sum of integers is a decimal in some databases.
                whole = pa.types.is_integer(array.type) or pa.types.is_decimal(array.type)
                if not whole and len(array) != array.null_count:
                    raise WrongValue(f"values of {array.type}")
                array = array.cast(wanted)
        if nullable:
            return ExtensionColumn(nullable_dtype(self.dtype).__from_arrow__(array))
        if array.null_count:
            raise WrongValue("NULL, though it is declared NOT NULL")
        return NumberColumn(array.to_numpy(zero_copy_only=False))

    def write(self, column: Column, place: Place) -> Cells:
        low, high = self.low, self.high
        if place.dialect == "sqlite":
            low, high = INTEGER_RANGES[_INT64]
        if isinstance(column, NumberColumn) and column.array.dtype.kind in "iu":
            array = column.array
            if len(array) and (array.min() < low or array.max() > high):
                row = int(np.argmax((array < low) | (array > high)))
                raise place.unfit(row, int(array[row]), f"it takes {low} to {high}")
            return array
        if isinstance(column, ExtensionColumn) and isinstance(column.array, pd.arrays.IntegerArray):
            found = pa.array(column.array)
            bounds = pc.call_function("min_max", [found]).as_py()
            if bounds["min"] is None or low <= bounds["min"] <= bounds["max"] <= high:
                return found

        def convert(value: Any) -> int:
            if isinstance(value, bool | np.bool_) or not isinstance(value, _NUMBERS):
                raise TypeError
            if value != int(value):
                raise WrongValue("it takes integers")
            if not low <= value <= high:
                raise WrongValue(f"it takes {low} to {high}")
            return int(value)

        return each_cell(column, place, "integers", convert)


@dataclass(frozen=True)
class FloatKind(Kind):
    """Floating point numbers, float64 by default; NULL is NaN.

    Attributes:
        dtype: What they are in a Message.
        stored: What the column holds: float32 loses digits of a float64.
        masked: Whether missing values are told from NaN, as pandas' Float64 does.
    """

    name = "float"
    dtype: np.dtype[Any] = _FLOAT64
    stored: np.dtype[Any] = _FLOAT64
    masked: bool = False

    @property
    def spec(self) -> Spec:
        return {"kind": self.name, "dtype": self.dtype.name, "masked": self.masked}

    @property
    def holds(self) -> sa.types.TypeEngine[Any]:
        return sa.Double()  # MariaDB prints six digits of a FLOAT

    def read(self, cells: Sequence[Any], nullable: bool) -> Column:
        array = pa.array(cells, pa.float64())
        if self.masked:
            found = pd.Float64Dtype().__from_arrow__(array)
            return ExtensionColumn(found.astype(nullable_dtype(self.dtype)))
        values = array.to_numpy(zero_copy_only=False)
        return NumberColumn(values.astype(self.dtype, copy=False))

    def write(self, column: Column, place: Place) -> Cells:
        wanted = "floating point numbers"
        if isinstance(column, NumberColumn) and column.array.dtype.kind in "fiu":
            given = column.array
            values = given.astype(np.float64)
            missing = None
            if given.dtype.kind in "iu" and given.dtype.itemsize == 8:
                # 2**63 itself would not come back from a float as an int64.
                self._check(values, np.abs(values) <= 2.0**53, given, place, "it takes 53 bits")
            elif given.dtype.itemsize > 8:
                self._check(values, values == given, given, place, "it takes 64 bits")
        elif (
            isinstance(column, ExtensionColumn)
            and getattr(column.array.dtype, "numpy_dtype", np.dtype("O")).kind in "fiu"
        ):
            missing = np.asarray(column.array.isna())
            given = values = column.array.to_numpy(np.float64, na_value=np.nan)
        else:

            def convert(value: Any) -> float:
                if isinstance(value, bool | np.bool_) or not isinstance(value, _NUMBERS):
                    raise TypeError
                return float(value)

            found = each_cell(column, place, wanted, convert)
            missing = np.array([each is None for each in found], bool)
            given = values = np.array([np.nan if each is None else each for each in found])
        return self._cells(values, given, missing, place)

    def _cells(
        self,
        values: np.ndarray[Any, Any],
        given: np.ndarray[Any, Any],
        missing: np.ndarray[Any, Any] | None,
        place: Place,
    ) -> Cells:
        if self.stored.itemsize < 8:
            most = np.finfo(self.stored).max
            fits = ~np.isfinite(values) | (np.abs(values) <= most)
            self._check(values, fits, given, place, f"it takes {most:.3g} at the most")
        if place.is_mariadb:
            self._check(values, ~np.isinf(values), given, place, "the database has no infinity")
        # NaN is NULL where the database has none (SQLite's driver makes it so).
        if place.is_mariadb or place.dialect == "sqlite":
            missing = np.isnan(values)
        if missing is None or not missing.any():
            return values
        return pa.array(values, mask=missing)

    @staticmethod
    def _check(
        values: np.ndarray[Any, Any],
        fits: np.ndarray[Any, Any],
        given: np.ndarray[Any, Any],
        place: Place,
        why: str,
    ) -> None:
        if not fits.all() and (bad := ~fits & ~np.isnan(values)).any():
            row = int(np.argmax(bad))
            raise place.unfit(row, given[row].item(), why)


@dataclass(frozen=True)
class BooleanKind(Kind):
    """Booleans; with NULL, pandas' boolean."""

    name = "boolean"

    @property
    def holds(self) -> sa.types.TypeEngine[Any]:
        return sa.Boolean()

    def read(self, cells: Sequence[Any], nullable: bool) -> Column:
        array = pa.array(cells)
        if pa.types.is_integer(array.type):  # a TINYINT(1)
            limits = pc.call_function("min_max", [array]).as_py()
            if limits["min"] is not None and not 0 <= limits["min"] <= limits["max"] <= 1:
                raise WrongValue(f"numbers from {limits['min']} to {limits['max']}")
        elif not pa.types.is_boolean(array.type) and len(array) != array.null_count:
            raise WrongValue(f"values of {array.type}")
        array = array.cast(pa.bool_())
        if nullable:
            return ExtensionColumn(pd.BooleanDtype().__from_arrow__(array))
        if array.null_count:
            raise WrongValue("NULL, though it is declared NOT NULL")
        return NumberColumn(array.to_numpy(zero_copy_only=False))

    def write(self, column: Column, place: Place) -> Cells:
        if isinstance(column, NumberColumn) and column.array.dtype.kind == "b":
            return column.array
        if isinstance(column, ExtensionColumn) and isinstance(column.array, pd.arrays.BooleanArray):
            return pa.array(column.array)

        def convert(value: Any) -> bool:
            if isinstance(value, bool | np.bool_):
                return bool(value)
            if isinstance(value, _NUMBERS) and value in (0, 1):
                return bool(value)
            raise TypeError

        return each_cell(column, place, "booleans", convert)


@dataclass(frozen=True)
class DecimalKind(Kind):
    """Decimal numbers, as Python's Decimal.

    Attributes:
        precision: Digits in all; none for any number.
        scale: Digits behind the point; none for any number.
    """

    name = "decimal"
    binds = True
    precision: int | None = None
    scale: int | None = None

    @property
    def spec(self) -> Spec:
        return {"kind": self.name, "precision": self.precision, "scale": self.scale}

    @property
    def holds(self) -> sa.types.TypeEngine[Any]:
        exact = sa.Numeric(self.precision, self.scale)
        if self.precision is None:  # MariaDB's own default has no digits behind the point
            exact = exact.with_variant(mysql.NUMERIC(65, 30), "mysql", "mariadb")
        return exact.with_variant(sa.Text(), "sqlite")  # whose numbers are floats

    def read(self, cells: Sequence[Any], nullable: bool) -> Column:
        array = np.empty(len(cells), object)
        array[:] = [cell if cell is None else _decimal(cell) for cell in cells]
        return ObjectColumn(array)

    def write(self, column: Column, place: Place) -> list[Any]:
        precision, scale = self.precision, self.scale
        if precision is None and place.is_mariadb:
            precision, scale = 65, 30

        def convert(value: Any) -> Decimal:
            if isinstance(value, bool) or not isinstance(value, Decimal | int):
                raise TypeError
            number = Decimal(value)
            if not number.is_finite():
                if place.dialect == "postgresql" and precision is None:
                    return number
                raise WrongValue("the column takes finite numbers")
            if precision is None:
                return number
            _, digits, exponent = number.normalize().as_tuple()
            behind = max(0, -int(exponent))
            before = max(0, len(digits) + int(exponent))
            if behind > (scale or 0) or before > precision - (scale or 0):
                raise WrongValue(
                    f"it takes {precision - (scale or 0)} digits before the point and {scale or 0} "
                    "behind it"
                )
            return number

        return each_cell(column, place, "Decimals", convert)

    def bind(self, cell: Any, dialect: str) -> Any:
        return str(cell) if dialect == "sqlite" and isinstance(cell, Decimal | int) else cell


def _decimal(cell: Any) -> Decimal:
    if isinstance(cell, Decimal):
        return cell
    if isinstance(cell, float):
        raise WrongValue(f"the float {cell!r}, which is not exact")
    return Decimal(cell)
