"""Where a server keeps an experiment's tables: a URL that is recorded without its password."""

from __future__ import annotations

import os
import secrets
from typing import final
from urllib.parse import SplitResult, urlsplit, urlunsplit

from fireworks.errors import WrongType, WrongValue

VARIABLE = "FIREWORKS_STORE"
"""An environment variable: a store's URL with its password, which is recorded nowhere."""

LONGEST_NAME = 63  # bytes; PostgreSQL cuts longer ones off without a word
_SCHEMES = ("postgresql+psycopg", "postgresql", "postgres")


@final
class StoreURL:
    """The URL of a PostgreSQL database: ``postgresql+psycopg://user@host/database``.

    A password in it is never recorded. Later, and in other processes, it is that of the URL in the
    environment variable FIREWORKS_STORE, if this is the same place, else what PostgreSQL's own
    programs would take: PGPASSWORD, or ``~/.pgpass``.

    Raises:
        WrongType: It is not a string.
        WrongValue: It is the URL of something else.
    """

    def __init__(self, text: str) -> None:
        if not isinstance(text, str):
            raise WrongType(f"store must be a URL; got {type(text).__name__}: {text!r:.60}.")
        try:
            self._parts = urlsplit(text)
            self.password = self._parts.password
            host, _ = self._parts.hostname, self._parts.port
        except ValueError as error:
            raise WrongValue(f"The store's URL cannot be read: {error}.") from None
        database = self._parts.path.strip("/")
        if self._parts.scheme not in _SCHEMES or not host or not database or "/" in database:
            raise WrongValue(
                "store must be the URL of a PostgreSQL database, such as "
                f"'postgresql+psycopg://user@host/database'; got {self.masked!r}. "
                "Without store=… the tables are in a SQLite file in the run's folder."
            )

    @property
    def masked(self) -> str:
        """The URL without the password."""
        return _masked(self._parts)

    @property
    def for_libpq(self) -> str:
        """The URL with the password, in the form that PostgreSQL's own library takes."""
        parts = self._parts
        known = os.environ.get(VARIABLE)
        # Only for the very place that it belongs to: a folder may come from anybody.
        if self.password is None and known and _masked(urlsplit(known)) == self.masked:
            parts = urlsplit(known)
        return urlunsplit(parts._replace(scheme="postgresql"))

    def remember(self) -> None:
        """Let this process, and those that it starts, find the password, if there is one."""
        if self.password is not None:
            os.environ[VARIABLE] = urlunsplit(self._parts)


def schema_name(run: str) -> str:
    """A new name for the schema of a run; runs of one name may share a database."""
    ending = f"-{secrets.token_hex(3)}"
    return run.encode()[: LONGEST_NAME - len(ending)].decode(errors="ignore") + ending


def _masked(parts: SplitResult) -> str:
    user, at, place = parts.netloc.rpartition("@")
    return urlunsplit(parts._replace(netloc=user.partition(":")[0] + at + place))
