"""Changes to a table, made together or not at all."""

from __future__ import annotations

import weakref
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from fireworks.database import misfits, refusals
from fireworks.database.retrying import Attempts, is_passing, told
from fireworks.errors import DatabaseUnreachable, FireworksError, WrongValue
from fireworks.message import Message
from fireworks.source import Retry


class Transaction:
    """Begins at the first change, and ends with `commit` or `rollback`.

    A change that is refused is undone by itself; those before it stay in the transaction.

    Args:
        engine: The database.
        table: The table that is changed.
    """

    def __init__(self, engine: sa.Engine, table: sa.Table) -> None:
        self._engine = engine
        self._table = table
        self._open: sa.Connection | None = None
        self._has_changes = False
        self._end: weakref.finalize[..., Any] | None = None

    @property
    def connection(self) -> sa.Connection | None:
        """The connection with changes that are not committed; None where there are none."""
        return self._open

    def write(self, rows: Message, write: misfits.Write) -> None:
        """Write rows.

        Raises:
            WrongValue: A value does not fit, or a key is there already; row, column and value are
                named.
            NotWritten: The database is locked, full, or may only be read.
            DatabaseUnreachable: There is no connection; where it was lost, what was not committed
                is undone.
        """
        connection = self._begun()
        try:
            with self._savepoint(connection):
                write(connection, rows)
            self._has_changes = True
        except misfits.BAD_VALUES as error:
            if misfits.is_ours(error):
                raise
            refusal = self._refusal(error, len(rows)) if isinstance(error, DBAPIError) else None
            if refusal is None and self._open is not None:
                refusal = misfits.misfit(
                    self._engine, self._table, rows, write, error, connection=connection
                )
            raise refusal or self._refused_because(error) from error
        finally:
            self._close_if_unchanged()

    def execute(self, statement: sa.UpdateBase) -> int:
        """Make a change by one statement; return how many rows it concerned.

        Raises:
            WrongValue: The database refuses it.
            NotWritten, DatabaseUnreachable: As in `write`.
        """
        connection = self._begun()
        try:
            with self._savepoint(connection):
                done = connection.execute(statement).rowcount
            self._has_changes = True
            return done
        except DBAPIError as error:
            refusal = self._refusal(error, 0)
            raise refusal or self._refused_because(error) from error
        finally:
            self._close_if_unchanged()

    def commit(self) -> None:
        """Make all changes since the last commit last.

        Raises:
            WrongValue: The database refuses them together (a deferred constraint); they are undone.
            NotWritten, DatabaseUnreachable: As for `write`.
        """
        connection = self._open
        if connection is None:
            return
        try:
            connection.commit()
        except DBAPIError as error:
            raise self._refusal(error, 0) or self._refused_because(error) from error
        finally:
            self._close()

    def rollback(self) -> None:
        """Undo all changes since the last commit."""
        self._close()

    def _begun(self) -> sa.Connection:
        if self._open is not None:
            return self._open
        attempts = Attempts(
            self._engine, doing=f"writing {self._table.name!r}", retry=Retry(1, wait=0.05)
        )
        while True:
            try:
                manager = attempts.connection()
                connection = manager.__enter__()
                break
            except DBAPIError as error:
                attempts.wait_after(error)
        # The manager ends with this: a transaction that nobody ended is undone.
        self._end = weakref.finalize(self, manager.__exit__, None, None, None)
        self._open = connection
        if self._engine.dialect.name == "sqlite":
            try:
                # Later, a lock that another process holds would be an error at once; and the
                # driver would begin only at the first change, inside of the savepoint.
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            except DBAPIError as error:
                self._close()
                raise self._refusal(error, 0) or self._refused_because(error) from error
        return connection

    @contextmanager
    def _savepoint(self, connection: sa.Connection) -> Generator[None]:
        savepoint = connection.begin_nested()
        try:
            yield
        except BaseException as error:
            try:
                savepoint.rollback()
            except DBAPIError:
                # SQLite ends the whole transaction when its disk is full; a lost server, too.
                self._close()
                error.add_note("Everything since the last commit is undone.")
            raise
        savepoint.commit()

    def _refusal(self, error: DBAPIError, rows: int) -> FireworksError | None:
        """Return the error where the reason is not in the rows."""
        if is_passing(error):
            self._close()
            return DatabaseUnreachable(
                f"The connection was lost while writing {self._table.name!r} "
                f"({told(self._engine, error)}). Nothing since the last commit was written; do it "
                "again as a whole."
            )
        return refusals.of_writing(error, self._engine, self._table, rows)

    def _refused_because(self, error: Exception) -> WrongValue:
        said = told(self._engine, error) if isinstance(error, DBAPIError) else str(error)
        return WrongValue(
            f"The database refused to change {self._table.name!r}, and did not: {said}."
        )

    def _close_if_unchanged(self) -> None:
        """Hold no lock for a first change that was refused."""
        if not self._has_changes:
            self._close()

    def _close(self) -> None:
        self._has_changes = False
        end, self._open, self._end = self._end, None, None
        if end is not None:
            end()
