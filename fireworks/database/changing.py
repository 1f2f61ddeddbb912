"""Rows of a table that are named by their keys, to be changed or deleted."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from fireworks.database.engine import columns_named
from fireworks.database.ordering import in_order
from fireworks.database.parameters import column_cells
from fireworks.database.transactions import Transaction
from fireworks.errors import ColumnNotFound, WrongType, WrongValue
from fireworks.message import Message

_PARAMETERS = 10_000
"""Bound parameters a statement; SQLite takes 32,766, others more."""

Columns = Sequence[sa.Column[Any]]


def change_by_key(transaction: Transaction, table: sa.Table, key: Columns, rows: Message) -> int:
    """Change the rows with these keys in their other columns; return how many there were.

    Raises:
        ColumnNotFound: The rows lack a column of the key, or have one that the table has not.
        WrongValue: They have nothing but the key.
    """
    _check_keys(key, rows)
    changed = [each for each in columns_named(table, rows.columns) if each not in set(key)]
    if not changed:
        raise WrongValue(
            f"update changes other columns than the key; these rows have only {rows.columns}."
        )
    if not len(rows):
        return 0
    columns = [*key, *changed]
    names = [f"cell_{number}" for number in range(len(columns))]
    bound = {
        column: sa.bindparam(name, type_=column.type)
        for column, name in zip(columns, names, strict=True)
    }
    done = 0

    def write(connection: sa.Connection, some: Message) -> None:
        nonlocal done
        cells = [
            column_cells(some, str(column.name), column, connection.dialect) for column in columns
        ]
        ordered = in_order(key, connection.dialect)
        is_row = sa.and_(
            *(column == bound[column] for column in key),
            *(exact == bound[column] for exact, column in zip(ordered, key, strict=True)),
        )
        statement = sa.update(table).where(is_row)
        statement = statement.values({column: bound[column] for column in changed})
        records = [dict(zip(names, row, strict=True)) for row in zip(*cells, strict=True)]
        done = connection.execute(statement, records).rowcount

    transaction.write(rows, write)
    return done


def conditions_for(
    key: Columns, rows: Message | Mapping[str, Any] | Sequence[Any], dialect: sa.Dialect
) -> Generator[sa.ColumnElement[bool]]:
    """Yield conditions that together hold for the rows with the given keys, and no others.

    Args:
        key: The columns of the key.
        rows: Rows that have them, or a list of keys, tuples where there are several columns.
        dialect: The database's.

    Raises:
        ColumnNotFound: The rows lack a column of the key.
        WrongType: A key is of another type than its column, or no tuple of as many cells.
    """
    message = rows if isinstance(rows, Message) else _as_message(key, rows)
    _check_keys(key, message)
    across = [column_cells(message, str(each.name), each, dialect) for each in key]
    cells = list(zip(*across, strict=True))
    ordered = in_order(key, dialect)
    at_once = _PARAMETERS // len(key)
    for start in range(0, len(cells), at_once):
        some = cells[start : start + at_once]
        # The index is on the column as it is; its own collation may hold other keys for the same.
        chosen = _is_one_of(key, some)
        yield sa.and_(chosen, _is_one_of(ordered, some))


def _is_one_of(
    columns: Sequence[sa.ColumnElement[Any]], cells: Sequence[tuple[Any, ...]]
) -> sa.ColumnElement[bool]:
    if len(columns) == 1:
        return columns[0].in_([cell for (cell,) in cells])
    return sa.tuple_(*columns).in_(cells)


def _as_message(key: Columns, rows: Mapping[str, Any] | Sequence[Any]) -> Message:
    if isinstance(rows, Mapping):
        return Message(rows)
    if isinstance(rows, str | bytes):
        raise WrongType(f"keys come in a list, not as {rows!r}.")
    listed = list(rows)
    if len(key) == 1:
        return Message({str(key[0].name): listed})
    if not all(isinstance(each, tuple) and len(each) == len(key) for each in listed):
        raise WrongType(f"a key here is a tuple of {len(key)} cells.")
    across = list(zip(*listed, strict=True)) or [()] * len(key)
    return Message(
        {str(column.name): list(cells) for column, cells in zip(key, across, strict=True)}
    )


def _check_keys(key: Columns, rows: Message) -> None:
    for column in key:
        if column.name not in rows.columns:
            raise ColumnNotFound(
                f"The table {column.table.name!r} has the key {column.name!r}, which the rows "
                f"lack; they have {', '.join(map(repr, rows.columns))}."
            )
