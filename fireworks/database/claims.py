"""Whose turn it is to write: two writers that go on from one state would undo each other's work."""

from __future__ import annotations

import logging
import uuid

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, IntegrityError

from fireworks.database.retrying import told, with_connection
from fireworks.errors import SecondWriter

_log = logging.getLogger(__name__)

_claims = sa.Table(
    "fireworks_writers",
    sa.MetaData(),
    sa.Column("writer", sa.String(32), primary_key=True),
    sa.Column("session", sa.String(32), nullable=False),
    sa.Column("rows_written", sa.BigInteger, nullable=False),
)


def new_id() -> str:
    """Return what no other writer has."""
    return uuid.uuid4().hex


class Claim:
    """That one source, and no other, writes as a writer: a row beside those that it writes.

    It is renewed in each transaction. A source that goes on from a state takes the claim over from
    the one whose state it is; should that one still be writing, it finds out at its next
    transaction, which is undone. The row is deleted when a pass has ended. What is written is never
    decided by it: a resumed pass goes on where its state stands.

    Args:
        engine: The database.
        writer: Who writes; the same for a source and for those that go on from its states.
        takes_over: Whether this source goes on from a state.
        doing: What is done, for messages.
    """

    def __init__(self, engine: sa.Engine, writer: str, takes_over: bool, doing: str) -> None:
        self._engine = engine
        self._writer = writer
        self._session = new_id()
        self._takes_over = takes_over
        self._doing = doing
        self._rows = 0
        self._is_held = False
        self._works = self._table_is_there()

    def renew(self, connection: sa.Connection, rows: int) -> None:
        """Claim the right to write so many more rows, in the transaction that writes them.

        Raises:
            SecondWriter: Another pass has taken over.
        """
        if not self._works:
            return
        mine = sa.and_(_claims.c.writer == self._writer, _claims.c.session == self._session)
        values = {"session": self._session, "rows_written": self._rows + rows}
        if connection.execute(_claims.update().where(mine).values(values)).rowcount:
            return
        one = _claims.c.writer == self._writer
        there = connection.execute(sa.select(_claims.c.session).where(one)).first() is not None
        if there and (self._is_held or not self._takes_over):
            raise self._second()
        if there:
            connection.execute(_claims.update().where(one).values(values))
            return
        try:
            connection.execute(_claims.insert().values(writer=self._writer, **values))
        except IntegrityError:
            raise self._second() from None

    def committed(self, rows: int) -> None:
        """Note that the transaction was committed."""
        self._rows += rows
        self._is_held = True

    def release(self) -> None:
        """Leave no trace."""
        if self._works and self._is_held:
            mine = sa.and_(_claims.c.writer == self._writer, _claims.c.session == self._session)
            with_connection(
                self._engine, lambda on: on.execute(_claims.delete().where(mine)), doing=self._doing
            )

    def _second(self) -> SecondWriter:
        return SecondWriter(
            f"While {self._doing}, another pass went on from a state of this one and is writing "
            "the same rows. This one was stopped; what it has passed on was committed. Let only "
            "one of them run; to write the same rows on purpose, begin a pass without a state."
        )

    def _table_is_there(self) -> bool:
        """Create the table of claims where it is missing; it needs a transaction of its own."""
        try:
            with_connection(
                self._engine, lambda on: _claims.create(on, checkfirst=True), doing=self._doing
            )
        except DBAPIError as error:
            if not sa.inspect(self._engine).has_table(_claims.name):
                _log.warning(
                    "While %s, a second writer would not be noticed: the table %r cannot be "
                    "created (%s)",
                    self._doing,
                    _claims.name,
                    told(self._engine, error),
                )
                return False
        return True
