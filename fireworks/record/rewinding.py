"""Going back to an earlier position of the record, so that a resumed run leaves no doubles."""

from __future__ import annotations

import sqlite3

from fireworks.record.schema import quoted, user_tables

_OF_TRIAL = "series IN (SELECT id FROM series WHERE trial = ?)"


def position(connection: sqlite3.Connection) -> int:
    """The run's seq: how many calls of ``log`` it has committed so far."""
    (seq,) = connection.execute(
        "SELECT CAST(value AS INTEGER) FROM metadata WHERE key = 'seq'"
    ).fetchone()
    return seq


def set_position(connection: sqlite3.Connection, seq: int) -> None:
    """Set the run's seq, in the transaction of what was counted."""
    connection.execute("UPDATE metadata SET value = ? WHERE key = 'seq'", (str(seq),))


def rewind(connection: sqlite3.Connection, trial: int, seq: int) -> None:
    """Delete what a trial (-1: the run itself) recorded after ``seq``, in every table.

    It runs in the caller's transaction, and ``latest`` is worked out anew. The run's seq goes on
    counting: a number is never given twice.
    """
    connection.execute(f"DELETE FROM metrics WHERE {_OF_TRIAL} AND seq > ?", (trial, seq))
    connection.execute(f"DELETE FROM latest WHERE {_OF_TRIAL}", (trial,))
    for (series,) in connection.execute(
        "SELECT id FROM series WHERE trial = ?", (trial,)
    ).fetchall():
        connection.execute(
            "INSERT INTO latest SELECT series, step, value FROM metrics WHERE series = ? "
            "ORDER BY step DESC LIMIT 1",
            (series,),
        )
    for table in ("reports", "media", "artifacts", *_user_tables_with_seq(connection)):
        connection.execute(f"DELETE FROM {quoted(table)} WHERE trial = ? AND seq > ?", (trial, seq))


def _user_tables_with_seq(connection: sqlite3.Connection) -> list[str]:
    return [
        table
        for table in user_tables(connection)
        if {"trial", "seq"}
        <= {row[1] for row in connection.execute(f"PRAGMA table_info({quoted(table)})")}
    ]
