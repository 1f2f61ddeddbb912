"""Text, and categories."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import sqlalchemy as sa
from sqlalchemy.dialects import mysql

from fireworks.database.kinds.kind import Cells, Kind, Place, Spec, each_cell
from fireworks.errors import WrongType, WrongValue
from fireworks.message.column import Column
from fireworks.message.kinds.extension import ExtensionColumn
from fireworks.message.kinds.string import StringColumn

KEY_CHARACTERS = 255
"""Longest text of a key: MariaDB indexes text only up to a declared length."""

MARIADB_COLLATION = "utf8mb4_nopad_bin"
"""Compares text as Python does: by code points, with spaces at the end."""


def text_type(*, is_key: bool = False) -> sa.types.TypeEngine[Any]:
    """Return the type of SQL for text of any length, or for a key."""
    if is_key:
        bounded = mysql.VARCHAR(KEY_CHARACTERS, charset="utf8mb4", collation=MARIADB_COLLATION)
        return sa.String(KEY_CHARACTERS).with_variant(bounded, "mysql", "mariadb")
    # MariaDB's TEXT ends at 64 kB.
    endless = mysql.LONGTEXT(charset="utf8mb4", collation=MARIADB_COLLATION)
    return sa.Text().with_variant(endless, "mysql", "mariadb")


@dataclass(frozen=True)
class TextKind(Kind):
    """Strings and None.

    Attributes:
        length: Most characters; none for any number.
    """

    name = "text"
    length: int | None = None

    @property
    def holds(self) -> sa.types.TypeEngine[Any]:
        return text_type()

    def read(self, cells: Sequence[Any], nullable: bool) -> Column:
        return StringColumn(pa.array(cells, pa.large_string()))

    def write(self, column: Column, place: Place) -> Cells:
        if isinstance(column, StringColumn):
            strings = column.array
        else:

            def convert(value: Any) -> str:
                if not isinstance(value, str):
                    raise TypeError
                return value

            try:
                strings = pa.array(each_cell(column, place, "text", convert), pa.large_string())
            except UnicodeEncodeError as error:
                raise WrongValue(
                    f"The column {place.column!r} holds half a surrogate pair, no text: {error}. "
                    "No row was written."
                ) from None
        return self._checked(strings, place)

    def _checked(self, strings: Any, place: Place) -> Cells:
        def check(fits: Any, why: str) -> None:
            if pc.call_function("all", [fits]).as_py() is False:
                row = pc.call_function("index", [fits], pc.IndexOptions(pa.scalar(False))).as_py()
                raise place.unfit(row, strings[row].as_py(), why)

        if place.dialect == "postgresql":
            options = pc.MatchSubstringOptions("\0")
            found = pc.call_function("match_substring", [strings], options)
            check(pc.call_function("invert", [found]), "PostgreSQL keeps no NUL character in text")
        if self.length is not None and place.dialect != "sqlite":
            counts = pc.call_function("utf8_length", [strings])
            fits = pc.call_function("less_equal", [counts, pa.scalar(self.length, pa.int64())])
            check(fits, f"it takes {self.length} characters")
        return strings


@dataclass(frozen=True)
class CategoryKind(Kind):
    """Values out of a list that is declared: pandas' categories.

    Attributes:
        categories: All of them, in their order: text, or integers.
        ordered: Whether the order means something.
    """

    name = "category"
    categories: tuple[str | int, ...]
    ordered: bool = False

    @property
    def spec(self) -> Spec:
        return {"kind": self.name, "categories": list(self.categories), "ordered": self.ordered}

    @property
    def of_text(self) -> bool:
        """Whether the categories are text."""
        return not self.categories or isinstance(self.categories[0], str)

    @property
    def holds(self) -> sa.types.TypeEngine[Any]:
        if self.of_text:
            return text_type()
        return sa.BigInteger()

    def read(self, cells: Sequence[Any], nullable: bool) -> Column:
        codes = {each: code for code, each in enumerate(self.categories)}
        try:
            found = [-1 if cell is None else codes[cell] for cell in cells]
        except KeyError as error:
            raise WrongValue(f"{error}, which is none of its values") from None
        return ExtensionColumn(pd.Categorical.from_codes(found, dtype=self._dtype()))

    def write(self, column: Column, place: Place) -> Cells:
        known = set(self.categories)

        def convert(value: Any) -> str | int:
            if not isinstance(value, str | int):
                raise TypeError
            if value not in known:
                shown = ", ".join(map(repr, self.categories[:10]))
                more = ", …" if len(self.categories) > 10 else ""
                raise WrongValue(f"it takes {shown}{more}")
            return value

        cells = each_cell(column, place, "the values of its list", convert)
        if self.of_text:
            text = StringColumn(pa.array(cells, pa.large_string()))
            return TextKind().write(text, place)
        return cells

    def _dtype(self) -> Any:
        if self.of_text:
            return pd.CategoricalDtype(pd.Index(list(self.categories), dtype="str"), self.ordered)
        return pd.CategoricalDtype(pd.Index(list(self.categories), dtype="int64"), self.ordered)


def category_kind(dtype: Any, name: str) -> CategoryKind:
    """Return the kind of a column of pandas' categories.

    Raises:
        WrongType: The categories are neither text nor integers of 64 bits.
    """
    categories = dtype.categories
    plain = categories.tolist()
    if not (all(isinstance(each, str) for each in plain) or categories.dtype == "int64"):
        raise WrongType(
            f"The categories of the column {name!r} are {categories.dtype}; a database keeps "
            "categories that are text or int64."
        )
    return CategoryKind(tuple(plain), bool(dtype.ordered))
