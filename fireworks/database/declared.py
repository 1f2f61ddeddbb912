"""How a table declares the kinds of its columns, so that its description need not be carried along.

Most types of SQL say enough. What they do not say (tensors, small numbers, zones, categories) a
`MarkedType` adds as a mark: in SQLite inside the declared type, which it keeps word for word, and
elsewhere in the column's comment. A table that is reflected by its name has its marks read back.
"""

from __future__ import annotations

import hashlib
import json
import re
from functools import lru_cache
from typing import Any, cast

import numpy as np
import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.dialects import mysql, postgresql
from sqlalchemy.ext.compiler import compiles

from fireworks.database.kinds.kind import Kind, Spec
from fireworks.database.kinds.numbers import (
    INTEGER_RANGES,
    BooleanKind,
    DecimalKind,
    FloatKind,
    IntegerKind,
)
from fireworks.database.kinds.objects import (
    BytesKind,
    JsonKind,
    ListKind,
    ObjectKind,
    UuidKind,
)
from fireworks.database.kinds.tensors import ArrayKind, TensorKind
from fireworks.database.kinds.text import CategoryKind, TextKind
from fireworks.database.kinds.times import DateKind, DatetimeKind, DurationKind, TimeKind
from fireworks.errors import DamagedFile

SqlType = sa.types.TypeEngine[Any]

_SHOWN_CHARACTERS = 60

_MARK = "fireworks "
_MARKED = re.compile(r"fireworks (\{.*\})", re.S)


class MarkedType(sa.types.TypeDecorator[Any]):
    """The type of a column whose kind SQL has no name for: what holds it, and a mark."""

    impl = sa.LargeBinary
    cache_ok = True

    def __init__(self, kind: Kind) -> None:
        super().__init__()
        self.kind = kind
        self.impl = kind.holds

    @property
    def mark(self) -> str:
        """What tells the kind when the table is reflected."""
        return _MARK + json.dumps(self.kind.spec, separators=(",", ":"))

    def load_dialect_impl(self, dialect: sa.Dialect) -> SqlType:
        """Return what holds the cells in this database."""
        return self.kind.holds.dialect_impl(dialect)

    def process_bind_param(self, value: Any, dialect: sa.Dialect) -> Any:
        """Return a cell for the driver; one that is ready for it goes through as it is."""
        return None if value is None else self.kind.bind(value, dialect.name)

    def process_result_value(self, value: Any, dialect: sa.Dialect) -> Any:
        """Return the value that one cell stands for."""
        if value is None:
            return None
        column = self.kind.read([value], nullable=False)
        return column.objects()[0] if column.field.kind != "tensor" else column.array[0]

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.kind!r})"


class TensorType(MarkedType):
    """One tensor a row, as bytes that ``numpy.load`` reads.

    The bytes carry dtype and shape. Tensors come back on the CPU, without gradients.

    Args:
        dtype: The dtype that a column without rows has; rows bring their own.
        shape: The shape of one row in a column without rows.
        stacked: Whether the rows that are read make one tensor; they have to agree in dtype and
            shape. If not, each row is an object: a tensor, or None.
    """

    cache_ok = True

    def __init__(
        self,
        dtype: Any = None,
        shape: tuple[int, ...] | None = None,
        *,
        stacked: bool = True,
    ) -> None:
        # SQLAlchemy tells types of one class from each other by these.
        self.dtype = None if dtype is None else str(dtype).removeprefix("torch.")
        self.shape = None if shape is None else tuple(shape)
        self.stacked = stacked
        super().__init__(TensorKind(self.dtype, self.shape, stacked))


@event.listens_for(MarkedType, "before_parent_attach", propagate=True)
def _comment(target: MarkedType, parent: Any) -> None:  # pyright: ignore[reportUnusedFunction]
    """Put the mark beside a column's own comment."""
    if isinstance(parent, sa.Column) and target.mark not in (parent.comment or ""):
        parent.comment = f"{parent.comment} {target.mark}" if parent.comment else target.mark


@compiles(MarkedType, "sqlite")
def _declaration(  # pyright: ignore[reportUnusedFunction]
    type_: MarkedType, compiler: Any, **options: Any
) -> str:
    """Return a declared type with the mark inside, which leaves its affinity what it is."""
    base = compiler.process(type_.kind.holds.dialect_impl(compiler.dialect), **options)
    # SQLite takes every type with INT in it for an integer.
    harmless = re.sub("i(?=nt)", r"\\u0069", type_.mark, flags=re.I)
    name, parenthesis, length = base.partition("(")
    return f'{name} "' + harmless.replace('"', '""') + '"' + parenthesis + length


