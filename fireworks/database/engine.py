"""Where a database is: an SQLAlchemy engine, a URL, or the path of a SQLite file."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, NoSuchTableError
from sqlalchemy.pool import NullPool

from fireworks.database import adbc
from fireworks.database.declared import MarkedType, kind_marked
from fireworks.database.retrying import told, with_connection
from fireworks.errors import (
    ColumnNotFound,
    DatabaseNotFound,
    MissingDependency,
    TableNotFound,
    WrongType,
    WrongValue,
    suggest,
)
from fireworks.optional import require

Database = sa.Engine | sa.URL | str | Path
TableLike = sa.Table | type | str

_DRIVERS = {
    "postgresql": ("psycopg", "psycopg", "postgresql"),
    "mariadb": ("pymysql", "pymysql", "mariadb"),
    "mysql": ("pymysql", "pymysql", "mariadb"),
}
"""By dialect: the driver that is used where the URL names none, its module, and its extra."""


def connect(database: Database, *, create: bool = False) -> sa.Engine:
    """Return an engine for a database.

    An engine given is returned as it is. One made here keeps no connections open between uses:
    nothing is left to close, and forked or threaded readers never share one. For the same URL it
    is the same engine.

    Args:
        database: An SQLAlchemy engine or URL, or the path of a SQLite file.
        create: Whether a SQLite file that does not exist may be created.

    Raises:
        DatabaseNotFound: There is no such SQLite file (or, to create one, no such folder).
        WrongValue: The URL cannot be understood.
        WrongType: It is no engine, URL or path.
        MissingDependency: The database's driver is not installed; the extra is named.
    """
    if isinstance(database, sa.Engine):
        return database
    if not isinstance(database, sa.URL | str | Path) or not str(database):
        raise WrongType(
            f"a database is an SQLAlchemy engine, a URL or the path of a SQLite file, not "
            f"{database!r}."
        )
    try:
        url = _url(database)
        _require_driver(url)
        engine = _engine(url)
    except (ArgumentError, NoSuchModuleError, ValueError, TypeError) as error:
        raise WrongValue(
            f"{_shown(database)} is no database: {error}. Give a URL such as "
            "sqlite:///data.sqlite, postgresql://user@host/database or "
            "mariadb://user@host/database, or the path of a SQLite file."
        ) from error
    if engine.dialect.name == "sqlite" and url.database not in (None, "", ":memory:"):
        file = Path(str(url.database))
        if create and not file.parent.is_dir():
            raise DatabaseNotFound(f"{file} cannot be created: there is no folder {file.parent}.")
        if not create and not file.is_file() and not str(file).startswith("file:"):
            raise DatabaseNotFound(
                f"There is no database file {file}. Give the path of one that exists, or make it "
                "with create_table(name, columns, engine)."
            )
    elif engine.dialect.name == "sqlite":
        raise WrongValue(
            "A SQLite database in memory is gone with its connection. Give a file, or an engine: "
            'create_engine("sqlite://", poolclass=StaticPool).'
        )
    return engine


@lru_cache(maxsize=64)
def _engine(url: sa.URL) -> sa.Engine:
    """Return the engine of a URL: it knows already what the server is, and SQL that it compiled."""
    options = {adbc.OPTION: True}  # whoever knows the URL knows all about it
    return sa.create_engine(url, poolclass=NullPool, execution_options=options)


def _url(database: sa.URL | str | Path) -> sa.URL:
    if isinstance(database, str) and "://" in database:
        database = sa.make_url(database)
    if not isinstance(database, sa.URL):
        return sa.URL.create("sqlite", database=str(database))
    if database.drivername in _DRIVERS:
        driver = _DRIVERS[database.drivername][0]
        return database.set(drivername=f"{database.drivername}+{driver}")
    return database


def _require_driver(url: sa.URL) -> None:
    dialect, _, named = url.drivername.partition("+")
    if dialect in _DRIVERS:
        driver, module, extra = _DRIVERS[dialect]
        if named == driver:
            require(module, extra=extra, purpose=f"A {dialect} database")
            return
    try:
        url.get_dialect().import_dbapi()
    except ModuleNotFoundError as error:
        instead = f"; or use {dialect}+{_DRIVERS[dialect][0]}://" if dialect in _DRIVERS else ""
        raise MissingDependency(
            f"A database at {url.drivername}:// needs the package {error.name!r}, which is not "
            f"installed. Install it with: pip install {error.name}{instead}"
        ) from None


def _shown(database: object) -> str:
    """Return a database as it was given, without a password."""
    if isinstance(database, sa.URL):
        return database.render_as_string()
    if isinstance(database, str) and "://" in database:
        scheme, _, rest = database.partition("://")
        user, at, host = rest.rpartition("@")
        return repr(f"{scheme}://{user.partition(':')[0]}{':***' * (':' in user)}{at}{host}")
    return repr(database)


def reflect(table: TableLike, engine: sa.Engine) -> sa.Table:
    """Return a table's description: as given, or by its name from the database.

    A name may have a schema in front: ``"archive.rows"``, where no table is called just that.

    Raises:
        TableNotFound: The database has no table of that name; the nearest is offered.
        WrongType: Neither a Table, a mapped class nor a name.
        WrongValue: The database cannot be read: it is no SQLite file, for example.
        DatabaseUnreachable: There is no connection to it.
    """
    if isinstance(table, sa.Table):
        return table
    if isinstance(table, str):
        try:
            return with_connection(
                engine, lambda on: _reflected(table, on), doing=f"looking for the table {table!r}"
            )
        except DBAPIError as error:
            raise WrongValue(
                f"The table {table!r} cannot be described: {told(engine, error)} "
                f"({engine.url.render_as_string()})."
            ) from error
    mapped = getattr(table, "__table__", None)
    if isinstance(mapped, sa.Table):
        return mapped
    raise WrongType(f"a table is an SQLAlchemy Table, a mapped class or a name, not {table!r}.")


def _reflected(name: str, connection: sa.Connection) -> sa.Table:
    inspector = sa.inspect(connection)
    schema, dot, rest = name.partition(".")
    if dot and not inspector.has_table(name) and schema in inspector.get_schema_names():
        name, dot = rest, schema
    else:
        dot = ""
    quoted = sa.quoted_name(name, quote=True)
    try:
        table = sa.Table(
            quoted, sa.MetaData(), schema=dot or None, autoload_with=connection,
            resolve_fks=False,
        )  # fmt: skip
    except NoSuchTableError:
        known = [*inspector.get_table_names(dot or None), *inspector.get_view_names(dot or None)]
        raise TableNotFound(
            f"There is no table {name!r} in {connection.engine.url.render_as_string()}."
            f"{suggest(name, known)}"
        ) from None
    _read_marks(table, connection)
    return table


def _read_marks(table: sa.Table, connection: sa.Connection) -> None:
    """Give columns the kinds that they are marked with (see `declared`)."""
    marks = {column.name: column.comment for column in table.columns}
    if connection.dialect.name == "sqlite":
        info = sa.text("SELECT name, type FROM pragma_table_info(:name)")
        declared = connection.execute(info, {"name": str(table.name)})
        if (numbered := table.autoincrement_column) is not None:
            numbered.nullable = False  # SQLite numbers the rows itself; other keys may hold NULL
        marks = {name: type_.replace('""', '"') for name, type_ in declared}
    for column in table.columns:
        kind = kind_marked(marks.get(column.name))
        if kind is not None and not isinstance(column.type, sa.Enum):  # which says as much
            column.type = MarkedType(kind)
        elif isinstance(column.type, sa.JSON):
            column.type.none_as_null = True  # None in the rows is NULL
        elif isinstance(column.type, sa.Float):
            column.type.asdecimal = False  # SQLAlchemy reflects MariaDB's floats as decimals


def columns_named(table: sa.Table, names: Sequence[str]) -> list[sa.Column[Any]]:
    """Return columns of a table by their names.

    Raises:
        ColumnNotFound: There is no such column; the nearest name is offered.
    """
    for name in names:
        if name not in table.columns:
            known = [column.name for column in table.columns]
            raise ColumnNotFound(
                f"The table {table.name!r} has no column {name!r}.{suggest(name, known)}"
            )
    return [table.columns[name] for name in names]


def keys_of(table: sa.Table) -> list[sa.Column[Any]]:
    """Return the columns that are the table's key: its primary key, else a unique one.

    Raises:
        WrongValue: There is none.
    """
    if key := list(table.primary_key.columns):
        return key
    for constraint in table.constraints:
        if isinstance(constraint, sa.UniqueConstraint):
            columns = list(constraint.columns)
            if columns and not any(column.nullable for column in columns):
                return columns
    for index in table.indexes:
        columns = list(index.columns)
        if index.unique and columns and not any(column.nullable for column in columns):
            return columns
    raise WrongValue(
        f"The table {table.name!r} has no primary key, by which its rows could be told apart. "
        f"Read it as a stream: QuerySource(select(table), engine); or give it a key."
    )


def without_engine(state: dict[str, Any]) -> dict[str, Any]:
    """Return the state of a pickled source with its engine's URL in place of the engine."""
    return {**state, "engine": state["engine"].url}


def with_engine(state: dict[str, Any]) -> dict[str, Any]:
    """Return the state of a pickled source with an engine of its own again."""
    return {**state, "engine": connect(state["engine"])}
