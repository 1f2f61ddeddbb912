"""Conditions on a column by name: what ``QuerySource.filter`` takes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import sqlalchemy as sa

from fireworks.errors import WrongType, WrongValue, suggest

Column = sa.ColumnElement[Any]

PREDICATES: dict[str, tuple[int, Callable[..., sa.ColumnElement[bool]]]] = {
    "==": (1, lambda column, value: column == value),
    "!=": (1, lambda column, value: column != value),
    "<": (1, lambda column, value: column < value),
    "<=": (1, lambda column, value: column <= value),
    ">": (1, lambda column, value: column > value),
    ">=": (1, lambda column, value: column >= value),
    "between": (2, lambda column, low, high: column.between(low, high)),
    "not between": (2, lambda column, low, high: ~column.between(low, high)),
    "in": (1, lambda column, values: column.in_(values)),
    "not in": (1, lambda column, values: column.not_in(values)),
    "like": (1, lambda column, pattern: column.like(pattern)),
    "not like": (1, lambda column, pattern: column.not_like(pattern)),
    "startswith": (1, lambda column, text: column.startswith(text, autoescape=True)),
    "endswith": (1, lambda column, text: column.endswith(text, autoescape=True)),
    "contains": (1, lambda column, text: column.contains(text, autoescape=True)),
    "is null": (0, lambda column: column.is_(None)),
    "is not null": (0, lambda column: column.is_not(None)),
}
"""How many values each predicate takes, and what it makes of a column and these."""


def condition(given: Any, predicate: str | None, values: Sequence[Any]) -> sa.ColumnElement[bool]:
    """Return a condition as SQL, with the values as bound parameters.

    Args:
        given: A column or other expression, or an attribute of a mapped class; without a
            predicate, the condition itself.
        predicate: The predicate's name.
        values: What it compares with.

    Raises:
        WrongType: It is no expression.
        WrongValue: There is no such predicate, or it takes another number of values.
    """
    # Attributes of mapped classes become expressions here.
    column: Any = getattr(given, "__clause_element__", lambda: given)()
    if not isinstance(column, sa.ColumnElement):
        raise WrongType(
            "a condition is the name of a column with a predicate, or an SQLAlchemy expression, "
            f"not {column!r}."
        )
    if predicate is None:
        return column
    if predicate not in PREDICATES:
        raise WrongValue(f"There is no predicate {predicate!r}.{suggest(predicate, PREDICATES)}")
    number, made = PREDICATES[predicate]
    if len(values) != number:
        raise WrongValue(
            f"The predicate {predicate!r} takes {number} value{'' if number == 1 else 's'}; it "
            f"was given {len(values)}: {', '.join(map(repr, values))}."
        )
    if predicate in ("in", "not in"):
        if isinstance(values[0], str | bytes) or not isinstance(values[0], Iterable):
            raise WrongValue(
                f"The predicate {predicate!r} takes a list of values, not {values[0]!r}."
            )
        return made(column, [_plain(each) for each in values[0]])
    return made(column, *map(_plain, values))


def check_named(name: str, predicate: str | None) -> None:
    """Refuse a column that is named without saying what it is to fulfil."""
    if predicate is None:
        raise WrongValue(
            f"filter({name!r}) needs a predicate and values: filter({name!r}, '>', 0)."
        )


def _plain(value: Any) -> Any:
    """Return a cell of an array or tensor as the Python object that drivers understand."""
    # SQLite would store the bytes of a numpy integer.
    return value.item() if isinstance(value, np.generic) or hasattr(value, "numel") else value
