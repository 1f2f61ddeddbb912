"""A table of a database as an indexed source."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Self, TypeVar
from weakref import WeakSet

import numpy as np
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from fireworks.database import reading, refusals, writing
from fireworks.database.ahead import ReadAhead
from fireworks.database.changing import change_by_key, conditions_for
from fireworks.database.declared import shown
from fireworks.database.engine import (
    Database,
    TableLike,
    columns_named,
    connect,
    keys_of,
    reflect,
    with_engine,
    without_engine,
)
from fireworks.database.held import HeldConnections
from fireworks.database.keys import Keys, scan
from fireworks.database.predicates import check_named, condition
from fireworks.database.retrying import RECONNECT, Attempts
from fireworks.database.selects import analysed
from fireworks.database.transactions import Transaction
from fireworks.errors import RowsVanished, StateMismatch, WrongValue
from fireworks.message import Message
from fireworks.source import OnError, Retry, Rows, Run, Source

_log = logging.getLogger(__name__)

_ROWS_PER_CHUNK = 4_096

Condition = sa.ColumnElement[bool]
Result = TypeVar("Result")


class TableSource(Source):
    """The rows of a database table, in the order of its key, each to be had by its index.

    When an epoch begins, the keys are scanned; rows are then read with ``WHERE key IN (…)``, so
    that a shuffled epoch over a table needs no copy of it. Rows that others add wait for the next
    epoch, and what they change is seen when it is read. Text is ordered by its code points, as
    Python does it, on every database.

    It writes too: `insert`, `upsert`, `update` and `delete` are one transaction until `commit` or
    `rollback`, and ``with source:`` ends it either way. A pass that is going on does not see rows
    that were added; the next one does.

    Args:
        table: A Table, a mapped class, or the name of a table; it needs a primary key (or unique
            columns without NULL): an integer, text, several columns.
        engine: An SQLAlchemy engine or URL, or the path of a SQLite file.
        columns: The columns to read, in this order; all by default.
        on_error: What to do with a row that was deleted since the epoch began: ``"raise"``, or
            ``"skip"`` it and note it in `skipped`; the source is then a stream.
        reconnect: How often a lost connection is tried to be had again, and how long to wait.
        name: Tells this source from others of its class.

    Attributes:
        table: The SQLAlchemy Table.
        engine: The SQLAlchemy engine.

    Raises:
        DatabaseNotFound: There is no such SQLite file.
        DatabaseUnreachable: There is no connection to the database.
        TableNotFound: There is no such table; the nearest name is offered.
        ColumnNotFound: There is no such column; the nearest name is offered.
        WrongValue: The table has no key; `QuerySource` reads it as a stream.
        RowsVanished: (when read) a row was deleted since the epoch began.
    """

    needs_inputs = False
    handles_errors = True

    def __init__(
        self,
        table: TableLike,
        engine: Database,
        *,
        columns: Sequence[str] | None = None,
        on_error: OnError = "raise",
        reconnect: Retry = RECONNECT,
        name: str | None = None,
    ) -> None:
        super().__init__(name=name)
        if not (on_error in ("raise", "skip") or isinstance(on_error, Retry)):
            raise WrongValue(f'on_error is "raise", "skip" or Retry(n), not {on_error!r}.')
        self.engine = connect(engine)
        self.table = reflect(table, self.engine)
        self._key = keys_of(self.table)
        names = [column.name for column in self.table.columns] if columns is None else columns
        self._selected = columns_named(self.table, names)
        self._skips = on_error == "skip"
        self._reconnect = on_error if isinstance(on_error, Retry) else reconnect
        self._conditions: list[Condition] = []
        self._set_up()

    def _set_up(self) -> None:
        self._keys: Keys | None = None
        self._epoch = 0  # the one that the keys were scanned for
        self._is_stale = False  # whether this source has committed changes since
        self._runs: WeakSet[Run] = WeakSet()
        self._held = HeldConnections()
        self._ahead = ReadAhead()
        self._transaction = Transaction(self.engine, self.table)

    # -- rows -------------------------------------------------------------------------------------

    @property
    def indexed(self) -> bool:
        """Whether rows have numbers: not where vanished ones are skipped."""
        return not self._skips

    @property
    def num_rows(self) -> int:
        """Rows that the table had when the epoch began."""
        return len(self._current_keys())

    @property
    def schema(self) -> Mapping[str, Any]:
        """The columns and their kinds, by their declared types."""
        return self._read_keys(None)[0].schema

    def read(self, rows: Rows) -> Message:
        """Select the rows by their keys."""
        keys = self._current_keys()
        here = rows + self._epoch * len(keys)
        message = self._ahead.take(here, len(keys), lambda some: self._read_all_of(keys, some))
        if message is not None:
            return message
        found, places = self._read_keys(keys.at(rows))
        if not self._ahead.is_measured:
            self._ahead.measure(found)
        if len(places) and (gone := places < 0).any():
            raise RowsVanished(
                f"{gone.sum()} rows of the table {self.table.name!r} were deleted since the epoch "
                f"began: {keys.shown(rows[gone])}. To leave such rows out: "
                'TableSource(…, on_error="skip").'
            )
        return found.take(places)

    def _read_all_of(self, keys: Keys, rows: Rows) -> Message | None:
        """Return rows; None where one of them cannot be read, which whoever asks for it is told."""
        try:
            found, places = self._read_keys(keys.at(rows))
        except WrongValue:
            return None
        self._ahead.measure(found)
        return None if (places < 0).any() else found.take(places)

    def stream(self, start: int | None = None) -> Iterator[tuple[Message, int]]:
        """Yield the rows that are still there, in chunks."""
        keys = self._current_keys()
        for begin in range(start or 0, len(keys), _ROWS_PER_CHUNK):
            end = min(begin + _ROWS_PER_CHUNK, len(keys))
            rows = np.arange(begin, end)
            found, places = self._read_keys(keys.at(rows))
            for row in rows[places < 0]:
                where = f"the row {keys.shown(row[None])} of the table {self.table.name!r}"
                self._skip(where, "it was deleted since the epoch began")
            yield found.take(places[places >= 0]), end

    def prepare(self) -> None:
        """Scan the keys."""
        self._current_keys()

    def expect(self, rows: Rows, deadline: float | None) -> Rows:
        """Note rows that will be asked for, to read many of them at a time."""
        if self.lookahead():
            self._ahead.announce(rows)
        return rows[:0]

    def release(self, rows: Rows) -> None:
        """Forget announced rows."""
        self._ahead.release(rows)

    def lookahead(self) -> int:
        """Return how many announced rows are read together."""
        if self._keys is None or not self.indexed:
            return 0
        return self._ahead.rows_together(len(self._keys))

    @property
    def reads_together(self) -> bool:
        """Whether announced rows are read together."""
        return self.lookahead() > 0

    def filter(self, column: Any, predicate: str | None = None, *values: Any) -> Self:
        """Return a source of those rows of this one for which a condition holds.

        The database chooses them, when an epoch begins. ``source.filter("score", "between", 0, 1)``
        and ``source.filter(source.table.c.score > 0.5)`` can follow each other, and all have to
        hold. The predicates are those of `QuerySource.filter`.

        Args:
            column: A column of the table by name; an SQLAlchemy column; or, without a predicate, an
                SQLAlchemy expression over the table.
            predicate: The predicate's name.
            values: What it compares with; they are bound as parameters.

        Raises:
            ColumnNotFound: There is no such column; the nearest name is offered.
            WrongValue: There is no such predicate, or it takes another number of values.
            WrongType: It is no condition.
        """
        chosen = type(self)(
            self.table,
            self.engine,
            columns=[column.name for column in self._selected],
            on_error="skip" if self._skips else "raise",
            reconnect=self._reconnect,
            name=self.name,
        )
        chosen._conditions = [*self._conditions, self._condition(column, predicate, values)]
        return chosen

    def _condition(self, column: Any, predicate: str | None, values: Sequence[Any]) -> Condition:
        if isinstance(column, str):
            (column,) = columns_named(self.table, [column])
            check_named(str(column.name), predicate)
        return condition(column, predicate, values)

    # -- which rows there are ---------------------------------------------------------------------

    def begins(self, run: Run) -> None:
        """Scan the keys again where a new epoch begins and nobody reads in the one before."""
        with self._lock:
            going_on = self._is_read()
            self._runs.add(run)
            self._held.hold(run)
            run.at_end(self._ahead.forget)
            old, is_new = self._keys, run.epoch != self._epoch or self._is_stale
            if going_on or not is_new:
                return
            self._epoch = run.epoch
            if old is None:
                return
            self._use(self._scanned())
        self._tell_moved(old)

    def own_state(self) -> dict[str, Any] | None:
        """Return how many keys there are, the last, a digest of all, and their epoch."""
        keys = self._keys
        if keys is None:
            return None
        count, last = len(keys), keys.last
        return {"count": count, "last": last, "digest": keys.digest, "epoch": self._epoch}

    def restore_rows(self, state: Mapping[str, Any] | None) -> None:
        """Scan the keys up to the last one of the state.

        Raises:
            StateMismatch: They are not those that there were.
        """
        if state is None:
            return
        found = self._scanned(state["last"])
        if len(found) != state["count"] or found.digest != state["digest"]:
            raise StateMismatch(
                f"The table {self.table.name!r} had {state['count']} rows up to the key "
                f"{state['last']} when the state was saved; now it has {len(found)}"
                f"{', and other ones' if len(found) == state['count'] else ''}. Rows of the epoch "
                "were added or deleted: begin the epoch anew."
            )
        with self._lock:
            old = self._keys
            self._use(found)
            self._epoch = state["epoch"]
        self._tell_moved(old)

    def _is_read(self) -> bool:
        return any(not run.ended for run in self._runs)

    def _current_keys(self) -> Keys:
        keys = self._keys
        if keys is not None and not self._is_stale:
            return keys
        with self._lock:
            old = self._keys
            if old is not None and not (self._is_stale and not self._is_read()):
                return old
            keys = self._scanned()
            self._use(keys)
        self._tell_moved(old)
        return keys

    def _use(self, keys: Keys) -> None:
        self._keys, self._is_stale = keys, False
        self._ahead.forget()

    def _tell_moved(self, old: Keys | None) -> None:
        """Tell sources downstream from which row on the rows are others than before."""
        keys = self._keys
        if old is None or keys is None:
            return
        kept = old.shared(keys)
        if kept == len(old) == len(keys):
            return
        _log.info("%r has %d rows in epoch %d, %d before", self, len(keys), self._epoch, len(old))
        for source in self.outputs:
            source.rows_moved(kept)

    def _scanned(self, until: Sequence[Any] | None = ()) -> Keys:
        return self._with_connection(
            lambda connection: scan(connection, self._key, self._conditions, until)
        )

    def _read_keys(self, keys: Any) -> tuple[Message, Any]:
        wanted = np.empty(0, np.int64) if keys is None else keys
        return self._with_connection(
            lambda connection: reading.fetch(connection, self._selected, self._key, wanted)
        )

    def _with_connection(self, work: Callable[[sa.Connection], Result]) -> Result:
        attempts = Attempts(
            self.engine, doing=f"reading the table {self.table.name!r}", retry=self._reconnect
        )
        while True:
            try:
                with self._held.use(attempts) as connection:
                    return work(connection)
            except DBAPIError as error:
                try:
                    attempts.wait_after(error)
                except DBAPIError as final:
                    doing = f"reading {self!r}"
                    raise refusals.of_reading(final, self.engine, [self.table], doing) from final

    # -- changing the table -----------------------------------------------------------------------

    def insert(self, rows: Message | Mapping[str, Any]) -> int:
        """Add rows, in the transaction; return how many.

        Columns that the rows lack get the table's defaults, a key that the database counts among
        them.

        Raises:
            ColumnNotFound: The rows have a column that the table has not, or lack one.
            WrongType: A column is of another kind than the table's.
            WrongValue: A value does not fit, or a key is there already: row, column and value are
                named, and none of the rows was written.
            NotWritten: The database is locked, full, or may only be read.
            DatabaseUnreachable: There is no connection.
        """
        return self._write(rows, writing.insert)

    def upsert(self, rows: Message | Mapping[str, Any]) -> int:
        """Add rows, in the transaction, or change those with the same key; return how many.

        The key is the primary key. Of a row that is there, the columns that ``rows`` have are
        changed and no others; of rows with one key, the last stays.

        Raises:
            As `insert`, and: ColumnNotFound: The rows lack the key. WrongValue: The table has no
                primary key; or a row has the value of another one in a further unique column.
        """
        return self._write(rows, writing.upsert)

    def update(self, values: Message | Mapping[str, Any], where: Condition | None = None) -> int:
        """Change rows that are there, in the transaction; return how many there were.

        Args:
            values: Rows with their keys and the columns to change; or, with ``where``, one value
                (or SQL expression) by column name.
            where: Which rows to give these values; ``sqlalchemy.true()`` for all.

        Raises:
            As `insert`.
        """
        if where is None:
            return change_by_key(self._transaction, self.table, self._key, Message(values))
        names = columns_named(self.table, list(values))
        changed = {column: values[str(column.name)] for column in names}
        return self._transaction.execute(sa.update(self.table).where(where).values(changed))

    def delete(self, rows: Condition | Message | Mapping[str, Any] | Sequence[Any]) -> int:
        """Delete rows, in the transaction; return how many there were.

        Args:
            rows: A condition; or rows with their keys (of other columns nothing is asked); or a
                list of keys, tuples where the key has several columns.

        Raises:
            As `insert`.
        """
        if isinstance(rows, sa.ColumnElement):
            return self._transaction.execute(sa.delete(self.table).where(rows))
        done = 0
        for chosen in conditions_for(self._key, rows, self.engine.dialect):
            done += self._transaction.execute(sa.delete(self.table).where(chosen))
        return done

    def query(self, query: Any = None, predicate: str | None = None, *values: Any) -> Message:
        """Return rows at once, what the transaction has changed included.

        Args:
            query: A SELECT; or a condition on the table's rows, as `filter` takes it. By default
                all rows of this source.
            predicate: The predicate's name, where ``query`` is a column.
            values: What it compares with.

        Raises:
            As `filter`, and: WrongValue: The database refuses the query.
        """
        if isinstance(query, sa.Select):
            found = analysed(query)
            select, fields = query, [each for each in found.fields if each.name in found.shown]
        else:
            conditions = list(self._conditions)
            if query is not None:
                conditions.append(self._condition(query, predicate, values))
            select, fields = sa.select(*self._selected).where(*conditions), self._selected
            select = select.order_by(*self._key)
        open_one = self._transaction.connection
        if open_one is not None:
            return reading.read(open_one, select, fields)
        return self._with_connection(lambda connection: reading.read(connection, select, fields))

    def commit(self) -> None:
        """Make the changes since the last commit last.

        Raises:
            WrongValue, NotWritten, DatabaseUnreachable: They could not be, and are undone.
        """
        self._is_stale = self._is_stale or self._transaction.connection is not None
        self._transaction.commit()
        self._ahead.forget()

    def rollback(self) -> None:
        """Undo the changes since the last commit."""
        self._transaction.rollback()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            self.commit()
        else:
            self.rollback()

    def _write(
        self,
        rows: Message | Mapping[str, Any],
        write: Callable[[sa.Connection, sa.Table, Message], None],
    ) -> int:
        message = rows if isinstance(rows, Message) else Message(rows)
        if len(message):
            self._transaction.write(message, lambda on, some: write(on, self.table, some))
        return len(message)

    # -- in the graph -----------------------------------------------------------------------------

    def describe(self) -> dict[str, Any]:
        """Return the table's name, the columns with their kinds, the key and the conditions."""
        described: dict[str, Any] = {
            "table": str(self.table.name),
            "columns": {str(column.name): shown(column) for column in self._selected},
            "key": {str(column.name): shown(column) for column in self._key},
        }
        if self._conditions:
            compiled = sa.and_(*self._conditions).compile()
            described["where"] = [str(compiled), {k: str(v) for k, v in compiled.params.items()}]
        return described

    def __repr__(self) -> str:
        return f"TableSource({str(self.table.name)!r})"

    def __getstate__(self) -> dict[str, Any]:
        state = without_engine(super().__getstate__())
        for name in ("_keys", "_runs", "_held", "_ahead", "_transaction"):
            del state[name]
        return {**state, "_restored": self.own_state()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        keys = state.pop("_restored")
        super().__setstate__(with_engine(state))
        self._set_up()
        self.restore_rows(keys)
