"""The tables of ``experiment.sqlite``, documented and versioned.

Times are seconds since 1970 (UTC). A trial of -1 is "no trial": what the run itself logged.
JSON columns hold JSON text; see json_values.py for NaN.
"""

from __future__ import annotations

import re
import sqlite3

from fireworks.errors import DamagedFile
from fireworks.record.store import Connection

APPLICATION_ID = 0x46495245  # "FIRE": says whose file it is, also to `file` and other tools
VERSION = 3
NO_TRIAL = -1

MARKS = ("trial", "seq")
"""Columns of the user's tables: whose a row is, and up to which position it counts."""

TABLES = """
-- What is known of the run: name, status, times, tags, command, host, git, packages …
CREATE TABLE metadata (
    key   TEXT PRIMARY KEY,
    value TEXT NOT NULL                   -- JSON
) WITHOUT ROWID;

CREATE TABLE params (
    trial INTEGER NOT NULL,               -- -1: parameters of the run itself
    name  TEXT NOT NULL,
    value TEXT NOT NULL,                  -- JSON
    PRIMARY KEY (trial, name)
) WITHOUT ROWID;

-- A series is one metric of one trial; metrics refer to it by number, which keeps them small.
CREATE TABLE series (
    id    INTEGER PRIMARY KEY,
    trial INTEGER NOT NULL,
    name  TEXT NOT NULL,
    UNIQUE (trial, name)
);

-- Clustered on (series, step): a curve is read in one sweep. A repeated step: the last write wins.
CREATE TABLE metrics (
    series  INTEGER NOT NULL,
    step    INTEGER NOT NULL,
    seq     INTEGER NOT NULL,             -- counts the log() calls of the whole run, by commit
    attempt INTEGER NOT NULL,             -- 0: no attempt
    value   REAL,                         -- NULL is NaN
    time    REAL NOT NULL,
    PRIMARY KEY (series, step)
) WITHOUT ROWID;

-- The value at the highest step of each series, so that an overview scans no metrics.
CREATE TABLE latest (
    series INTEGER PRIMARY KEY,
    step   INTEGER NOT NULL,
    value  REAL
);

CREATE TABLE trials (
    number  INTEGER PRIMARY KEY,
    state   TEXT NOT NULL,                -- queued running completed pruned paused stopped failed
    seed    INTEGER NOT NULL,
    attempt INTEGER NOT NULL DEFAULT 0,   -- the current attempt; 0: none yet
    result  TEXT,                         -- JSON: what training returned
    created REAL NOT NULL,
    started REAL,
    ended   REAL
);

CREATE TABLE attempts (
    trial       INTEGER NOT NULL,
    number      INTEGER NOT NULL,         -- from 1
    state       TEXT NOT NULL,
    exit_code   INTEGER,
    signal      INTEGER,
    host        TEXT NOT NULL,
    pid         INTEGER,
    peak_memory INTEGER,                  -- bytes
    reason      TEXT,
    started     REAL NOT NULL,
    ended       REAL,
    PRIMARY KEY (trial, number)
) WITHOUT ROWID;

-- What a trial reported of itself while it ran; pruning decides by it.
CREATE TABLE reports (
    trial   INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    step    INTEGER NOT NULL,
    value   REAL,                         -- NULL is NaN
    time    REAL NOT NULL,
    seq     INTEGER NOT NULL DEFAULT 0,   -- the run's seq when it was reported
    PRIMARY KEY (trial, attempt, step)
) WITHOUT ROWID;

CREATE TABLE events (
    id      INTEGER PRIMARY KEY,
    time    REAL NOT NULL,
    kind    TEXT NOT NULL,
    trial   INTEGER NOT NULL DEFAULT -1,
    attempt INTEGER NOT NULL DEFAULT 0,
    data    TEXT                          -- JSON
);

CREATE TABLE artifacts (
    path    TEXT PRIMARY KEY,             -- relative to the run's folder
    trial   INTEGER NOT NULL DEFAULT -1,
    attempt INTEGER NOT NULL DEFAULT 0,
    size    INTEGER NOT NULL,             -- bytes
    sha256  TEXT NOT NULL,
    time    REAL NOT NULL,
    seq     INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;

CREATE TABLE figures (
    name TEXT PRIMARY KEY,
    spec TEXT NOT NULL,                   -- JSON
    time REAL NOT NULL
) WITHOUT ROWID;

CREATE TABLE notes (
    id   INTEGER PRIMARY KEY,
    time REAL NOT NULL,
    text TEXT NOT NULL
);

-- What was logged and is no number: texts, images, histograms, figures.
CREATE TABLE media (
    trial   INTEGER NOT NULL,
    name    TEXT NOT NULL,
    step    INTEGER NOT NULL,
    seq     INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    kind    TEXT NOT NULL,                -- text image histogram figure
    data    BLOB NOT NULL,                -- UTF-8 text, PNG, or JSON
    time    REAL NOT NULL,
    PRIMARY KEY (trial, name, step)
);

-- What a sweep goes on from after its process has died; nothing but an explicit resume reads it.
CREATE TABLE sweep_state (
    key   TEXT PRIMARY KEY,
    value BLOB NOT NULL                   -- UTF-8 of JSON; Python's pickle begins with 0x80
) WITHOUT ROWID;

CREATE TABLE sweep_trials (
    trial      INTEGER PRIMARY KEY,
    told       INTEGER NOT NULL,          -- it was proposed knowing the trials below this number
    memory     TEXT,                      -- JSON: what the proposer keeps with it
    infeasible INTEGER NOT NULL DEFAULT 0 -- whether its result breaks a constraint
);

-- What a person asks: SELECT step, value FROM metric WHERE trial = 3 AND name = 'valid/accuracy'.
CREATE VIEW metric AS
    SELECT series.trial, series.name, metrics.step, metrics.value, metrics.time
    FROM metrics JOIN series ON series.id = metrics.series;
"""


