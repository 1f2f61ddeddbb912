"""What a SELECT gives: columns and their types, and by which of them its rows are told apart."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import sqlalchemy as sa
from sqlalchemy.sql import operators, visitors
from sqlalchemy.sql.elements import (
    ColumnClause,
    Label,
    Over,
    UnaryExpression,
    _label_reference,
    _textual_label_reference,
)
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.sql.selectable import Alias, CompoundSelect, FromClause, Join, TextualSelect

from fireworks.database.keyset import keeps_order
from fireworks.errors import ColumnNotFound, WrongType, WrongValue, suggest

# SQLAlchemy has no public way to ask a SELECT for its clauses.
# pyright: reportPrivateUsage=false

Query = sa.Select[Any] | CompoundSelect[Any] | TextualSelect
Element = sa.ColumnElement[Any]

_AGGREGATES = {
    "count", "sum", "min", "max", "avg", "total", "group_concat", "string_agg", "array_agg",
    "json_agg", "jsonb_agg", "json_group_array", "json_group_object", "json_arrayagg", "bool_and",
    "bool_or", "every", "bit_and", "bit_or", "bit_xor", "std", "stddev", "stddev_pop",
    "stddev_samp", "variance", "var_pop", "var_samp", "median", "mode", "percentile_cont",
    "percentile_disc", "aggregate_strings", "xmlagg",
}  # fmt: skip
_NUMBERS = {"count", "row_number", "rank", "dense_rank", "ntile"}
"""Functions that give an integer and never NULL."""
_MEANS = {
    "avg", "std", "stddev", "stddev_pop", "stddev_samp", "variance", "var_pop", "var_samp",
    "percent_rank", "cume_dist",
}  # fmt: skip
"""Functions that give a floating point number, or a decimal that is read as one."""


@dataclass(frozen=True)
class Rows:
    """The rows of a SELECT, to be selected from.

    Attributes:
        query: The SELECT.
        table: The same as a subquery.
        columns: The columns of the subquery, by the names that a Message has them under.
        fields: For each column its name, declared type and whether NULL may occur.
        shown: Names of the columns to pass on; the others belong to the key only.
        key: Names of the columns that tell rows apart and by which they are ordered; empty where
            none are known.
        key_is_certain: Whether the tables say that the key tells rows apart; else a user does.
        is_plain: Whether leaving out rows of the result is leaving out rows of the tables.
        pages: Whether rows behind a key are found without computing those before it: one table,
            and an index on the key.
    """

    query: Query
    table: sa.Subquery
    columns: Mapping[str, Element]
    fields: Sequence[sa.Column[Any]]
    shown: Sequence[str]
    key: Sequence[str]
    key_is_certain: bool
    is_plain: bool
    pages: bool


def analysed(query: object, key: Sequence[str] | None = None) -> Rows:
    """Return what a SELECT gives.

    Args:
        query: The SELECT.
        key: Columns that tell its rows apart; None to find out.

    Raises:
        WrongType: It is no SELECT, or text without columns.
        ColumnNotFound: A column of the key is none of the select's.
        WrongValue: A column of the key cannot be one.
    """
    select = checked(query)
    elements = _named(select)
    shown = list(elements)
    is_plain = isinstance(select, sa.Select) and _is_plain(select, elements.values())
    is_certain = True
    if key is not None:
        names = _given(key, elements)
        unique = _unique(select, elements) if isinstance(select, sa.Select) else None
        is_certain = unique is not None and {_name_of(each, elements) for each in unique} <= {
            *names
        }
    else:
        found = _key(select, elements) if isinstance(select, sa.Select) else []
        names = [_name_of(each, elements) for each in found]
        if None in names and not is_plain:  # another column would be other rows
            names = []
        for place, (name, column) in enumerate(zip(names, found, strict=False)):
            if name is None and isinstance(select, sa.Select):
                names[place] = hidden = f"fireworks_key_{place}"
                elements[hidden] = column
                select = select.add_columns(column.label(hidden))
    key_names = [each for each in names if each is not None]
    pages = (
        is_plain and is_certain and _is_searched_by(select, [elements[each] for each in key_names])
    )
    if key_names and isinstance(select, sa.Select) and not _is_limited(select):
        select = select.order_by(None)
    table = select.subquery("fireworks_rows")
    columns: dict[str, Element] = dict(zip(elements, table.c, strict=True))
    return Rows(
        query=select,
        table=table,
        columns=columns,
        fields=_fields(columns, elements, select),
        shown=shown,
        key=key_names,
        key_is_certain=is_certain,
        is_plain=is_plain,
        pages=pages,
    )


def order_of(query: Query) -> Sequence[Element]:
    """Return the ORDER BY of a SELECT."""
    return query._order_by_clauses if isinstance(query, sa.Select | CompoundSelect) else ()


def is_in(column: Element, query: sa.Select[Any]) -> bool:
    """Return whether a column is of a table that a SELECT selects from."""
    return any(_is_one_of(column, table.c) for table in query.get_final_froms())


def checked(query: object) -> Query:
    """Return a query if it is one, and has columns.

    Raises:
        WrongType: It is something else.
    """
    if isinstance(query, str | sa.TextClause):
        raise WrongType(
            "The query is text without columns. Say which it has and of which types: "
            "sqlalchemy.text('SELECT …').columns(id=Integer, name=String)."
        )
    if isinstance(query, sa.Table) or hasattr(query, "__table__"):
        query = sa.select(cast("sa.Table", query))
    if not isinstance(query, sa.Select | CompoundSelect | TextualSelect):
        raise WrongType(
            f"A query is a SELECT of SQLAlchemy, such as select(table), not {query!r:.80}."
        )
    if not list(query.selected_columns):
        raise WrongType(f"The query has no columns: {str(query)!r:.80}.")
    return query


def _given(key: Sequence[str], elements: Mapping[str, Element]) -> list[str | None]:
    """Return the key that the user named."""
    names = list(key)
    for name in names:
        if name not in elements:
            raise ColumnNotFound(f"The query has no column {name!r}.{suggest(name, elements)}")
        if not keeps_order(elements[name].type):
            raise WrongValue(
                f"The column {name!r} of {elements[name].type!r} cannot be a key: rows are told "
                "apart and put in order by integers, decimals, text, times, UUIDs or bytes."
            )
    if not names:
        raise WrongValue("key names no column; leave it out where the query has no key.")
    return [*names]


def _named(query: Query) -> dict[str, Element]:
    """Return the columns of a SELECT by the names that they have in SQLAlchemy's results."""
    named: dict[str, Element] = {}
    numbers: dict[str, int] = {}
    for name, element in zip(query.selected_columns.keys(), query.selected_columns, strict=True):
        if not isinstance(element, ColumnClause | Label):
            base = str(element.name) if isinstance(element, FunctionElement) else "anon"
            numbers[base] = numbers.get(base, 0) + 1
            name = f"{base}_{numbers[base]}"
        named[str(name)] = element
    return named


