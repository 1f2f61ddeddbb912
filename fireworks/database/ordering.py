"""The order of keys: that of Python, whatever the collation of the column."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import mysql

from fireworks.database.columns import plain
from fireworks.database.kinds.text import MARIADB_COLLATION


def in_order(columns: Sequence[sa.Column[Any]], dialect: sa.Dialect) -> list[sa.ColumnElement[Any]]:
    """Return what to sort by, and to compare with, so that text goes by code points.

    A database's own collation may sort ``"a"`` before ``"B"``, and hold ``"a"``, ``"A"`` and
    ``"a "`` for the same.
    """
    return [_in_order(column, dialect) for column in columns]


def _in_order(column: sa.Column[Any], dialect: sa.Dialect) -> sa.ColumnElement[Any]:
    cell: Any = plain(column)
    cell = cell.element if isinstance(cell, sa.Label) else cell
    if not isinstance(cell.type, sa.String) or isinstance(cell.type, sa.Enum):
        return cell
    collation = getattr(column.type.dialect_impl(dialect), "collation", None)
    if dialect.name == "postgresql":
        return cell if collation == "C" else cell.collate("C")
    if dialect.name == "sqlite":
        return cell.collate("BINARY")
    if dialect.name not in ("mysql", "mariadb") or collation == MARIADB_COLLATION:
        return cell
    if not str(collation).startswith("utf8mb4"):  # another character set has no such collation
        cell = sa.cast(cell, mysql.CHAR(charset="utf8mb4"))
    return cell.collate(MARIADB_COLLATION)
