"""Rows of a SELECT chosen by conditions: on its own columns, or on those of its tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.sql import visitors

from fireworks.database.predicates import check_named, condition
from fireworks.database.selects import Query, Rows, analysed, checked, is_in, order_of
from fireworks.errors import ColumnNotFound, WrongType, WrongValue, suggest

Filter = tuple[Any, str | None, tuple[Any, ...]]
"""A column and a predicate with its values, or an expression."""

Condition = sa.ColumnElement[bool]


def filtered(
    query: object, key: Sequence[str] | None, filters: Sequence[Filter]
) -> tuple[Rows, list[Condition]]:
    """Return the rows of a SELECT, and the conditions on its columns that are left to be met.

    Conditions on columns that are not selected become part of the SELECT.

    Raises:
        As `QuerySource.filter` does.
    """
    rows = analysed(query, key)
    expressions = [_expression(each, rows) for each in filters]
    is_inside = [bool(_others(each, rows)) for each in expressions]
    if any(is_inside):
        inside = [each for each, yes in zip(expressions, is_inside, strict=True) if yes]
        rows = analysed(_narrowed(checked(query), rows, inside), key)
    outside = [each for each, yes in zip(filters, is_inside, strict=True) if not yes]
    return rows, [_moved(_expression(each, rows), rows) for each in outside]


def moved_order(rows: Rows) -> list[Condition]:
    """Return the ORDER BY of a SELECT for selecting from it: by itself, a subquery has no order.

    Raises:
        WrongValue: It is by a column that is not selected.
    """
    order = order_of(rows.query)
    for each in order:
        if others := _others(each, rows):
            raise WrongValue(
                f"The query is ordered by {', '.join(map(str, others))}, which it does not select; "
                "select it too, so that a filter keeps the order."
            )
    return [_moved(each, rows) for each in order]


def _narrowed(query: Query, rows: Rows, conditions: Sequence[Condition]) -> sa.Select[Any]:
    """Return the SELECT with conditions on columns of its tables."""
    for each in conditions:
        others = _others(each, rows)
        if not isinstance(query, sa.Select) or not rows.is_plain:
            reason = "A row of the query is not a row of its tables; the condition can only be on"
        elif not all(is_in(other, query) for other in others):
            reason = "These are not in the query; the condition can only be on its tables or on"
        else:
            continue
        raise WrongType(
            f"The condition {str(each)!r} is on {', '.join(map(str, others))}. {reason}: "
            f"{', '.join(rows.shown)}."
        )
    assert isinstance(query, sa.Select)
    return query.where(*conditions)


def _expression(given: Filter, rows: Rows) -> Condition:
    column, predicate, values = given
    if isinstance(column, str):
        if column not in rows.shown:
            raise ColumnNotFound(
                f"The query has no column {column!r}.{suggest(column, rows.shown)}"
            )
        column = rows.columns[column]
        check_named(given[0], predicate)
    return condition(column, predicate, values)


def _moved(expression: Condition, rows: Rows) -> Condition:
    """Return an expression with the columns of tables replaced by those of the SELECT."""

    def replace(element: Any, **_: Any) -> Any:
        if isinstance(element, sa.ColumnClause):
            return rows.table.corresponding_column(element, require_embedded=True)
        return None

    return visitors.replacement_traverse(expression, {}, replace)


def _others(expression: Condition, rows: Rows) -> list[sa.ColumnElement[Any]]:
    """Return the columns in an expression that the SELECT does not have."""
    own: Any = rows.table
    return [
        each
        for each in visitors.iterate(_moved(expression, rows))
        if isinstance(each, sa.Column) and each.table is not own
    ]
