"""What keeps an experiment's tables: SQLite in its folder, or a schema of a PostgreSQL database."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

BUSY_SECONDS = 60.0  # a transaction lasts milliseconds: only a stopped process holds on for longer


class Cursor(Protocol):
    """The rows of a statement, as Python's database interface has them."""

    def fetchone(self) -> Any:
        """The next row, None after the last."""
        ...

    def fetchmany(self, size: int, /) -> list[Any]:
        """At most ``size`` further rows."""
        ...

    def fetchall(self) -> list[Any]:
        """All further rows."""
        ...

    def __iter__(self) -> Iterator[Any]: ...


class Curve:
    """Values of one series that are to be written, as columns of one length.

    Args:
        series: The number of the series.
        steps: Ascending by ``seqs``, not by themselves; may repeat.
        seqs: The positions of the ``log`` calls, ascending.
        values: NaN is written as NULL.
        times: Seconds since 1970.
    """

    __slots__ = ("seqs", "series", "steps", "times", "values")

    def __init__(
        self,
        series: int,
        steps: Sequence[int],
        seqs: Sequence[int],
        values: Sequence[float],
        times: Sequence[float],
    ) -> None:
        self.series = series
        self.steps = steps
        self.seqs = seqs
        self.values = values
        self.times = times

    def last(self) -> tuple[int, int, float]:
        """The series, and the step and value at its highest step, the last of equals."""
        highest = max(self.steps)
        if highest == self.steps[-1]:
            return self.series, highest, self.values[-1]
        at = len(self.steps) - 1 - list(reversed(self.steps)).index(highest)
        return self.series, highest, self.values[at]


class Connection(Protocol):
    """Takes the SQL that SQLite and PostgreSQL have in common, with ``?`` for values.

    What they do not have in common are methods here.
    """

    def execute(self, sql: str, parameters: Any = (), /) -> Cursor:
        """Run one statement."""
        ...

    def executemany(self, sql: str, parameters: Iterable[Any], /) -> Cursor:
        """Run one statement for each of several rows."""
        ...

    def tables(self) -> list[str]:
        """The names of all tables, sorted."""
        ...

    def columns(self, table: str) -> dict[str, str]:
        """The columns of a table with their types as SQLite names them; none: no such table."""
        ...

    def write_metrics(self, curves: list[Curve], attempt: int) -> None:
        """Write values, the last of equal steps, and bring ``latest`` up to date."""
        ...

    def mark_new_rows(self, table: str, columns: Sequence[str]) -> None:
        """Have the database write the position of the record into ``seq`` of changed rows."""
        ...

    def mark_as(self, trial: int, attempt: int) -> None:
        """Make the rows that are inserted through this connection a trial's.

        Once the attempt is over, the database refuses them.
        """
        ...

    def query(
        self, sql: str, parameters: Any, *, max_rows: int | None, timeout: float | None
    ) -> tuple[list[str], list[Any]]:
        """Run a person's query: names of the columns, and rows; see ``Experiment.sql``."""
        ...


class Store(ABC):
    """The tables of one experiment.

    It connects when it is first used, and may be used from any thread. A transaction holds
    ``lock`` from its beginning to its commit.
    """

    url: str
    """For SQLAlchemy, without a password."""

    def __init__(self) -> None:
        self.lock = threading.RLock()

    @abstractmethod
    def create(self, fill: Callable[[Connection], None]) -> None:
        """Create all tables, and let ``fill`` write the first rows; complete or not at all."""

    @abstractmethod
    def open(self) -> None:
        """Connect for writing, and bring tables of an earlier release up to date.

        Raises:
            As ``transaction``.
        """

    @abstractmethod
    def transaction(self) -> AbstractContextManager[Connection]:
        """Run one transaction: committed at the end of the block, undone by an exception.

        Writers take turns, over all processes: what a transaction reads holds until its commit.

        Raises:
            ExperimentInUse: Another process has kept its transaction open for a minute.
            ExperimentNotFound: The tables were deleted or moved.
            NotRecorded: The disk is full or failed, or the server does not answer.
            ExperimentReadOnly: The tables cannot be written to.
            DamagedFile: They are damaged, or were written by a newer release.
        """

    @abstractmethod
    def reading(self) -> AbstractContextManager[Connection]:
        """Open the tables for reading, for a short while: one state of them, while others write.

        Raises:
            ExperimentNotFound: They are not there.
            DamagedFile: They are damaged, newer, or not an experiment's.
            DatabaseUnreachable: The server does not answer.
        """

    @abstractmethod
    def connect(self, *, writable: bool, mark_as: tuple[int, int] | None) -> Any:
        """A connection of the database's own module, for SQLAlchemy.

        Args:
            writable: Whether it may write.
            mark_as: The trial and attempt whose rows are inserted through it.
        """

    @abstractmethod
    def copy_to(self, path: Path) -> None:
        """Write one state of all tables to a new SQLite file, with no journal beside it."""

    @abstractmethod
    def remove(self) -> None:
        """Delete the tables, where that is not done with the folder."""

    @abstractmethod
    def close(self) -> None:
        """Close the connection; a later transaction opens it again."""

    def suspend(self) -> None:
        """Close the connection before a fork, and let no transaction begin until ``resume``.

        A child would inherit it: SQLite's account of a process's locks, which it would believe,
        or a socket to a server, on which both would talk.
        """
        self.lock.acquire()
        if not self._in_transaction():
            self.close()

    def resume(self) -> None:
        """Allow transactions again, in the process that has forked."""
        self.lock.release()

    def renew(self) -> None:
        """Allow transactions again, in the child: with a connection and a lock of its own."""
        self._forget()
        self.lock = threading.RLock()

    @abstractmethod
    def _in_transaction(self) -> bool:
        """Whether this thread forks in the middle of a transaction."""

    @abstractmethod
    def _forget(self) -> None:
        """Drop the connection without closing it: it is another process's."""