def _fields(
    columns: Mapping[str, Element], elements: Mapping[str, Element], query: Query
) -> list[sa.Column[Any]]:
    froms = query.get_final_froms() if isinstance(query, sa.Select) else []
    required_tables = [each for one in froms for each in _required_tables(one)]
    # A SELECT inside may have an outer join, too.
    is_certain = bool(froms) and not any(
        isinstance(each, Join) and (each.isouter or each.full) for each in _parts(query)
    )
    fields: list[sa.Column[Any]] = []
    for name, column in columns.items():
        table = getattr(_bare(elements[name]), "table", None)
        is_base = isinstance(table, sa.Table) and table in required_tables
        required = getattr(column, "nullable", True) is False and (is_base or is_certain)
        function, kind = _function(elements[name]), column.type
        if isinstance(kind, sa.types.NullType):  # SQLAlchemy knows no type of these
            kind = sa.BigInteger() if function in _NUMBERS else kind
            kind = sa.Double() if function in _MEANS else kind
        nullable = not (required or function in _NUMBERS)
        fields.append(sa.Column(name, kind, nullable=nullable))
    sa.Table("the query", sa.MetaData(), *fields)  # a column names its table in messages
    return fields


def _required_tables(table: FromClause) -> list[FromClause]:
    """Return what is selected from, less the sides of outer joins that may have no partner."""
    if not isinstance(table, Join):
        return [table]
    left = [] if table.full else _required_tables(table.left)
    return left if table.isouter or table.full else [*left, *_required_tables(table.right)]


def _parts(query: Query) -> Iterator[Any]:
    """Yield every part of a SELECT, the joins that it is made of included."""
    for each in visitors.iterate(query):
        yield each
        if isinstance(each, sa.Select):
            for one in each.get_final_froms():
                yield from visitors.iterate(one)


def tables_of(query: Query) -> list[sa.Table]:
    """Return the tables that a SELECT reads from, each once."""
    return list(dict.fromkeys(each for each in _parts(query) if isinstance(each, sa.Table)))


def _function(element: Element) -> str | None:
    """Return the name of the function that a column is the value of."""
    while isinstance(element, Label | Over):
        element = element.element
    return str(element.name).lower() if isinstance(element, FunctionElement) else None


# -- clauses --------------------------------------------------------------------------------------


def _is_limited(query: sa.Select[Any]) -> bool:
    clauses = (query._limit_clause, query._offset_clause, query._fetch_clause)
    return any(each is not None for each in clauses)


def _is_plain(query: sa.Select[Any], elements: Iterable[Element]) -> bool:
    grouped = query._group_by_clauses or query._having_criteria or query._distinct
    if grouped or _is_limited(query):
        return False
    return not any(
        isinstance(part, Over)
        or (isinstance(part, FunctionElement) and str(part.name).lower() in _AGGREGATES)
        for element in elements
        for part in visitors.iterate(element)
    )


