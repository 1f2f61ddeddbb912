"""Going back to an earlier position of the record, so that a resumed run leaves no doubles."""

from __future__ import annotations

from fireworks.record.schema import marked_tables, quoted
from fireworks.record.store import Connection

_OF_TRIAL = "series IN (SELECT id FROM series WHERE trial = ?)"


def position(connection: Connection) -> int:
    """The run's seq: how many calls of ``log`` it has committed so far."""
    (seq,) = connection.execute(
        "SELECT CAST(value AS BIGINT) FROM metadata WHERE key = 'seq'"
    ).fetchone()
    return seq


def advance(connection: Connection, calls: int = 1) -> int:
    """Count ``calls`` more and return the new seq, in the transaction of what is counted."""
    ((seq,),) = connection.execute(
        "UPDATE metadata SET value = CAST(CAST(value AS BIGINT) + ? AS TEXT) WHERE key = 'seq' "
        "RETURNING CAST(value AS BIGINT)",
        (calls,),
    ).fetchall()
    return seq


def rewind(connection: Connection, trial: int, seq: int) -> None:
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
    for table in ("reports", "media", "artifacts", *marked_tables(connection)):
        connection.execute(f"DELETE FROM {quoted(table)} WHERE trial = ? AND seq > ?", (trial, seq))
