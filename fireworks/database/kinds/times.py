"""Dates, times of day, datetimes with and without zones, durations."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import sqlalchemy as sa
from sqlalchemy.dialects import mysql

from fireworks.database.kinds.kind import Cells, Kind, Place, Spec, each_cell
from fireworks.errors import WrongValue
from fireworks.message.column import Column
from fireworks.message.kinds.extension import ExtensionColumn
from fireworks.message.kinds.number import NumberColumn
from fireworks.message.kinds.object import ObjectColumn

_FIRST = np.datetime64("0001-01-01", "us")
_LAST = np.datetime64("9999-12-31T23:59:59.999999", "us")


@dataclass(frozen=True)
class DatetimeKind(Kind):
    """Datetimes to the microsecond; NULL is NaT.

    Attributes:
        unit: The unit that they have in a Message.
        zone: The zone that they are shown in; stored is the time in UTC. None for times without.
    """

    name = "datetime"
    unit: str = "us"
    zone: str | None = None

    @property
    def spec(self) -> Spec:
        return {"kind": self.name, "unit": self.unit, "zone": self.zone}

    @property
    def holds(self) -> sa.types.TypeEngine[Any]:
        # Without a precision MariaDB cuts off what is smaller than a second.
        exact = sa.DateTime(timezone=self.zone is not None)
        return exact.with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")

    def read(self, cells: Sequence[Any], nullable: bool) -> Column:
        if self.zone is None:
            values = pa.array(cells, pa.timestamp("us")).to_numpy(zero_copy_only=False)
            return NumberColumn(values.astype(f"datetime64[{self.unit}]", copy=False))
        utc: Any = pa.array(cells, pa.timestamp("us", "UTC")).to_pandas().array
        return ExtensionColumn(utc.tz_convert(self.zone).as_unit(self.unit))

    def write(self, column: Column, place: Place) -> Cells:
        wanted = "datetimes " + ("without a zone" if self.zone is None else "with a zone")
        if isinstance(column, NumberColumn) and column.array.dtype.kind == "M":
            if self.zone is not None:
                raise place.wrong_kind(column, wanted)
            return _whole_microseconds(column.array, "datetime64[us]", place)
        array: Any = column.array
        if isinstance(column, ExtensionColumn) and isinstance(array.dtype, pd.DatetimeTZDtype):
            if self.zone is None:
                raise place.wrong_kind(column, wanted)
            utc = array.tz_convert("UTC").tz_localize(None).to_numpy()
            exact = _whole_microseconds(utc, "datetime64[us]", place)
            return pa.array(exact, pa.timestamp("us", "UTC"))

        def convert(value: Any) -> datetime.datetime:
            if not isinstance(value, datetime.datetime):
                raise TypeError
            if (value.tzinfo is None) != (self.zone is None):
                raise WrongValue(f"it takes {wanted}")
            if isinstance(value, pd.Timestamp):
                value = value.to_pydatetime()
            return value if self.zone is None else value.astimezone(datetime.UTC)

        return each_cell(column, place, wanted, convert)

    def bind(self, cell: Any, dialect: str) -> Any:
        if self.zone is not None and isinstance(cell, datetime.datetime) and cell.tzinfo:
            return cell.astimezone(datetime.UTC)
        return cell


@dataclass(frozen=True)
class DurationKind(Kind):
    """Spans of time, to the microsecond; NULL is NaT.

    PostgreSQL has a type for them; elsewhere they are kept as whole microseconds.

    Attributes:
        unit: The unit that they have in a Message.
        native: Whether the column is declared as an interval.
    """

    name = "duration"
    binds = True
    unit: str = "us"
    native: bool = False

    @property
    def spec(self) -> Spec:
        return {"kind": self.name, "unit": self.unit}

    @property
    def holds(self) -> sa.types.TypeEngine[Any]:
        return sa.BigInteger().with_variant(sa.Interval(), "postgresql")

    def read(self, cells: Sequence[Any], nullable: bool) -> Column:
        values = pa.array(cells, pa.duration("us")).to_numpy(zero_copy_only=False)
        return NumberColumn(values.astype(f"timedelta64[{self.unit}]", copy=False))

    def write(self, column: Column, place: Place) -> Cells:
        if isinstance(column, NumberColumn) and column.array.dtype.kind == "m":
            exact = _whole_microseconds(column.array, "timedelta64[us]", place)
            if self.native:
                return exact
            return pa.array(exact).view(pa.int64())

        def convert(value: Any) -> Any:
            if not isinstance(value, datetime.timedelta):
                raise TypeError
            return value if self.native else _microseconds(value)

        return each_cell(column, place, "spans of time", convert)

    def bind(self, cell: Any, dialect: str) -> Any:
        if self.native:
            return cell
        if dialect == "postgresql":
            return datetime.timedelta(microseconds=cell) if isinstance(cell, int) else cell
        return _microseconds(cell) if isinstance(cell, datetime.timedelta) else cell


@dataclass(frozen=True)
class DateKind(Kind):
    """Dates, as Python's date."""

    name = "date"

    @property
    def holds(self) -> sa.types.TypeEngine[Any]:
        return sa.Date()

    def read(self, cells: Sequence[Any], nullable: bool) -> Column:
        return ObjectColumn(_instances(cells, datetime.date))

    def write(self, column: Column, place: Place) -> list[Any]:
        def convert(value: Any) -> datetime.date:
            if not isinstance(value, datetime.date):
                raise TypeError
            if isinstance(value, datetime.datetime):
                if value.time() != datetime.time() or value.tzinfo is not None:
                    raise WrongValue("it takes dates without a time")
                return value.date()
            return value

        return each_cell(column, place, "dates", convert)


