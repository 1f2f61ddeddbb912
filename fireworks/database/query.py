"""Any SELECT as a stream of rows."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from fireworks.database import cursors, keyset, refusals
from fireworks.database.columns import from_rows
from fireworks.database.engine import Database, connect, with_engine, without_engine
from fireworks.database.filtering import Filter, filtered, moved_order
from fireworks.database.retrying import RECONNECT, Attempts, is_passing, told, with_connection
from fireworks.database.selects import tables_of
from fireworks.errors import DatabaseUnreachable, WrongValue
from fireworks.message import Message, concat
from fireworks.source import Retry, Source

_SHOWN = 400
"""Characters of the SQL in a state; what differs behind them shows in the digest only."""

Key = list[Any]


class QuerySource(Source):
    """The rows of any SELECT, as a stream, with as little of them in memory as one chunk.

    Rows come in the order of the select's *key*: columns that tell its rows apart. They are found
    out where that is possible: from the primary keys of the tables (added to the select, and not
    passed on, where it lacks them), from GROUP BY and from ORDER BY, whose order is kept where it
    goes upwards by columns that are never NULL. With a key, a pass ends at the last key that was
    there when it began: rows that are added behind it meanwhile are not seen, so a pipeline may
    write to the table that it reads. A resumed pass goes on behind the last key, and so does one
    that lost its connection. Without a key the rows come in the order of the query; a resumed pass
    steps forward over what was read before, and says so; and a lost connection ends the pass.

    One table is read page by page along an index of the key, and no transaction stays open
    between pages. Anything else is computed once a pass and read through a cursor of the server;
    by SQLite, which would keep writers out meanwhile, into a temporary table of its own.

    What each column holds is decided by its declared type, never by the values.

    Args:
        query: An SQLAlchemy SELECT, with joins, groups, window functions and all; a union of
            several; a table or mapped class; or text with columns:
            ``text("SELECT …").columns(id=Integer)``.
        engine: An SQLAlchemy engine or URL, or the path of a SQLite file.
        key: Columns of the query that tell its rows apart, where they cannot be found out.
        chunk_rows: Rows in a chunk, at least 1.
        reconnect: How often a lost connection is tried to be had again, and how long to wait.
        name: Tells this source from others of its class.

    Attributes:
        engine: The SQLAlchemy engine.
        key: The columns that tell rows apart; empty where none are known.

    Raises:
        DatabaseNotFound: There is no such SQLite file.
        WrongType: The query is no SELECT, or text without columns.
        ColumnNotFound: The key names a column that the query has not, or (when read) the database
            has no such column; the nearest name is offered.
        WrongValue: A column of the key is of a type that is no key; (when read) it holds NULL, or
            two rows have the same key; or the database refuses the query.
        TableNotFound: (when read) The database has no such table.
        DatabaseUnreachable: (when read) There is no connection to the database.
    """

    def __init__(
        self,
        query: Any,
        engine: Database,
        *,
        key: str | Sequence[str] | None = None,
        chunk_rows: int = 4096,
        reconnect: Retry = RECONNECT,
        name: str | None = None,
    ) -> None:
        super().__init__(name=name)
        if not isinstance(chunk_rows, int | np.integer) or chunk_rows < 1:
            raise WrongValue(f"chunk_rows must be an integer of at least 1; it is {chunk_rows!r}.")
        self.engine = connect(engine)
        self._given_key = [key] if isinstance(key, str) else key
        self._chunk_rows = int(chunk_rows)
        self._reconnect = reconnect
        self._query = query
        self._filters: list[Filter] = []
        self._rows, self._conditions = filtered(query, self._given_key, self._filters)

    @property
    def key(self) -> list[str]:
        """The columns that tell rows apart and by which they are ordered; empty for none."""
        return list(self._rows.key)

    @property
    def columns(self) -> list[str]:
        """The columns of the rows."""
        return list(self._rows.shown)

    @property
    def schema(self) -> Mapping[str, Any]:
        """The columns and their kinds, by their declared types."""
        return self._shown(from_rows([], self._rows.fields)).schema

    # -- choosing rows ----------------------------------------------------------------------------

    def filter(self, column: Any, predicate: str | None = None, *values: Any) -> Self:
        """Return a source of those rows of this one for which a condition holds.

        The database chooses them. ``source.filter("score", "between", 0, 1)`` and
        ``source.filter(table.c.score > 0.5)`` can follow each other, and all have to hold. The
        predicates are ==, !=, <, <=, >, >=, between, not between, in, not in, like, not like,
        startswith, endswith, contains, is null and is not null.

        Args:
            column: A column of the query by name; an SQLAlchemy column; or, without a predicate, an
                SQLAlchemy expression. It may use columns that are not selected, where a row of the
                query is a row of its tables (no GROUP BY, DISTINCT, LIMIT, aggregate or window
                function).
            predicate: The predicate's name.
            values: What it compares with; they are bound as parameters.

        Raises:
            ColumnNotFound: There is no such column; the nearest name is offered.
            WrongValue: There is no such predicate, or it takes another number of values.
            WrongType: It is no condition, or uses columns that are not in the query.
        """
        chosen = type(self)(
            self._query,
            self.engine,
            key=self._given_key,
            chunk_rows=self._chunk_rows,
            reconnect=self._reconnect,
            name=self.name,
        )
        chosen._filters = [*self._filters, (column, predicate, values)]
        chosen._rows, chosen._conditions = filtered(self._query, self._given_key, chosen._filters)
        return chosen

    def count(self) -> int:
        """Count the rows there are now, by one SELECT COUNT; nothing else ever counts them.

        Raises:
            As reading does.
        """
        rows = sa.select(sa.func.count()).select_from(self._select().subquery())
        try:
            return with_connection(
                self.engine,
                lambda connection: connection.execute(rows).scalar_one(),
                doing=f"counting {self!r}",
                retry=self._reconnect,
            )
        except DBAPIError as error:
            raise self._refused(error) from error

    # -- reading ----------------------------------------------------------------------------------

    def stream(self, start: Any = None) -> Iterator[Message | tuple[Message, Any]]:
        """Yield chunks in the order of the key, each with its last key and that of the pass."""
        if not self._rows.key:
            yield from self._without_key()
            return
        types = [each.type for each in self._key_fields()]
        at = None if start is None else Position.of(start, types)
        attempts = Attempts(self.engine, doing=f"reading {self!r}", retry=self._reconnect)
        while True:
            try:
                with attempts.connection() as connection:
                    if at is None:
                        self._check_key(connection)
                        at = Position(None, self._last_key(connection))
                        if at.until is None:  # no rows; but columns
                            yield self._shown(from_rows([], self._rows.fields)), at.state()
                    with closing(self._chunks(connection, at)) as chunks:
                        for chunk in self._certain(chunks):
                            attempts.succeeded()
                            at = Position(self._key_of(chunk), at.until)
                            yield self._shown(chunk), at.state()
                return
            except DBAPIError as error:
                if not is_passing(error):
                    raise self._refused(error) from error
                attempts.wait_after(error)

    def _chunks(self, connection: sa.Connection, at: Position) -> Generator[Message]:
        """Yield the rows that are left behind a position."""
        if at.until is None:
            return
        first, fields = self._rest(at.last, at.until), self._rows.fields
        if not self._rows.pages:
            yield from self._way()(connection, first, fields, self._chunk_rows)
            return
        names = [f"fireworks_last_{place}" for place in range(len(self.key))]
        following = self._rest([sa.bindparam(name, None) for name in names], at.until)

        def behind(chunk: Message) -> dict[str, Any]:
            return dict(zip(names, self._key_of(chunk), strict=True))

        yield from cursors.pages(connection, first, following, behind, fields, self._chunk_rows)

    def _rest(self, last: Sequence[Any] | None, until: Key) -> sa.Select[Any]:
        """Return the SELECT of the rows behind a key (all for None) up to another, in order."""
        key = [self._rows.columns[each] for each in self._rows.key]
        rest = self._select().order_by(*key).where(keyset.up_to(key, until))
        return rest if last is None else rest.where(keyset.behind(key, last))

    def _way(self) -> Callable[..., Generator[Message]]:
        return cursors.spooled if self.engine.dialect.name == "sqlite" else cursors.cursor

    def _without_key(self) -> Generator[Message]:
        attempts = Attempts(self.engine, doing=f"reading {self!r}", retry=self._reconnect)
        read = 0
        while True:
            try:
                with attempts.connection() as connection:
                    select, fields = self._select(), self._rows.fields
                    with closing(
                        self._way()(connection, select, fields, self._chunk_rows)
                    ) as chunks:
                        for chunk in chunks:
                            read += len(chunk)
                            yield chunk
                    if not read:
                        yield from_rows([], self._rows.fields)
                return
            except DBAPIError as error:
                if not is_passing(error):
                    raise self._refused(error) from error
                if read:
                    raise DatabaseUnreachable(
                        f"{self!r} lost its connection after {read} rows "
                        f"({told(self.engine, error)}) and has no key to go on from. Name the "
                        "columns that tell its rows apart: QuerySource(…, key=[…])."
                    ) from error
                attempts.wait_after(error)

    def _select(self) -> sa.Select[Any]:
        """Return the SELECT of all rows, without an order of its own where there is a key."""
        rows = self._rows
        chosen = sa.select(*rows.columns.values()).where(*self._conditions)
        if rows.key:
            return chosen
        if not self._conditions and isinstance(rows.query, sa.Select):
            return rows.query
        return chosen.order_by(*moved_order(rows))

    def _shown(self, chunk: Message) -> Message:
        rows = self._rows
        return chunk if len(rows.shown) == len(rows.fields) else chunk[list(rows.shown)]

    # -- keys -------------------------------------------------------------------------------------

    def _key_fields(self) -> list[sa.Column[Any]]:
        fields = {field.name: field for field in self._rows.fields}
        return [fields[name] for name in self._rows.key]

    def _key_of(self, chunk: Message) -> Key:
        """Return the key of the last row of a chunk."""
        return keyset.last_of(chunk, self._key_fields())

    def _last_key(self, connection: sa.Connection) -> Key | None:
        columns = [self._rows.columns[each] for each in self._rows.key]
        last = (
            self._select()
            .with_only_columns(*columns, maintain_column_froms=True)
            .order_by(*(each.desc() for each in columns))
            .limit(1)
        )
        with connection.begin():
            found = connection.execute(last).first()
        return None if found is None else list(found)

    def _check_key(self, connection: sa.Connection) -> None:
        """Refuse a key with NULL in it: such rows are behind no other, and would be lost."""
        for field in self._key_fields():
            if not field.nullable or self._rows.key_is_certain:
                continue
            column = self._rows.columns[field.name]
            with connection.begin():
                if connection.execute(self._select().where(column.is_(None)).limit(1)).first():
                    raise WrongValue(
                        f"The key {field.name!r} of {self!r} is NULL in some rows. Leave these "
                        f'out with .filter({field.name!r}, "is not null"), or choose another key.'
                    )

    def _certain(self, chunks: Iterator[Message]) -> Iterator[Message]:
        """Yield chunks once it is sure that the rows behind each have another key."""
        if self._rows.key_is_certain:
            yield from chunks
            return
        before: Message | None = None
        for chunk in chunks:
            table = chunk if before is None else concat([before[-1:], chunk])
            cells = [table[name].to_numpy() for name in self._rows.key]
            same = np.logical_and.reduce([each[1:] == each[:-1] for each in cells])
            if same.any():
                row = int(np.flatnonzero(same)[0])
                values = keyset.last_of(table[: row + 1], self._key_fields())
                shown = ", ".join(f"{n} = {v!r}" for n, v in zip(self.key, values, strict=True))
                raise WrongValue(
                    f"The key of {self!r} does not tell its rows apart: there are several with "
                    f"{shown}. Name further columns in key=."
                )
            if before is not None:
                yield before
            before = chunk
        if before is not None:
            yield before

    # -- what is wrong, and what this is ----------------------------------------------------------

    def _refused(self, error: DBAPIError) -> Exception:
        tables = tables_of(self._rows.query)
        return refusals.of_reading(error, self.engine, tables, f"reading {self!r}")

    def describe(self) -> dict[str, Any]:
        """Return the SQL with its parameters, the columns with their types, and the key."""
        compiled = self._select().compile()
        sql, parameters = " ".join(str(compiled).split()), compiled.params
        described: dict[str, Any] = {
            "query": sql[:_SHOWN],
            "digest": hashlib.sha256(f"{sql}{parameters}".encode()).hexdigest()[:16],
            "columns": {str(field.name): repr(field.type) for field in self._rows.fields},
            "key": self.key,
        }
        if not self.key:
            described["chunk_rows"] = self._chunk_rows  # a position counts chunks
        return described

    def __repr__(self) -> str:
        tables = ", ".join(repr(str(each.name)) for each in tables_of(self._rows.query))
        return f"QuerySource({tables or 'text'})"

    def __getstate__(self) -> dict[str, Any]:
        kept = without_engine(super().__getstate__())
        return {key: value for key, value in kept.items() if key not in ("_rows", "_conditions")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(with_engine(state))
        self._rows, self._conditions = filtered(self._query, self._given_key, self._filters)


@dataclass(frozen=True)
class Position:
    """Where a pass stands: behind one key, and it ends at another; None where there is none."""

    last: Key | None
    until: Key | None

    def state(self) -> dict[str, Any]:
        """Return the position as JSON can hold it."""
        return {"last": _as_json(self.last), "until": _as_json(self.until)}

    @classmethod
    def of(cls, state: Mapping[str, Any], types: Sequence[Any]) -> Position:
        """Return the position that a state holds."""
        given = (state["last"], state["until"])
        return cls(*(None if each is None else keyset.decoded(each, types) for each in given))


def _as_json(key: Key | None) -> list[Any] | None:
    return None if key is None else keyset.encoded(key)
