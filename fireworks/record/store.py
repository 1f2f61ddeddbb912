"""Connections to ``experiment.sqlite``: one that writes, and ones that read and leave no trace."""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import final
from urllib.parse import quote

from fireworks.errors import (
    DamagedFile,
    ExperimentInUse,
    ExperimentNotFound,
    ExperimentReadOnly,
    NotRecorded,
)
from fireworks.record import schema

BUSY_SECONDS = 60.0  # a transaction lasts milliseconds: only a stopped process holds on for longer


def create_database(path: Path, fill: Callable[[sqlite3.Connection], None]) -> None:
    """Create ``experiment.sqlite`` at ``path``, in place of what is there.

    Nobody may know of the file yet: it is written without a journal and synced at the end.

    Args:
        path: The file.
        fill: Writes the first rows.
    """
    path.unlink(missing_ok=True)
    connection = sqlite3.connect(path, isolation_level=None)
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
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@final
class Store:
    """The connection through which one process writes to an experiment.

    It may be used from any thread: a transaction holds ``lock`` from its beginning to its commit.

    Args:
        path: The database file, which must exist.
        durable: Whether a commit also survives a power loss (``synchronous = FULL``). Without it,
            a commit survives the death of the process at any moment, but a power loss may take
            the last commits with it; the database stays sound in both cases.
    """

    def __init__(self, path: Path, *, durable: bool = False) -> None:
        self.path = path
        self.lock = threading.RLock()
        self._durable = durable
        self._connection: sqlite3.Connection | None = None
        with self.lock, explained(path):
            self._connect()

    def _connect(self) -> sqlite3.Connection:
        if not self.path.is_file():
            raise ExperimentNotFound(f"The database {str(self.path)!r} is gone.")
        connection = sqlite3.connect(
            _uri(self.path, "mode=rw"),
            uri=True,
            isolation_level=None,  # transactions are begun and ended here, by hand
            timeout=BUSY_SECONDS,
            check_same_thread=False,
        )
        try:
            schema.migrate(connection, self.path)
            connection.execute(f"PRAGMA synchronous = {'FULL' if self._durable else 'NORMAL'}")
            connection.execute("PRAGMA trusted_schema = OFF")
        except BaseException:
            connection.close()
            raise
        self._connection = connection
        return connection

    @contextmanager
    def transaction(self) -> Generator[sqlite3.Connection]:
        """Run one transaction: committed at the end of the block, undone by an exception.

        It begins as a writer (``BEGIN IMMEDIATE``): a transaction that reads first and writes
        later fails at once where another process wrote in between, whatever the timeout.

        Raises:
            ExperimentInUse: Another process has kept the database locked for a minute.
            ExperimentNotFound: The database was deleted or moved.
            NotRecorded: The disk is full, or failed.
            ExperimentReadOnly: The database cannot be written to.
            DamagedFile: The database is damaged.
        """
        with self.lock, explained(self.path):
            connection = self._connection or self._connect()
            if not self.path.exists():  # SQLite would go on writing to the deleted file
                raise ExperimentNotFound(f"The database {str(self.path)!r} was deleted or moved.")
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise

    def close(self) -> None:
        """Close the connection; a later transaction would open it again."""
        with self.lock:
            connection, self._connection = self._connection, None
            if connection is not None:
                connection.close()

    def suspend(self) -> None:
        """Close the connection before a fork, and let no transaction begin until ``resume``.

        SQLite keeps an account of a process's locks that a child would inherit and believe:
        another process could then remove the log that the child writes to.
        """
        self.lock.acquire()
        connection = self._connection
        if connection is not None and not connection.in_transaction:
            self.close()

    def resume(self) -> None:
        """Allow transactions again, in the process that has forked."""
        self.lock.release()

    def renew(self) -> None:
        """Allow transactions again, in the child: with a connection and a lock of its own."""
        self._connection = None
        self.lock = threading.RLock()


@contextmanager
def reading(path: Path) -> Generator[sqlite3.Connection]:
    """Open an experiment's database for reading, for a short while, leaving no trace of it.

    Reads also while other processes write. SQLite's own read-only mode would leave ``-wal`` and
    ``-shm`` files beside a database that nobody has open, and cannot open it in a folder that is
    not writable; such a database is opened as immutable instead.

    Raises:
        ExperimentNotFound: There is no such file.
        DamagedFile: It is damaged, newer, or not an experiment's.
    """
    if not path.is_file():
        raise ExperimentNotFound(f"There is no database {str(path)!r}: the folder is incomplete.")
    with explained(path):
        connection = connect_reading(path)
        try:
            connection.execute("BEGIN")  # one state of the database for all that is read …
            schema.check(connection, path)  # … from here on
            yield connection
        finally:
            connection.close()


def connect_reading(path: Path) -> sqlite3.Connection:
    """A connection that reads any SQLite file, and leaves no trace beside it.

    Raises:
        sqlite3.DatabaseError: It is missing, damaged, or no database.
    """
    with _readable(path) as (place, options):
        connection = sqlite3.connect(
            _uri(place, options),
            uri=True,
            isolation_level=None,
            timeout=BUSY_SECONDS,
            check_same_thread=False,
        )
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


def _uri(path: Path, options: str) -> str:
    return f"file:{quote(str(path))}?{options}"


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
