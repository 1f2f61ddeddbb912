"""Work on a database that is tried again when the connection is lost."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import TypeVar
from weakref import WeakSet

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from fireworks.errors import DatabaseNotFound, DatabaseUnreachable, FireworksError
from fireworks.source import Retry

_log = logging.getLogger(__name__)

Result = TypeVar("Result")

RECONNECT = Retry(9, wait=0.1)
"""Nine further tries within 51 seconds: time enough for a server to restart."""

_LONGEST_WAIT = 10.0

# A server that cannot be reached at first is a mistake in its address; later on, it was restarted.
_reached: WeakSet[sa.Engine] = WeakSet()

# What SQLAlchemy does not count as a lost connection, and is over when tried again: a shutdown or
# a start of the server, a killed session, and transactions that met each other and were undone.
_PASSING_STATES = ("08", "57P01", "57P02", "57P03", "40001", "40P01")
_PASSING_NUMBERS = (1053, 1158, 1159, 1160, 1161, 1213, 1927)


def with_connection(
    engine: sa.Engine,
    work: Callable[[sa.Connection], Result],
    *,
    doing: str,
    retry: Retry = RECONNECT,
) -> Result:
    """Return what work gives with a connection; where that is lost, try again with a new one.

    The work runs in a transaction of its own each time, which is committed when it returns.

    Args:
        engine: The database.
        work: What to do; doing it again after it was undone must give the same.
        doing: What that is, for messages: ``"reading the table 'rows'"``.
        retry: How often to try again, and how long to wait before.

    Raises:
        DatabaseUnreachable: There was no connection at first, or none any more.
        DatabaseNotFound: A SQLite file cannot be opened.
    """
    attempts = Attempts(engine, doing=doing, retry=retry)
    while True:
        try:
            with attempts.connection() as connection, connection.begin():
                return work(connection)
        except DBAPIError as error:
            attempts.wait_after(error)


class Attempts:
    """Counts the tries at something that needs a connection, and waits between them.

    Args:
        engine: The database.
        doing: What is done, for messages.
        retry: How often to try again; the count begins anew at each success.
    """

    def __init__(self, engine: sa.Engine, *, doing: str, retry: Retry = RECONNECT) -> None:
        self._engine = engine
        self._doing = doing
        self._retry = retry
        self._failed = 0
        self._since = 0.0

    @contextmanager
    def connection(self) -> Generator[sa.Connection]:
        """Open a connection, to be closed at the end of the block.

        Raises:
            DatabaseUnreachable: The database was never reached.
            DBAPIError: It was, and cannot be now; `wait_after` takes it.
        """
        try:
            connection = self._engine.connect()
        except DBAPIError as error:
            if self._engine in _reached:
                # Whatever SQLAlchemy makes of it, a new connection may be had later.
                error.connection_invalidated = self._engine.dialect.name != "sqlite"
                raise
            raise unreachable(self._engine, self._doing, error) from error
        _reached.add(self._engine)
        with connection:
            yield connection

    def succeeded(self) -> None:
        """Begin the count anew: there was progress."""
        self._failed = 0

    def wait_after(self, error: DBAPIError) -> None:
        """Wait before the next try.

        Raises:
            DatabaseUnreachable: It was tried often enough.
            DBAPIError: The error itself, where trying again would not help.
        """
        if not is_passing(error):
            raise error
        now = time.monotonic()
        if not self._failed:
            self._since = now
        if self._failed >= self._retry.times:
            raise unreachable(
                self._engine, self._doing, error, f"; tried for {now - self._since:.0f} s"
            ) from error
        wait = min(self._retry.wait * 2**self._failed, _LONGEST_WAIT)
        self._failed += 1
        _log.warning(
            "%s was interrupted (%s); try %d of %d in %.1f s",
            self._doing,
            told(self._engine, error),
            self._failed,
            self._retry.times,
            wait,
        )
        time.sleep(wait)


def is_passing(error: DBAPIError) -> bool:
    """Return whether an error may be gone when the whole transaction is tried again."""
    if error.connection_invalidated:
        return True
    original = error.orig
    state = str(getattr(original, "sqlstate", None) or "")
    number = original.args[0] if original is not None and original.args else None
    return state.startswith(_PASSING_STATES) or number in _PASSING_NUMBERS


def unreachable(
    engine: sa.Engine, doing: str, error: DBAPIError, tried: str = ""
) -> FireworksError:
    """Return the error for a database without a connection to it."""
    if engine.dialect.name == "sqlite":
        return DatabaseNotFound(f"{engine.url.database} cannot be opened: {told(engine, error)}.")
    return DatabaseUnreachable(
        f"{engine.url.render_as_string()} could not be reached while {doing}{tried}: "
        f"{told(engine, error)}. Check that the server runs and that the URL's host, port, user "
        "and database are right."
    )


def told(engine: sa.Engine, error: DBAPIError) -> str:
    """Return what the driver said, in one line and without the password."""
    original = error.orig
    if original is not None and len(original.args) == 2 and isinstance(original.args[0], int):
        said = f"{original.args[1]} ({original.args[0]})"
    else:
        said = str(original)
    password = engine.url.password
    if password:
        said = said.replace(str(password), "***")
    return " ".join(said.split()).rstrip(".")
