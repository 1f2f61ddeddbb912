"""Tables of the user's own in ``experiment.sqlite``, each row marked with its trial and seq."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

from fireworks.errors import TableNotFound, WrongType, WrongValue, suggest
from fireworks.record.json_values import check_unicode
from fireworks.record.schema import MARKS, NO_TRIAL, OWN_TABLES, quoted, user_tables
from fireworks.record.store import Connection, Store

if TYPE_CHECKING:
    import sqlalchemy

    from fireworks.database import TableSource
    from fireworks.message import Message

KEY = "id"
STEP = "step"


def check_table_name(name: object) -> str:
    """Return ``name`` if a user's table may have it.

    Raises:
        WrongType, WrongValue: It is no string, empty, or one of the record's own tables.
    """
    if not isinstance(name, str):
        raise WrongType(f"A table's name must be a string; got {type(name).__name__}: {name!r}.")
    check_unicode(name, what="A table's name")
    if not name.strip() or not name.isprintable() or name.lower().startswith("sqlite_"):
        raise WrongValue(f"A table cannot be called {name!r:.60}. Choose a plain name.")
    if name.lower() in OWN_TABLES:
        raise WrongValue(
            f"The table {name!r} is the record's own. Choose another name, or read it with "
            f".message({name!r})."
        )
    return name


def create(
    store: Store, name: str, columns: Message | Mapping[str, Any], *, logged: bool = False
) -> sqlalchemy.Table:
    """Create a table, unless it is there, and the triggers that mark each new row.

    Args:
        store: The experiment's database.
        name: The table.
        columns: A Message, or SQLAlchemy types by name.
        logged: Whether its rows have a step.

    Returns:
        Its description, without what the record adds.

    Raises:
        WrongValue: A column has one of the names that the record adds, or the table exists and
            has other columns.
    """
    import sqlalchemy as sa
    from sqlalchemy.schema import CreateTable, SetColumnComment

    from fireworks.database import create_table
    from fireworks.message import Message

    taken = {*MARKS, *((STEP,) if logged else ())}
    names = columns.columns if isinstance(columns, Message) else list(columns)
    if clashing := sorted(taken & {each.lower() for each in names}):
        raise WrongValue(
            f"The table {name!r} cannot have a column {clashing[0]!r}: the record adds one of "
            "that name. Rename yours."
        )
    described = create_table(name, columns, key=KEY) if KEY in names else _numbered(name, columns)
    whole = described.to_metadata(sa.MetaData())
    with store.transaction() as connection:
        if name in user_tables(connection):
            there = [each for each in columns_of(connection, name) if each not in taken]
            wanted = [column.name for column in described.columns]
            if there != wanted:
                raise WrongValue(
                    f"The table {name!r} is there already, with the columns {there}; "
                    f"asked for {wanted}."
                )
            return described
        whole.append_column(
            sa.Column("trial", sa.Integer, nullable=False, server_default=str(NO_TRIAL))
        )
        whole.append_column(sa.Column("seq", sa.BigInteger, nullable=False, server_default="0"))
        if logged:
            whole.append_column(sa.Column(STEP, sa.BigInteger, nullable=False))
        dialect = _dialect(store.url)
        connection.execute(str(CreateTable(whole).compile(dialect=dialect)))
        if dialect.supports_comments:  # which mark the kinds of columns, see database.declared
            for each in whole.columns:
                if each.comment:
                    connection.execute(str(SetColumnComment(each).compile(dialect=dialect)))
        if logged:
            connection.execute(
                f"CREATE INDEX {quoted(name + ' by step')} ON {quoted(name)} (trial, {STEP})"
            )
        # Whoever writes a row, and through whatever, it counts from the next position on.
        connection.mark_new_rows(name, [each.name for each in described.columns])
    return described


@cache
def _dialect(url: str) -> sqlalchemy.Dialect:
    """What the store's SQL is written for."""
    import sqlalchemy as sa
    from sqlalchemy.pool import NullPool

    # Not psycopg's own style, in which a per cent sign is written twice.
    return sa.create_engine(url, poolclass=NullPool, paramstyle="named").dialect


def _numbered(name: str, columns: Message | Mapping[str, Any]) -> sqlalchemy.Table:
    """A table whose rows are numbered by a column ``id``."""
    import sqlalchemy as sa

    from fireworks.database import create_table
    from fireworks.message import Message

    if isinstance(columns, Message):
        import numpy

        whole = Message({KEY: numpy.zeros(len(columns), "int64")}).merge(columns)
        described = create_table(name, whole, key=KEY)
    else:
        described = create_table(name, {KEY: sa.Integer, **columns}, key=KEY)
    key = described.columns[KEY]
    key.type = sa.Integer()  # SQLite numbers the rows of an INTEGER PRIMARY KEY, of no other
    key.autoincrement = True
    return described


def columns_of(connection: Connection, name: str) -> list[str]:
    """The columns of a table.

    Raises:
        TableNotFound: There is none; the nearest name is offered.
    """
    known = [*user_tables(connection), *OWN_TABLES]
    if name not in known:
        raise TableNotFound(f"There is no table {name!r}.{suggest(name, sorted(known))}")
    return list(connection.columns(name))


def source_of(engine: sqlalchemy.Engine, name: str, columns: list[str]) -> TableSource:
    """A table as a source of some of its columns."""
    import sqlalchemy as sa

    from fireworks.database import TableSource
    from fireworks.database.engine import reflect

    table = reflect(name, engine)
    for key in table.primary_key.columns:
        key.autoincrement = isinstance(key.type, sa.Integer)  # SQLite numbers such rows
    return TableSource(table, engine, columns=columns, name=name)


def write(
    store: Store,
    connection: Connection,
    table: Any,
    rows: Message,
    *,
    trial: int,
    seq: int,
    step: int,
) -> None:
    """Insert logged rows, in the caller's transaction."""
    from fireworks.database.parameters import to_parameters

    names = rows.columns
    places = ",".join("?" * (len(names) + 3))
    listed = ", ".join(map(quoted, [*names, "trial", "seq", STEP]))
    connection.executemany(
        f"INSERT INTO {quoted(table.name)} ({listed}) VALUES ({places})",
        [(*row, trial, seq, step) for row in to_parameters(rows, table, _dialect(store.url))],
    )