def _same(one: Element, other: Element) -> bool:
    """Return whether two expressions are one column of one table, mapped or not."""
    return isinstance(one, ColumnClause) and isinstance(other, ColumnClause) and bool(one == other)


def _is_one_of(column: Element, columns: Iterable[Element]) -> bool:
    return any(_same(column, each) for each in columns)


def _name_of(column: Element, elements: Mapping[str, Element]) -> str | None:
    """Return under which name a column of a table is selected."""
    for name, element in elements.items():
        if _same(column, _bare(element)):
            return name
    return None


# -- keys -----------------------------------------------------------------------------------------


def _key(query: sa.Select[Any], elements: Mapping[str, Element]) -> list[Element]:
    """Return columns that tell the rows apart, in the order that the query asks for; or none."""
    unique = _unique(query, elements)
    order = _order(query, elements)
    if unique is None or order is None:
        return []
    missing = [each for each in unique if not _is_one_of(each, order)]
    if _is_limited(query) and missing:
        return []  # which rows are within the limit may change from one SELECT to the next
    key = [*order, *missing]
    return key if all(keeps_order(each.type) for each in key) else []


def _unique(query: sa.Select[Any], elements: Mapping[str, Element]) -> list[Element] | None:
    grouped = query._group_by_clauses
    if grouped:
        return list(grouped) if all(map(_is_required, grouped)) else None
    if any(_function(each) in _AGGREGATES for each in elements.values() if not _is_over(each)):
        return None
    keys = [_key_of(each) for each in query.get_final_froms()]
    if not keys or None in keys:
        return None
    return [column for key in keys for column in key or ()]


def _is_over(element: Element) -> bool:
    return isinstance(_bare(element), Over)


def _is_required(column: Element) -> bool:
    return isinstance(column, sa.Column) and column.nullable is False


def _key_of(table: FromClause) -> list[Element] | None:
    """Return columns that tell the rows of what is selected from apart."""
    if isinstance(table, Join):
        left, right = _key_of(table.left), _key_of(table.right)
        if table.full or left is None or right is None:
            return None
        equal = _equated(table.onclause)
        if all(_has_partner(column, equal, table.left) for column in right):
            return left  # each row on the left has one partner at the most
        if table.isouter:
            return None
        if all(_has_partner(column, equal, table.right) for column in left):
            return right
        return [*left, *right]
    if isinstance(table, sa.Table) or (
        isinstance(table, Alias) and isinstance(table.element, sa.Table)
    ):
        return list(table.primary_key) or None
    return None


def _equated(condition: object) -> list[tuple[Element, Element]]:
    """Return the pairs of columns of which a condition says that they are equal."""
    if isinstance(condition, sa.BooleanClauseList) and condition.operator is operators.and_:
        return [pair for each in condition.clauses for pair in _equated(each)]
    if isinstance(condition, sa.BinaryExpression) and condition.operator is operators.eq:
        return [(condition.left, condition.right), (condition.right, condition.left)]
    return []


def _has_partner(
    column: Element, equal: Iterable[tuple[Element, Element]], others: FromClause
) -> bool:
    """Return whether a column equals one of the tables on the other side."""
    return any(_same(column, one) and _is_one_of(other, others.c) for one, other in equal)


def _order(query: sa.Select[Any], elements: Mapping[str, Element]) -> list[Element] | None:
    """Return the columns of ORDER BY; None where it is not by required columns, upwards."""
    order: list[Element] = []
    for clause in query._order_by_clauses:
        element: Any = clause
        if isinstance(element, UnaryExpression) and element.modifier is operators.asc_op:
            element = element.element
        if isinstance(element, _textual_label_reference):
            element = elements.get(element.element)
        elif isinstance(element, _label_reference):
            element = element.element
        element = _bare(element)
        if element is None or not _is_required(element):
            return None
        order.append(element)
    return order


def _is_searched_by(query: Query, key: Sequence[Element]) -> bool:
    """Return whether one table is selected from, and has an index that begins with a key."""
    froms = query.get_final_froms() if isinstance(query, sa.Select) else []
    table: Any = froms[0] if len(froms) == 1 else None
    table = table.element if isinstance(table, Alias) else table
    if not isinstance(table, sa.Table):
        return False
    names = [getattr(_bare(each), "name", None) for each in key]
    indices = [table.primary_key, *table.indexes]
    indices += [each for each in table.constraints if isinstance(each, sa.UniqueConstraint)]
    return bool(names) and any(
        [column.name for column in each.columns][: len(names)] == names for each in indices
    )


def _bare(element: Any) -> Any:
    """Return what has a label."""
    return element.element if isinstance(element, Label) else element
