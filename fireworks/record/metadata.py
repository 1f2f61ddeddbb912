"""The table of metadata: what is known of a run, as JSON by key."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fireworks.record.json_values import decode, encode
from fireworks.record.schema import NO_TRIAL
from fireworks.record.store import Connection


def write_metadata(connection: Connection, values: Mapping[str, Any]) -> None:
    """Set some keys, in the caller's transaction."""
    connection.executemany(
        "INSERT INTO metadata (key, value) VALUES (?,?) "
        "ON CONFLICT (key) DO UPDATE SET value = excluded.value",
        [(key, encode(value, what=f"The metadata {key!r}")) for key, value in values.items()],
    )


def read_metadata(connection: Connection) -> dict[str, Any]:
    """Everything, by key."""
    rows = connection.execute("SELECT key, value FROM metadata ORDER BY key")
    return {key: decode(value) for key, value in rows}


def last_metrics(connection: Connection, trial: int = NO_TRIAL) -> dict[str, float | None]:
    """The last value of each metric of a trial, or of the run itself (-1); None is NaN."""
    return dict(
        connection.execute(
            "SELECT name, value FROM latest JOIN series ON series.id = latest.series "
            "WHERE trial = ? ORDER BY name",
            (trial,),
        ).fetchall()
    )