@dataclass(frozen=True)
class TimeKind(Kind):
    """Times of day to the microsecond, as Python's time.

    Attributes:
        zoned: Whether they have an offset (PostgreSQL's TIME WITH TIME ZONE).
    """

    name = "time"
    zoned: bool = False

    @property
    def holds(self) -> sa.types.TypeEngine[Any]:
        return sa.Time().with_variant(mysql.TIME(fsp=6), "mysql", "mariadb")

    def read(self, cells: Sequence[Any], nullable: bool) -> Column:
        return ObjectColumn(_instances(cells, datetime.time))

    def write(self, column: Column, place: Place) -> list[Any]:
        def convert(value: Any) -> datetime.time:
            if not isinstance(value, datetime.time):
                raise TypeError
            if (value.tzinfo is not None) != self.zoned:
                raise WrongValue(f"it takes times {'with' if self.zoned else 'without'} a zone")
            return value

        return each_cell(column, place, "times of day", convert)


def _instances(cells: Sequence[Any], kind: type) -> np.ndarray[Any, Any]:
    for cell in cells:
        if cell is not None and not isinstance(cell, kind):
            raise WrongValue(f"{cell!r}")
    array = np.empty(len(cells), object)
    array[:] = cells
    return array


def _microseconds(value: datetime.timedelta) -> int:
    return value // datetime.timedelta(microseconds=1)


def _whole_microseconds(
    array: np.ndarray[Any, Any], dtype: str, place: Place
) -> np.ndarray[Any, Any]:
    """Return times in microseconds, which is what databases keep.

    Raises:
        WrongValue: One has nanoseconds, or lies outside the years 1 to 9999; it is named.
    """
    exact = array.astype(dtype)
    missing = np.isnat(array)
    # Units longer than a microsecond overflow on the way.
    off = (exact.astype(array.dtype) != array) & ~missing
    if off.any():
        row = int(np.argmax(off))
        raise place.unfit(row, str(array[row]), "it takes whole microseconds")
    if dtype.startswith("datetime"):
        off = ((exact < _FIRST) | (exact > _LAST)) & ~missing
        if off.any():
            row = int(np.argmax(off))
            raise place.unfit(row, str(array[row]), "it takes the years 1 to 9999")
    return exact
