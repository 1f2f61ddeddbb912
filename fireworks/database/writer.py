"""Rows written to a table in the middle of a pipeline."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy.dialects import sqlite
from sqlalchemy.exc import IntegrityError, OperationalError

from fireworks.database.columns import to_records
from fireworks.database.engine import (
    Database,
    TableLike,
    connect,
    reflect,
    the_key,
    with_engine,
    without_engine,
)
from fireworks.errors import WrongValue
from fireworks.message import Message
from fireworks.source import Run, Source
from fireworks.source.rings import Flow, Position


class WriterSource(Source):
    """Writes rows to a table, commits them, then passes them on.

    Each batch of the input is one transaction (256 rows where it has no batches). A row whose
    key is in the table already replaces what is there, so that writing the same rows again changes
    nothing. Rows are written when they are pulled: iterate the source, or call `drain`. It is a
    stream.

    Args:
        table: A Table, a mapped class, or the name of a table; it must exist.
        engine: An SQLAlchemy engine or URL, or the path of a SQLite file. (SQLite, for now.)
        inputs: The source of the rows.
        name: Tells this source from others of its class.

    Raises:
        DatabaseNotFound, TableNotFound: There is no such database, or no such table in it.
        WrongValue: The table has no primary key of one column; the database is not SQLite; (when
            read) a row does not fit the table's constraints: the whole transaction is undone.
        ColumnNotFound: (when read) the rows have a column that the table has not.
    """

    needs_inputs = True

    def __init__(
        self,
        table: TableLike,
        engine: Database,
        *,
        inputs: Source | Mapping[str, Source] | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(inputs=inputs, name=name)
        self.engine = connect(engine)
        if self.engine.dialect.name != "sqlite":
            raise WrongValue(f"WriterSource writes to SQLite, not to {self.engine.dialect.name}.")
        self.table = reflect(table, self.engine)
        self._key = the_key(self.table)

    def flow(self, run: Run, start: Position) -> Flow:
        """Yield the input's Messages, each after its commit."""
        for message, position in run.open(self.input, start, reader=self):
            self._write(message)
            yield message, position

    def drain(self) -> int:
        """Write one epoch of the input and return how many rows it had."""
        return sum(len(message) for message in self)

    def _write(self, message: Message) -> None:
        if not len(message):
            return
        records = to_records(message, self.table)
        insert = sqlite.insert(self.table)
        changed = {
            name: insert.excluded[name] for name in message.columns if name != self._key.name
        }
        upsert = (
            insert.on_conflict_do_update(index_elements=[self._key], set_=changed)
            if changed
            else insert.on_conflict_do_nothing()
        )
        try:
            with self.engine.begin() as connection:
                connection.execute(upsert, records)
        except (IntegrityError, OperationalError) as error:
            raise WrongValue(
                f"{len(records)} rows could not be written to {self.table.name!r}, and none of "
                f"them was: {error.orig}"
            ) from error

    def describe(self) -> dict[str, Any]:
        """Return the table's name."""
        return {"table": self.table.name}

    def __repr__(self) -> str:
        return f"WriterSource({self.table.name!r})"

    def __getstate__(self) -> dict[str, Any]:
        return without_engine(super().__getstate__())

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(with_engine(state))
