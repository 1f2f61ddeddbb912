"""Every exception that Fireworks raises on purpose.

    FireworksError
    ├── ColumnNotFound          KeyError     a column that is not there; the nearest name is offered
    ├── DuplicateColumn         ValueError   a column that is there already
    ├── WrongLength             ValueError   columns, masks or rows whose counts do not agree
    ├── RowOutOfRange           IndexError   a row index outside the table
    ├── WrongType               TypeError    a value of a kind that does not serve here
    ├── WrongValue              ValueError   a value of the right kind that makes no sense here
    ├── RowsNotCached        KeyError     row ids that a cache does not hold
    ├── CacheFull            RuntimeError rows that fit nowhere, and none may leave for them
    ├── DamagedFile             ValueError   a file that is truncated, corrupt, newer or not ours
    ├── FilesNotFound           FileNotFoundError  data files, or a glob or folder without any
    ├── FileChanged             RuntimeError a data file that changed or vanished since it was found
    ├── SchemasDiffer           ValueError   data files read together whose columns do not agree
    ├── MissingDependency       ImportError  an optional package that is not installed
    ├── WiringError             ValueError   sources connected wrongly: unbound, bound twice
    ├── DeadlockError           RuntimeError readers of one stream that wait for each other
    ├── StateMismatch           ValueError   a state that belongs to another graph, model or sweep
    ├── ParameterNotFound       KeyError     a parameter that a trial does not have
    ├── DatabaseNotFound        FileNotFoundError
    ├── DatabaseUnreachable     ConnectionError  no connection to a database, or none any more
    ├── NotWritten              OSError      rows not taken: the database is full, locked, read-only
    ├── SecondWriter            RuntimeError two writers that went on from one state
    ├── TableNotFound           LookupError
    ├── RowsVanished            LookupError  rows of a table that were deleted since the scan
    ├── ExperimentNotFound      FileNotFoundError
    ├── ExperimentInUse         RuntimeError another process owns the run or the attempt
    ├── ExperimentReadOnly      PermissionError
    ├── NotRecorded             OSError      the disk is full or failed while a record was written
    ├── EngineError             RuntimeError a handler or update function failed in a known way
    │   └── LossNotFinite                    a loss that is NaN or infinite
    └── SweepFailed             RuntimeError no trial of a sweep completed, or none can be started

Each is also the built-in that people would catch.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class FireworksError(Exception):
    """The root of everything that Fireworks raises on purpose."""

    def __str__(self) -> str:
        # KeyError would show its message in quotes, OSError as a number and a text.
        return str(self.args[0]) if self.args else ""


class ColumnNotFound(FireworksError, KeyError):
    """A column was asked for that the table does not have."""


class DuplicateColumn(FireworksError, ValueError):
    """A column would have been there twice."""


class WrongLength(FireworksError, ValueError):
    """Columns, masks or rows whose counts do not agree."""


class RowOutOfRange(FireworksError, IndexError):
    """A row index that lies outside the table."""


class WrongType(FireworksError, TypeError):
    """A value of a kind that does not serve here."""


class WrongValue(FireworksError, ValueError):
    """A value of the right kind that makes no sense here."""


class RowsNotCached(FireworksError, KeyError):
    """Row ids that a cache does not hold."""


class CacheFull(FireworksError, RuntimeError):
    """Rows that do not fit into a cache from which no row may leave silently."""


class DamagedFile(FireworksError, ValueError):
    """A file that is truncated, corrupt, written by a newer version, or not ours."""


class FilesNotFound(FireworksError, FileNotFoundError):
    """A data file that does not exist, or a glob or folder that gives none."""


class FileChanged(FireworksError, RuntimeError):
    """A data file that was written to, or has vanished, since its source found it."""


class SchemasDiffer(FireworksError, ValueError):
    """Data files that are read together and whose columns do not agree."""


class MissingDependency(FireworksError, ImportError):
    """An optional package that is not installed."""


class WiringError(FireworksError, ValueError):
    """Sources that are connected wrongly: an unbound input, one bound twice, a cycle."""


class DeadlockError(FireworksError, RuntimeError):
    """Readers of one stream that wait for each other; the message names both."""


class StateMismatch(FireworksError, ValueError):
    """A state that belongs to another graph; the message names what differs."""


class ParameterNotFound(FireworksError, KeyError):
    """A parameter was asked for that was not proposed for the trial."""


class DatabaseNotFound(FireworksError, FileNotFoundError):
    """A database file that does not exist."""


class DatabaseUnreachable(FireworksError, ConnectionError):
    """A database to which there is no connection, or was for too long none any more."""


class NotWritten(FireworksError, OSError):
    """Rows that a database could not take: it is full, locked, or may only be read."""


class SecondWriter(FireworksError, RuntimeError):
    """Two writers went on from one state; one of them was stopped."""


class TableNotFound(FireworksError, LookupError):
    """A database table that does not exist; the nearest name is offered."""


class RowsVanished(FireworksError, LookupError):
    """Rows of a table that were there when its keys were scanned and are no longer."""


class ExperimentNotFound(FireworksError, FileNotFoundError):
    """A folder that is missing or holds no experiment."""


class ExperimentInUse(FireworksError, RuntimeError):
    """Another process owns the run or the attempt; the message names its pid and host."""


class ExperimentReadOnly(FireworksError, PermissionError):
    """A write to an experiment that was opened for reading."""


class NotRecorded(FireworksError, OSError):
    """The disk is full, or failed, while an experiment's record was written."""


class EngineError(FireworksError, RuntimeError):
    """A trainer or evaluator that cannot do what it was asked."""


class LossNotFinite(EngineError):
    """A loss that is NaN or infinite, before it could reach the weights."""


class SweepFailed(FireworksError, RuntimeError):
    """A sweep of which no trial completed, or whose processes cannot be started."""


def suggest(name: object, known: Iterable[object]) -> str:
    """Return a hint that names what was probably meant, to be added to a message.

    The hint is the nearest known name, or else all of them (ten at the most); it begins with a
    space, or is empty where nothing is known.
    """
    names = [str(each) for each in known]
    if near := get_close_matches(str(name), names, n=1):
        return f" Did you mean {near[0]!r}?"
    if not names:
        return ""
    shown = ", ".join(repr(each) for each in names[:10])
    return f" There is: {shown}{', …' if len(names) > 10 else ''}."
