"""Rows written to a table in the middle of a pipeline."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from fireworks import dry_run_context
from fireworks.database import misfits, refusals, writing
from fireworks.database.claims import Claim, new_id
from fireworks.database.engine import (
    Database,
    TableLike,
    connect,
    reflect,
    with_engine,
    without_engine,
)
from fireworks.database.held import HeldConnections
from fireworks.database.retrying import RECONNECT, Attempts, is_passing, told
from fireworks.dry_run_context import DryRun
from fireworks.errors import ColumnNotFound, DatabaseUnreachable, WrongValue, suggest
from fireworks.message import Message, concat
from fireworks.source import Retry, Rows, Run, Source
from fireworks.source.rings import Flow, Position


class WriterSource(Source):
    """Writes rows to a table, commits them, then passes them on.

    Rows are written when they are pulled: iterate the source, or call `drain`. A row whose key is
    in the table already changes what is there, in the columns that the rows have, so that writing
    the same rows again changes nothing. A pass that is resumed from a state writes what that state
    has not seen, rows among them that were committed and not handed out any more; each is in the
    table once. (Where the key is an integer that the database counts, and the rows lack it, they
    are added instead, and what was committed after the state is added again.) Where a state was
    taken, the table ``fireworks_writers`` has a row for as long as the pass lasts, by which a pass
    finds out that another one has gone on from a state of it.

    In a dry run (`fireworks.dry_run_context`), what is written is rolled back when that ends. Until
    then other writers to the same database write in the same transaction; readers do not see it.

    It is a stream: what is announced downstream is not read ahead.

    Args:
        table: A Table, a mapped class, or the name of a table; it must exist and have a primary
            key, of one column or several.
        engine: An SQLAlchemy engine or URL, or the path of a SQLite file.
        batch_rows: Rows sent to the database at once, at most.
        transaction_rows: Rows in a transaction, at least: the Messages of the input are held until
            there are so many, committed together, and passed on one by one. By default each
            Message of the input is a transaction (256 rows where the input has no batches).
        reconnect: How often a lost connection is tried to be had again, and how long to wait. The
            transaction that was interrupted is repeated as a whole.
        inputs: The source of the rows.
        name: Tells this source from others of its class.

    Attributes:
        table: The SQLAlchemy Table.
        engine: The SQLAlchemy engine.

    Raises:
        DatabaseNotFound, TableNotFound: There is no such database, or no such table in it.
        WrongValue: The table has no primary key; (when read) a value does not fit: row, column and
            value are named, and the whole transaction is undone.
        ColumnNotFound: (when read) The rows have a column that the table has not, or lack one that
            it needs.
        WrongType: (when read) A column of the rows is of another kind than the table's.
        NotWritten: (when read) The database is full, locked or may only be read.
        SecondWriter: (when read) Another pass went on from a state of this one.
        DatabaseUnreachable: (when read) There is no connection to the database.
    """

    needs_inputs = True

    def __init__(
        self,
        table: TableLike,
        engine: Database,
        *,
        batch_rows: int = 10_000,
        transaction_rows: int | None = None,
        reconnect: Retry = RECONNECT,
        inputs: Source | Mapping[str, Source] | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(inputs=inputs, name=name)
        for what, number in (("batch_rows", batch_rows), ("transaction_rows", transaction_rows)):
            if number is not None and (not isinstance(number, int | np.integer) or number < 1):
                raise WrongValue(f"{what} must be an integer of at least 1; it is {number!r}.")
        self.engine = connect(engine)
        self.table = reflect(table, self.engine)
        if not self.table.primary_key.columns:
            raise WrongValue(
                f"The table {self.table.name!r} has no primary key, so rows that are written again "
                "after an interruption would be there twice. Give it one: "
                "create_table(name, columns, engine, key=…)."
            )
        self._batch_rows = int(batch_rows)
        self._transaction_rows = transaction_rows
        self._reconnect = reconnect
        self._held = HeldConnections(autocommit=False)
        self._writer: str | None = None  # known by this to passes that go on from its states
        self._is_resumed = False
        self._claim: Claim | None = None

    def flow(self, run: Run, start: Position) -> Flow:
        """Yield the input's Messages, each after its commit."""
        if isinstance(self.engine.pool, sa.NullPool):  # others keep connections for everybody
            self._held.hold(run)
        for transaction in self._transactions(run.open(self.input, start, reader=self)):
            self._write([message for message, _ in transaction])
            yield from transaction
        if self._claim is not None:
            self._claim.release()

    def _transactions(self, flow: Flow) -> Iterator[list[tuple[Message, Position]]]:
        waiting: list[tuple[Message, Position]] = []
        rows = 0
        for each in flow:
            waiting.append(each)
            rows += len(each[0])
            if rows >= (self._transaction_rows or 0):
                yield waiting
                waiting, rows = [], 0
        if waiting:
            yield waiting

    def drain(self) -> int:
        """Write one epoch of the input and return how many rows it had."""
        return sum(len(message) for message in self)

    # -- writing ----------------------------------------------------------------------------------

    def _write(self, messages: Sequence[Message]) -> None:
        """Write Messages in one transaction, which is repeated where the connection is lost."""
        filled = [each for each in messages if len(each)]
        if not filled:
            return
        rows = filled[0] if len(filled) == 1 else concat(filled)
        if (dry_run := dry_run_context.current()) is not None:
            self._rehearse(rows, dry_run)
            return
        adds, claim = self._adds(rows), self._claimed()
        attempts = Attempts(
            self.engine, doing=f"writing {self.table.name!r}", retry=self._reconnect
        )
        while True:
            committing = False
            try:
                with self._held.use(attempts) as connection, connection.begin():
                    if claim is not None:
                        claim.renew(connection, len(rows))
                    self._send(connection, rows)
                    committing = True
                if claim is not None:
                    claim.committed(len(rows))
                return
            except DBAPIError as error:
                if not is_passing(error):
                    raise self._refused(rows, error) from error
                if committing and adds:
                    raise DatabaseUnreachable(
                        f"The connection was lost while {len(rows)} rows were committed to "
                        f"{self.table.name!r} ({told(self.engine, error)}): they are there, all or "
                        "none, and without a key it cannot be known which."
                    ) from error
                attempts.wait_after(error)
            except misfits.BAD_VALUES as error:
                if misfits.is_ours(error):
                    raise
                raise self._refused(rows, error) from error

    def _rehearse(self, rows: Message, dry_run: DryRun) -> None:
        """Write in the transaction of a dry run, which is rolled back when that ends."""

        def begin() -> tuple[sa.Connection, Callable[[], object]]:
            connection = self.engine.connect()
            if self.engine.dialect.name == "sqlite":
                # The first savepoint would be the transaction, and be committed at its release.
                connection.exec_driver_sql("BEGIN")
            return connection, connection.close  # closing rolls back

        in_memory = self.engine.url.database in (None, "", ":memory:")
        which = id(self.engine) if in_memory else str(self.engine.url)
        try:
            with (
                dry_run.lent(("database", which), begin) as connection,
                connection.begin_nested(),
            ):
                self._send(connection, rows)
        except DBAPIError as error:
            refusal = refusals.of_writing(error, self.engine, self.table, len(rows))
            raise refusal or misfits.unfit(self.engine, self.table, rows, error) from error

    def _claimed(self) -> Claim | None:
        """Return the claim of this writer, once there is a state to go on from."""
        if self._claim is None and self._writer is not None:
            self._claim = Claim(
                self.engine, self._writer, self._is_resumed, doing=f"writing with {self!r}"
            )
        return self._claim

    def _send(self, connection: sa.Connection, rows: Message) -> None:
        write = writing.insert if self._adds(rows) else writing.upsert
        if len(rows) <= self._batch_rows:
            write(connection, self.table, rows)
        else:
            for start in range(0, len(rows), self._batch_rows):
                write(connection, self.table, rows[start : start + self._batch_rows])

    def _adds(self, rows: Message) -> bool:
        """Return whether the database is to number the rows.

        Raises:
            ColumnNotFound: The rows have a column that the table has not.
        """
        known = [str(column.name) for column in self.table.columns]
        for name in rows.columns:
            if name not in known:
                raise ColumnNotFound(
                    f"The table {self.table.name!r} has no column {name!r}.{suggest(name, known)}"
                )
        key = list(self.table.primary_key.columns)
        missing = [str(column.name) for column in key if column.name not in rows.columns]
        if not missing:
            return False
        one = key[0] if len(key) == 1 else None
        return one is not None and bool(
            one is self.table.autoincrement_column or one.server_default
        )

    def _refused(self, rows: Message, error: Exception) -> Exception:
        if isinstance(error, DBAPIError):
            refusal = refusals.of_writing(error, self.engine, self.table, len(rows))
            if refusal is not None:
                return refusal
        return misfits.misfit(self.engine, self.table, rows, self._send, error)

    # -- in the graph -----------------------------------------------------------------------------

    def rows_above(self, rows: Rows) -> Mapping[str, Rows]:
        """Return nothing: rows that are announced below are not to be written before their time."""
        return {}

    def lookahead(self) -> int:
        """Return 0: announcements end here."""
        return 0

    @property
    def reads_together(self) -> bool:
        """Whether announced rows are read together: none come through."""
        return False

    def own_state(self) -> dict[str, Any]:
        """Return by what a pass that goes on from this state is known as the same writer."""
        if self._writer is None:
            self._writer = new_id()
        return {"writer": self._writer}

    def restore_own(self, state: Mapping[str, Any] | None, rows: Message | None) -> None:
        """Go on as the writer of a state."""
        if state is not None:
            self._writer, self._is_resumed, self._claim = state["writer"], True, None

    def describe(self) -> dict[str, Any]:
        """Return the table's name."""
        return {"table": self.table.name}

    def __repr__(self) -> str:
        return f"WriterSource({self.table.name!r})"

    def __getstate__(self) -> dict[str, Any]:
        state = without_engine(super().__getstate__())
        del state["_held"]
        return {**state, "_writer": None, "_claim": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(with_engine(state))
        self._held = HeldConnections(autocommit=False)
