"""An experiment's tables in a schema of their own in a PostgreSQL database."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, final

from fireworks.errors import (
    DamagedFile,
    DatabaseUnreachable,
    ExperimentInUse,
    ExperimentNotFound,
    ExperimentReadOnly,
    NotRecorded,
    WrongValue,
)
from fireworks.optional import require
from fireworks.record import schema
from fireworks.record.copying import write_sqlite
from fireworks.record.postgresql_connection import (
    FUNCTIONS,
    LOCK,
    PostgreSQLConnection,
    first_line,
    tables_in_postgresql,
)
from fireworks.record.schema import quoted
from fireworks.record.store import BUSY_SECONDS, Connection, Store
from fireworks.record.urls import StoreURL

_FORMAT = "fireworks-experiment"  # and the version: the comment on the schema

_inherited: list[Any] = []  # connections of the parent, which a child must not end


@final
class PostgreSQLStore(Store):
    """The tables in a schema of a PostgreSQL database.

    A commit returns when it is on the server's disk, as far as the server is set up so.

    Args:
        url: Where the database is.
        name: The schema.

    Raises:
        MissingDependency: psycopg is not installed.
    """

    def __init__(self, url: StoreURL, name: str) -> None:
        super().__init__()
        require("psycopg", extra="postgresql", purpose="Keeping an experiment on PostgreSQL")
        self.url = url.masked
        self.name = name
        self._server = url
        self._connection: PostgreSQLConnection | None = None

    def __str__(self) -> str:
        return f"{self.url}, schema {self.name}"

    def create(self, fill: Callable[[Connection], None]) -> None:
        """Create the schema and all tables."""
        with self._connected() as connection, connection.psycopg.transaction():
            connection.execute(
                f"CREATE SCHEMA {quoted(self.name)}; "
                f"COMMENT ON SCHEMA {quoted(self.name)} IS '{_FORMAT} {schema.VERSION}'; "
                f"{tables_in_postgresql(schema.TABLES)} {FUNCTIONS}"
            )
            fill(connection)

    def open(self) -> None:
        """Connect for writing, and bring older tables forward."""
        with self.lock, self._explained():
            self._connect()

    def _connect(self) -> PostgreSQLConnection:
        if self._connection is None:
            connection = self._new_connection()
            try:
                self._migrate(connection)
            except BaseException:
                connection.psycopg.close()
                raise
            self._connection = connection
        return self._connection

    def _migrate(self, connection: PostgreSQLConnection) -> None:
        if self._version(connection) == schema.VERSION:
            return
        with connection.psycopg.transaction():
            connection.execute(f"SELECT pg_advisory_xact_lock({LOCK})")
            for version in range(self._version(connection), schema.VERSION):
                connection.execute(tables_in_postgresql(schema.STEPS[version]))
            connection.execute(
                f"COMMENT ON SCHEMA {quoted(self.name)} IS '{_FORMAT} {schema.VERSION}'"
            )

    def _version(self, connection: PostgreSQLConnection) -> int:
        (there, comment) = connection.execute(
            "SELECT to_regnamespace(?), obj_description(to_regnamespace(?), 'pg_namespace')",
            (quoted(self.name), quoted(self.name)),
        ).fetchone()
        if there is None:
            raise ExperimentNotFound(
                f"There is no schema {self.name!r} in {self.url}: the experiment's tables were "
                "deleted, or the database is another one."
            )
        kind, _, version = (comment or "").partition(" ")
        if kind != _FORMAT or not version.isdecimal():
            raise DamagedFile(f"The schema {self.name!r} in {self.url} is not an experiment's.")
        return schema.check_version(int(version), self)

    def _new_connection(self, **options: Any) -> PostgreSQLConnection:
        import psycopg

        try:
            connection = psycopg.connect(
                self._server.for_libpq,
                autocommit=True,
                connect_timeout=10,
                application_name="fireworks",
                client_encoding="UTF8",
            )
        except psycopg.OperationalError as error:
            raise DatabaseUnreachable(
                f"There is no connection to {self.url}: {' '.join(str(error).split())}. "
                "A password is taken from FIREWORKS_STORE, PGPASSWORD or ~/.pgpass."
            ) from None
        made = PostgreSQLConnection(connection)
        made.execute(
            "SELECT set_config('search_path', ?, false), set_config('lock_timeout', ?, false)",
            (f"{quoted(self.name)}, pg_temp", f"{round(BUSY_SECONDS * 1000)}ms"),
        )
        return made

    @contextmanager
    def _connected(self) -> Generator[PostgreSQLConnection]:
        """A connection of its own, closed at the end of the block."""
        with self._explained():
            connection = self._new_connection()
            try:
                yield connection
            finally:
                connection.psycopg.close()

    @contextmanager
    def transaction(self) -> Generator[Connection]:
        """Run one transaction, with the lock for which all writers wait."""
        import psycopg

        with self.lock, self._explained():
            connection = self._begun()
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                try:
                    connection.execute("ROLLBACK")
                except psycopg.Error:  # the server is gone, or in the middle of something
                    self.close()
                raise

    def _begun(self) -> PostgreSQLConnection:
        """The connection, in a transaction; a new one where the server has ended the last."""
        import psycopg

        begin = f"BEGIN; SELECT pg_advisory_xact_lock({LOCK})"
        connection = self._connect()
        try:
            connection.execute(begin)
        except psycopg.Error:
            lost = connection.psycopg.closed
            self.close()
            if not lost:
                raise
            connection = self._connect()
            connection.execute(begin)
        return connection

    @contextmanager
    def reading(self) -> Generator[PostgreSQLConnection]:
        """Connect for reading, for a short while."""
        with self._connected() as connection:
            connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            self._version(connection)
            yield connection

    def connect(self, *, writable: bool, mark_as: tuple[int, int] | None) -> Any:
        """A connection of psycopg."""
        with self._explained():
            connection = self._new_connection()
            try:
                self._version(connection)
                if mark_as is not None:
                    connection.mark_as(*mark_as)
                connection.psycopg.autocommit = False
                connection.psycopg.read_only = not writable
            except BaseException:
                connection.psycopg.close()
                raise
            return connection.psycopg

    def copy_to(self, path: Path) -> None:
        """Write one state of the tables to a new SQLite file."""
        with self.reading() as connection:
            write_sqlite(connection, path)

    def remove(self) -> None:
        """Delete the schema and all that is in it."""
        with self._connected() as connection:
            try:
                self._version(connection)
            except ExperimentNotFound:
                return
            connection.execute(f"DROP SCHEMA IF EXISTS {quoted(self.name)} CASCADE")

    def close(self) -> None:
        """Close the connection."""
        with self.lock:
            connection, self._connection = self._connection, None
            if connection is not None:
                connection.psycopg.close()

    def _in_transaction(self) -> bool:
        import psycopg

        if self._connection is None:
            return False
        state = self._connection.psycopg.info.transaction_status
        return state != psycopg.pq.TransactionStatus.IDLE

    def _forget(self) -> None:
        _inherited.append(self._connection)
        self._connection = None

    @contextmanager
    def _explained(self) -> Generator[None]:
        """Turn the server's errors into ours, which say what to do."""
        import psycopg

        try:
            yield
        except psycopg.Error as error:
            told, state = first_line(error), error.sqlstate or ""
            if state in ("55P03", "40P01"):  # not in time, or never
                raise ExperimentInUse(
                    f"{self} has been locked for {BUSY_SECONDS:.0f} s: {told}. "
                    "Look for a connection that holds a transaction open (pg_stat_activity)."
                ) from error
            if state in ("42501", "25006"):
                raise ExperimentReadOnly(
                    f"{self} cannot be written to: {told}. Ask for the rights to it."
                ) from error
            if state in ("42P01", "42703", "42883", "3F000") or state.startswith("XX"):
                raise DamagedFile(f"{self} does not hold what it should: {told}.") from error
            if state.startswith(("22", "54")) or isinstance(error, psycopg.DataError):
                raise WrongValue(f"{self} cannot hold a value: {told}.") from error
            if isinstance(error, psycopg.OperationalError):
                raise NotRecorded(
                    f"{self} could not be written: {told}. What was committed before is kept; the "
                    "rest is tried again."
                ) from error
            raise
