"""An experiment's tables in ``experiment.sqlite``: to be written to, or read without a trace."""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from itertools import chain, repeat
from pathlib import Path
from typing import Any, final
from urllib.parse import quote

from fireworks.errors import (
    DamagedFile,
    ExperimentInUse,
    ExperimentNotFound,
    ExperimentReadOnly,
    NotRecorded,
)
from fireworks.record import schema
from fireworks.record.queries import run_query
from fireworks.record.schema import quoted
from fireworks.record.store import BUSY_SECONDS, Connection, Curve, Store


def _of_many(statement: str, row: str, after: str = "") -> list[tuple[int, str]]:
    """A statement for 512 rows, one for 448 … one for one, with their numbers of rows.

    sqlite3 gives up the GIL once per statement and row of ``executemany``, and a training loop that
    computes in Python keeps it for five milliseconds each time: the fewer, the sooner it is
    committed.
    """
    sizes = [512, 448, 384, 320, 256, 192, 128, 96, 64, 48, 32, 24, 16, 12, 8, 6, 4, 3, 2, 1]
    return [(size, f"{statement} VALUES {','.join([row] * size)}{after}") for size in sizes]


@lru_cache(64)
def _insert_metrics(attempt: int) -> list[tuple[int, str]]:
    """The statements that write an attempt's metrics: what all rows share is not bound again."""
    return _of_many("INSERT OR REPLACE INTO metrics", f"(?,?,?,{attempt:d},?,?)")


_UPDATE_LATEST = _of_many(
    "INSERT INTO latest",
    "(?,?,?)",
    " ON CONFLICT (series) DO UPDATE SET step = excluded.step, value = excluded.value "
    "WHERE excluded.step >= latest.step",
)


@final
class SQLiteConnection(sqlite3.Connection):
    """A connection to a SQLite file; see ``store.Connection``."""

    def tables(self) -> list[str]:
        """The names of all tables, sorted."""
        rows = self.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")
        return [name for (name,) in rows if not name.startswith("sqlite_")]

    def columns(self, table: str) -> dict[str, str]:
        """The columns of a table, with their declared types."""
        return {row[1]: row[2] for row in self.execute(f"PRAGMA table_info({quoted(table)})")}

    def write_metrics(self, curves: list[Curve], attempt: int) -> None:
        """Write values, and bring ``latest`` up to date."""
        # Grouped as the table is clustered: neighbours go to the same page.
        ordered = sorted(curves, key=lambda each: each.series)
        columns = (
            [repeat(each.series, len(each.steps)) for each in ordered],
            [each.steps for each in ordered],
            [each.seqs for each in ordered],
            [each.values for each in ordered],
            [each.times for each in ordered],
        )
        fields: list[Any] = [None] * (len(columns) * sum(len(each.steps) for each in ordered))
        for place, parts in enumerate(columns):
            fields[place :: len(columns)] = chain.from_iterable(parts)
        _execute_many(self, _insert_metrics(attempt), len(columns), fields)
        latest = [field for each in ordered for field in each.last()]
        _execute_many(self, _UPDATE_LATEST, 3, latest)

    def mark_new_rows(self, table: str, columns: Sequence[str]) -> None:
        """Have triggers write the position of the record into ``seq`` of changed rows."""
        for action in ("INSERT", "UPDATE"):
            changed = "" if action == "INSERT" else f" OF {', '.join(map(quoted, columns))}"
            self.execute(
                f"CREATE TRIGGER {quoted(f'{table} after {action.lower()}')} "
                f"AFTER {action}{changed} ON {quoted(table)} BEGIN UPDATE {quoted(table)} "
                "SET seq = 1 + (SELECT CAST(value AS INTEGER) FROM metadata WHERE key = 'seq') "
                "WHERE rowid = NEW.rowid; END"
            )

    def mark_as(self, trial: int, attempt: int) -> None:
        """Make the rows that are inserted through this connection a trial's."""
        for table in schema.marked_tables(self):
            self.execute(
                f"CREATE TEMP TRIGGER {quoted(f'{table} of trial')} AFTER INSERT ON "
                f"main.{quoted(table)} BEGIN "
                "SELECT RAISE(ABORT, 'this attempt at the trial is over') WHERE NOT EXISTS ("
                f"SELECT 1 FROM trials WHERE number = {trial:d} AND state = 'running' AND "
                f"attempt = {attempt:d}); "
                f"UPDATE {quoted(table)} SET trial = {trial:d} WHERE rowid = NEW.rowid; END"
            )

    def query(
        self, sql: str, parameters: Any, *, max_rows: int | None, timeout: float | None
    ) -> tuple[list[str], list[Any]]:
        """Run a person's query."""
        return run_query(self, sql, parameters, max_rows=max_rows, timeout=timeout)