def kind_marked(text: str | None) -> Kind | None:
    """Return the kind that a declared type or a comment is marked with, if it is.

    Raises:
        DamagedFile: The mark cannot be read.
    """
    found = _MARKED.search(text or "")
    if found is None:
        return None
    try:
        return kind_from(json.loads(found[1]))
    except (ValueError, KeyError, TypeError) as error:
        raise DamagedFile(
            f"A column is marked {found[0]!r}, which this version cannot read: {error!r}."
        ) from error


def kind_from(spec: Spec) -> Kind:
    """Return the kind that a `Kind.spec` describes."""
    options = {name: value for name, value in spec.items() if name != "kind"}
    kind = _KINDS[spec["kind"]]
    if kind is IntegerKind:
        return IntegerKind.of(np.dtype(options["dtype"]))
    if kind is FloatKind:
        dtype = np.dtype(options["dtype"])
        return FloatKind(dtype, dtype, options["masked"])
    for name, value in options.items():
        if isinstance(value, list):
            options[name] = tuple(cast("list[Any]", value))
    return kind(**options)


_KINDS: dict[str, Any] = {
    each.name: each
    for each in (
        ArrayKind, BooleanKind, BytesKind, CategoryKind, DateKind, DatetimeKind, DecimalKind,
        DurationKind, FloatKind, IntegerKind, JsonKind, TensorKind, TextKind, TimeKind, UuidKind,
    )
}  # fmt: skip


def shown(column: sa.Column[Any]) -> str:
    """Return a column's kind in short, for a state to be compared with another."""
    kind = kind_of(column.type)
    options = ",".join(f"{k}={v}" for k, v in kind.spec.items() if k != "kind")
    if len(options) > _SHOWN_CHARACTERS:  # many categories
        digest = hashlib.sha256(options.encode()).hexdigest()[:12]
        options = f"{options[:_SHOWN_CHARACTERS]}… {digest}"
    return f"{kind.name}({options})" + ("?" if column.nullable else "")


@lru_cache(maxsize=4096)  # asked for every column of every batch
@lru_cache(maxsize=1024)
def kind_of(type_: SqlType) -> Kind:
    """Return the kind that a type of SQL declares."""
    if isinstance(type_, MarkedType):
        return type_.kind
    if isinstance(type_, postgresql.DOMAIN):
        return kind_of(type_.data_type)
    if isinstance(type_, mysql.TINYINT) and type_.display_width == 1:
        return BooleanKind()
    for kind, declares in _DECLARES:
        if isinstance(type_, declares):
            return kind if isinstance(kind, Kind) else kind(type_)
    return ObjectKind()


def _integer(type_: Any) -> Kind:
    unsigned = getattr(type_, "unsigned", False)
    if isinstance(type_, sa.BigInteger):
        return IntegerKind.of(np.dtype(np.uint64)) if unsigned else IntegerKind()
    if isinstance(type_, mysql.MEDIUMINT):
        low, high = (0, 2**24 - 1) if unsigned else (-(2**23), 2**23 - 1)
    else:
        bits = 16 if isinstance(type_, sa.SmallInteger) else 32
        bits = 8 if isinstance(type_, mysql.TINYINT) else bits
        low, high = INTEGER_RANGES[np.dtype(f"{'u' if unsigned else ''}int{bits}")]
    return IntegerKind(low=low, high=high)


def _float(type_: Any) -> Kind:
    single = isinstance(type_, sa.REAL | mysql.FLOAT) or (type_.precision or 53) < 25
    return FloatKind(stored=np.dtype(np.float32 if single else np.float64))


def _number(type_: Any) -> Kind:
    if not type_.asdecimal:
        return FloatKind()
    return DecimalKind(type_.precision, type_.scale)


def _enum(type_: Any) -> Kind:
    return CategoryKind(tuple(type_.enums)) if type_.enum_class is None else ObjectKind()


_BYTES = (
    sa.LargeBinary | sa.BINARY | sa.VARBINARY
    | mysql.TINYBLOB | mysql.MEDIUMBLOB | mysql.LONGBLOB
)  # fmt: skip

# The first that fits: some types of SQL are subclasses of others.
_DECLARES: list[tuple[Any, Any]] = [
    (BooleanKind(), sa.Boolean),
    (_integer, sa.Integer),
    (_float, sa.Float),
    (_number, sa.Numeric),
    (lambda type_: DatetimeKind(zone="UTC" if type_.timezone else None), sa.DateTime),
    (DateKind(), sa.Date),
    (lambda type_: TimeKind(bool(type_.timezone)), sa.Time),
    (DurationKind(native=True), sa.Interval | postgresql.INTERVAL),
    (UuidKind(), sa.Uuid),
    (JsonKind(), sa.JSON),
    (ListKind(), sa.ARRAY),
    (_enum, sa.Enum),
    (lambda type_: BytesKind(type_.length), _BYTES),
    (ObjectKind(), mysql.SET),
    (lambda type_: TextKind(type_.length), sa.String),
]
