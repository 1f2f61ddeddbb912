"""Where a database is: an SQLAlchemy engine, a URL, or the path of a SQLite file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import ArgumentError, DatabaseError, NoSuchModuleError, NoSuchTableError
from sqlalchemy.pool import NullPool

from fireworks.errors import DatabaseNotFound, TableNotFound, WrongType, WrongValue, suggest

Database = sa.Engine | sa.URL | str | Path
TableLike = sa.Table | type | str


def connect(database: Database, *, create: bool = False) -> sa.Engine:
    """Return an engine for a database.

    An engine given is returned as it is. One made here keeps no connections open between uses:
    nothing is left to close, and forked or threaded readers never share one.

    Args:
        database: An SQLAlchemy engine or URL, or the path of a SQLite file.
        create: Whether a SQLite file that does not exist may be created.

    Raises:
        DatabaseNotFound: There is no such SQLite file (or, to create one, no such folder).
        WrongValue: The URL cannot be understood.
    """
    if isinstance(database, sa.Engine):
        return database
    try:
        url = _url(database)
        engine = sa.create_engine(url, poolclass=NullPool)
    except (ArgumentError, NoSuchModuleError) as error:
        raise WrongValue(
            f"{database!r} is no database: {error}. "
            "Give a URL such as sqlite:///data.sqlite, or the path of a SQLite file."
        ) from error
    if engine.dialect.name == "sqlite" and url.database not in (None, "", ":memory:"):
        file = Path(str(url.database))
        if create and not file.parent.is_dir():
            raise DatabaseNotFound(f"{file} cannot be created: there is no folder {file.parent}.")
        if not create and not file.is_file():
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


def reflect(table: TableLike, engine: sa.Engine) -> sa.Table:
    """Return a table's description: as given, or by its name from the database.

    Raises:
        TableNotFound: The database has no table of that name; the nearest is offered.
        WrongType: Neither a Table, a mapped class nor a name.
    """
    if isinstance(table, sa.Table):
        return table
    if isinstance(table, str):
        try:
            return sa.Table(table, sa.MetaData(), autoload_with=engine)
        except NoSuchTableError:
            hint = suggest(table, sa.inspect(engine).get_table_names())
            raise TableNotFound(
                f"There is no table {table!r} in {engine.url.render_as_string()}.{hint}"
            ) from None
        except DatabaseError as error:
            raise WrongValue(f"{engine.url.render_as_string()}: {error.orig}.") from error
    mapped = getattr(table, "__table__", None)
    if isinstance(mapped, sa.Table):
        return mapped
    raise WrongType(f"a table is an SQLAlchemy Table, a mapped class or a name, not {table!r}.")


def the_key(table: sa.Table) -> sa.Column[object]:
    """Return the one column that is the table's primary key.

    Raises:
        WrongValue: The table has no key, or one of several columns.
    """
    key = list(table.primary_key.columns)
    if len(key) == 1:
        return key[0]
    what = "no primary key" if not key else f"a key of {len(key)} columns"
    raise WrongValue(
        f"The table {table.name!r} has {what}; its rows can be addressed by a primary key of one "
        "column only."
    )


def without_engine(state: dict[str, Any]) -> dict[str, Any]:
    """Return the state of a pickled source with its engine's URL in place of the engine."""
    return {**state, "engine": state["engine"].url}


def with_engine(state: dict[str, Any]) -> dict[str, Any]:
    """Return the state of a pickled source with an engine of its own again."""
    return {**state, "engine": connect(state["engine"])}


def _url(database: sa.URL | str | Path) -> sa.URL:
    if isinstance(database, sa.URL):
        return database
    if isinstance(database, str) and "://" in database:
        return sa.make_url(database)
    return sa.URL.create("sqlite", database=str(database))