def _execute_many(
    connection: sqlite3.Connection,
    statements: list[tuple[int, str]],
    columns: int,
    fields: list[Any],
) -> None:
    """Write rows, given one after the other, with as few statements as can be."""
    start, left = 0, len(fields) // columns
    largest, statement = statements[0]
    while left >= largest:
        end = start + largest * columns
        connection.execute(statement, fields[start:end])
        start, left = end, left - largest
    if left:
        size, statement = next(each for each in reversed(statements) if each[0] >= left)
        # A row that is repeated replaces itself, which is less than a further statement.
        connection.execute(statement, fields[start:] + fields[-columns:] * (size - left))


@final
class SQLiteStore(Store):
    """The tables in a SQLite file.

    Args:
        path: The file.
        durable: Whether a commit also survives a power loss (``synchronous = FULL``). Without it,
            a commit survives the death of the process at any moment, but a power loss may take
            the last commits with it; the database stays sound in both cases.
    """

    def __init__(self, path: Path, *, durable: bool = False) -> None:
        super().__init__()
        self.path = path
        self.url = f"sqlite:///{path}"
        self._durable = durable
        self._connection: SQLiteConnection | None = None
        self._file: tuple[int, int] | None = None

    def create(self, fill: Callable[[Connection], None]) -> None:
        """Create the file, in place of what is there.

        Nobody may know of it yet: it is written without a journal and synced at the end.
        """
        self.path.unlink(missing_ok=True)
        with explained(self.path):
            self._create(fill)
        descriptor = os.open(self.path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def _create(self, fill: Callable[[Connection], None]) -> None:
        connection = sqlite3.connect(self.path, isolation_level=None, factory=SQLiteConnection)
        try:
            connection.execute("PRAGMA synchronous = OFF")
            connection.execute("PRAGMA journal_mode = OFF")
            schema.create(connection)
            connection.execute("BEGIN")
            fill(connection)
            connection.execute("COMMIT")
            connection.execute("PRAGMA journal_mode = WAL")
        finally:
            connection.close()

    def open(self) -> None:
        """Connect for writing, and bring an older database forward."""
        with self.lock, explained(self.path):
            self._connect()

    def _connect(self) -> SQLiteConnection:
        if self._connection is not None:
            return self._connection
        if not self.path.is_file():
            raise ExperimentNotFound(f"The database {str(self.path)!r} is gone.")
        connection = _connection(self.path, "mode=rw")
        try:
            schema.migrate(connection, self.path)
            connection.execute(f"PRAGMA synchronous = {'FULL' if self._durable else 'NORMAL'}")
            connection.execute("PRAGMA trusted_schema = OFF")
        except BaseException:
            connection.close()
            raise
        self._connection, self._file = connection, file_id(self.path)
        return connection

    @contextmanager
    def transaction(self) -> Generator[Connection]:
        """Run one transaction.

        It begins as a writer (``BEGIN IMMEDIATE``): a transaction that reads first and writes
        later fails at once where another process wrote in between, whatever the timeout.
        """
        with self.lock, explained(self.path):
            connection = self._connect()
            if file_id(self.path) != self._file:  # SQLite would go on writing to the deleted file
                raise ExperimentNotFound(f"The database {str(self.path)!r} was deleted or moved.")
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise

    @contextmanager
    def reading(self) -> Generator[Connection]:
        """Open the file for reading, for a short while, leaving no trace of it.

        SQLite's own read-only mode would leave ``-wal`` and ``-shm`` files beside a database that
        nobody has open, and cannot open it in a folder that is not writable; such a database is
        opened as immutable instead.
        """
        with self._reading() as connection:
            yield connection

    @contextmanager
    def _reading(self) -> Generator[SQLiteConnection]:
        if not self.path.is_file():
            raise ExperimentNotFound(
                f"There is no database {str(self.path)!r}: the folder is incomplete."
            )
        with explained(self.path):
            connection = connect_reading(self.path)
            try:
                connection.execute("BEGIN")  # one state of the database for all that is read …
                schema.check(connection, self.path)  # … from here on
                yield connection
            finally:
                connection.close()

    def connect(self, *, writable: bool, mark_as: tuple[int, int] | None) -> SQLiteConnection:
        """A connection of the module sqlite3, which begins its transactions by itself."""
        if not writable:
            return connect_reading(self.path)
        connection = sqlite3.connect(
            self.path, timeout=BUSY_SECONDS, check_same_thread=False, factory=SQLiteConnection
        )
        try:
            if mark_as is not None:
                connection.mark_as(*mark_as)
        except BaseException:
            connection.close()
            raise
        return connection

    def copy_to(self, path: Path) -> None:
        """Write one state of the database to a new file."""
        copy = sqlite3.connect(path, isolation_level=None)
        try:
            with self._reading() as connection:
                connection.backup(copy)
            copy.execute("PRAGMA journal_mode = DELETE")
        finally:
            copy.close()

    def remove(self) -> None:
        """Nothing: the file goes with its folder."""

    def close(self) -> None:
        """Close the connection."""
        with self.lock:
            connection, self._connection = self._connection, None
            if connection is not None:
                connection.close()

    def _in_transaction(self) -> bool:
        return self._connection is not None and self._connection.in_transaction

    def _forget(self) -> None:
        self._connection = None


def file_id(path: Path) -> tuple[int, int] | None:
    """Which file is at a path, whatever it is called; None where there is none."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _connection(path: Path, options: str) -> SQLiteConnection:
    return sqlite3.connect(
        f"file:{quote(str(path))}?{options}",
        uri=True,
        isolation_level=None,  # transactions are begun and ended here, by hand
        timeout=BUSY_SECONDS,
        check_same_thread=False,
        factory=SQLiteConnection,
    )


def connect_reading(path: Path) -> SQLiteConnection:
    """A connection that reads any SQLite file, and leaves no trace beside it.

    Raises:
        sqlite3.DatabaseError: It is missing, damaged, or no database.
    """
    with _readable(path) as (place, options):
        connection = _connection(place, options)
        try:
            connection.execute("PRAGMA trusted_schema = OFF")
            connection.execute("PRAGMA query_only = ON")
            if place != path:  # the copy is deleted at once: SQLite must have opened its log
                connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        except BaseException:
            connection.close()
            raise
        return connection


@contextmanager
def _readable(path: Path) -> Generator[tuple[Path, str]]:
    """Where to read a database from, and with which options, so that nothing is left there."""
    log, shared = (path.with_name(path.name + end) for end in ("-wal", "-shm"))
    rows_in_log = log.exists() and log.stat().st_size > 0
    if log.exists() and os.access(shared, os.W_OK):
        yield path, "mode=ro"  # somebody has it open, or was killed: both files are there already
    elif not rows_in_log:
        yield path, "mode=ro&immutable=1"
    else:
        # Copied without its shared memory, or on a read-only file system: SQLite would have to
        # create or write that file to make sense of the log.
        with tempfile.TemporaryDirectory() as folder:
            for each in (path, log):
                shutil.copyfile(each, Path(folder) / each.name)
            yield Path(folder) / path.name, "mode=rw"


@contextmanager
def explained(path: Path) -> Generator[None]:
    """Turn SQLite's errors about the file itself into ours, which say what to do."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            raise ExperimentInUse(
                f"{str(path)!r} has been locked by another process for {BUSY_SECONDS:.0f} s. "
                "Look for a stopped process, or a tool, that holds a transaction open."
            ) from error
        if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            raise DamagedFile(
                f"{str(path)!r} is damaged or not a database: {error}. "
                "What can be saved: sqlite3 experiment.sqlite .recover"
            ) from error
        if code == sqlite3.SQLITE_ERROR:  # a statement of ours that its tables do not fit
            raise DamagedFile(f"{str(path)!r} does not hold what it should: {error}.") from error
        if code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR):
            raise NotRecorded(
                f"{str(path)!r} could not be written: {error}. Make room on the disk, or "
                "repair it; what was committed before is kept."
            ) from error
        if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM):
            raise ExperimentReadOnly(
                f"{str(path)!r} cannot be written to: {error}. Check the folder's permissions."
            ) from error
        raise