# What brings a database from a version to the next one.
STEPS = {
    1: """
    ALTER TABLE reports ADD COLUMN seq INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE artifacts ADD COLUMN seq INTEGER NOT NULL DEFAULT 0;
    CREATE TABLE media (
        trial   INTEGER NOT NULL,
        name    TEXT NOT NULL,
        step    INTEGER NOT NULL,
        seq     INTEGER NOT NULL,
        attempt INTEGER NOT NULL,
        kind    TEXT NOT NULL,
        data    BLOB NOT NULL,
        time    REAL NOT NULL,
        PRIMARY KEY (trial, name, step)
    );
    """,
    2: """
    CREATE TABLE sweep_state (
        key   TEXT PRIMARY KEY,
        value BLOB NOT NULL
    ) WITHOUT ROWID;
    CREATE TABLE sweep_trials (
        trial      INTEGER PRIMARY KEY,
        told       INTEGER NOT NULL,
        memory     TEXT,
        infeasible INTEGER NOT NULL DEFAULT 0
    );
    """,
}

OWN_TABLES = frozenset(re.findall(r"CREATE (?:TABLE|VIEW) (\w+)", TABLES))
"""The tables and the view that are the record's own; all others are the user's."""


def create(connection: sqlite3.Connection) -> None:
    """Create all tables in an empty database, in one transaction."""
    connection.executescript(
        f"BEGIN IMMEDIATE; {TABLES} PRAGMA application_id = {APPLICATION_ID}; "
        f"PRAGMA user_version = {VERSION}; COMMIT;"
    )


def check(connection: sqlite3.Connection, path: object) -> int:
    """Check that a SQLite database is an experiment's and return its version, perhaps an older one.

    Raises:
        DamagedFile: It is not an experiment's, or a newer release wrote it.
        sqlite3.DatabaseError: It is not a database at all, or damaged.
    """
    (owner,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if owner != APPLICATION_ID:
        raise DamagedFile(
            f"{str(path)!r} is a database, but not that of an experiment "
            f"(application_id {owner}, expected {APPLICATION_ID})."
        )
    return check_version(version, path)


def check_version(version: int, place: object) -> int:
    """Return the version of the tables at ``place``, if this release knows it.

    Raises:
        DamagedFile: A newer release wrote them.
    """
    if version > VERSION:
        raise DamagedFile(
            f"{str(place)!r} was written by a newer release of Fireworks (schema {version}; this "
            f"one reads up to {VERSION}). Upgrade: pip install --upgrade fireworks-ml"
        )
    if version < 1:
        raise DamagedFile(f"{str(place)!r} has no known schema version (it says {version}).")
    return version


def migrate(connection: sqlite3.Connection, path: object) -> None:
    """Bring a database to the present version, in one transaction; nothing is done if it has it.

    Raises:
        DamagedFile, sqlite3.DatabaseError: As ``check``; the database stays as it was.
    """
    if check(connection, path) == VERSION:
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        # Asked again: another process may have done it before the transaction began.
        for version in range(check(connection, path), VERSION):
            for statement in filter(str.strip, STEPS[version].split(";")):
                connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {VERSION}")
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise


def user_tables(connection: Connection) -> list[str]:
    """The names of the tables that are not the record's own, sorted."""
    return [name for name in connection.tables() if name not in OWN_TABLES]


def marked_tables(connection: Connection) -> list[str]:
    """The user's tables whose rows say whose they are (see ``MARKS``)."""
    return [name for name in user_tables(connection) if set(MARKS) <= set(connection.columns(name))]


def quoted(name: str) -> str:
    """A table's or column's name as it stands in a statement."""
    return '"' + name.replace('"', '""') + '"'
