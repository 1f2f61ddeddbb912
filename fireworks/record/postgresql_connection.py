"""SQL for an experiment's tables, sent to a PostgreSQL server."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any, final

from fireworks.record import schema
from fireworks.record.queries import failed, fetch, only_reads, too_long
from fireworks.record.schema import quoted
from fireworks.record.store import Cursor, Curve

# Writers take turns as they do in SQLite: each transaction takes this lock first. Rows that are
# inserted into the user's tables hold it shared until they are committed, so that each is either
# before or after a position of the record.
LOCK = "'metadata'::regclass::oid::bigint"

FUNCTIONS = f"""
CREATE FUNCTION mark_row() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    mine bigint := nullif(current_setting('fireworks.trial', true), '');
BEGIN
    PERFORM pg_advisory_xact_lock_shared({LOCK});
    IF TG_OP = 'INSERT' AND mine IS NOT NULL THEN
        IF NOT EXISTS (SELECT 1 FROM trials WHERE number = mine AND state = 'running'
                       AND attempt = current_setting('fireworks.attempt')::bigint) THEN
            RAISE EXCEPTION 'this attempt at the trial is over'
                USING ERRCODE = 'integrity_constraint_violation';
        END IF;
        NEW.trial := mine;
    END IF;
    NEW.seq := 1 + (SELECT CAST(value AS bigint) FROM metadata WHERE key = 'seq');
    RETURN NEW;
END $$;
"""

_INSERT_METRICS = """
INSERT INTO metrics (series, step, seq, attempt, value, time)
SELECT * FROM unnest(%s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[], %s::float8[],
                     %s::float8[])
ON CONFLICT (series, step) DO UPDATE SET seq = excluded.seq, attempt = excluded.attempt,
    value = excluded.value, time = excluded.time
"""
_UPDATE_LATEST = """
INSERT INTO latest (series, step, value)
SELECT * FROM unnest(%s::bigint[], %s::bigint[], %s::float8[])
ON CONFLICT (series) DO UPDATE SET step = excluded.step, value = excluded.value
WHERE excluded.step >= latest.step
"""

_TYPES = {
    "bigint": "BIGINT", "integer": "INTEGER", "smallint": "INTEGER", "boolean": "BOOLEAN",
    "double precision": "DOUBLE", "real": "FLOAT", "numeric": "NUMERIC", "text": "TEXT",
    "character varying": "VARCHAR", "bytea": "BLOB", "date": "DATE",
    "timestamp without time zone": "DATETIME", "timestamp with time zone": "DATETIME",
}  # fmt: skip
_BLOCK = 4096  # rows
_SERVER_FAILED = ("08", "53", "57", "58", "XX")  # classes of errors that are not the query's

_COMMAND = re.compile(
    r"(\s|--[^\n]*\n|/\*.*?\*/)*(INSERT|UPDATE|DELETE|MERGE|CREATE|DROP|ALTER|TRUNCATE|GRANT|REVOKE"
    r"|COPY|VACUUM|SET|RESET|LOCK|CALL|DO|BEGIN|COMMIT|ROLLBACK)\b",
    re.I | re.S,
)

# Literals, names and comments stay as they are; then values, and what psycopg would take for one.
_PARTS = re.compile(
    r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|--[^\n]*|/\*.*?\*/|(\?)|(?<!:):([A-Za-z_]\w*)", re.S
)


@final
class PostgreSQLConnection:
    """A connection to a PostgreSQL server; see ``store.Connection``.

    Args:
        connection: psycopg's, in autocommit mode: transactions are begun and ended by hand.
    """

    def __init__(self, connection: Any) -> None:
        self.psycopg = connection

    def execute(self, sql: str, parameters: Any = (), /) -> Cursor:
        """Run one statement."""
        if not parameters:
            return self.psycopg.execute(sql)
        return self.psycopg.execute(_translated(sql), _without_nan(parameters))

    def executemany(self, sql: str, parameters: Iterable[Any], /) -> Cursor:
        """Run one statement for each of several rows."""
        cursor = self.psycopg.cursor()
        cursor.executemany(_translated(sql), [_without_nan(each) for each in parameters])
        return cursor

    def tables(self) -> list[str]:
        """The names of all tables, sorted."""
        rows = self.execute(
            "SELECT table_name FROM information_schema.tables "
            "WHERE table_schema = current_schema() AND table_type = 'BASE TABLE'"
        )
        return sorted(name for (name,) in rows)

    def columns(self, table: str) -> dict[str, str]:
        """The columns of a table with their types, as SQLite names them."""
        rows = self.execute(
            "SELECT attname, format_type(atttypid, NULL), col_description(attrelid, attnum) "
            "FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid "
            "WHERE relnamespace = current_schema()::regnamespace AND relname = ? "
            "AND attnum > 0 AND NOT attisdropped ORDER BY attnum",
            (table,),
        )
        own = {"BIGINT": "INTEGER", "DOUBLE": "REAL"} if table in schema.OWN_TABLES else {}
        found: dict[str, str] = {}
        for name, kind, comment in rows:
            known = _TYPES.get(kind, "TEXT")
            found[name] = own.get(known, known) + _mark(comment or "")
        return found

    def primary_key(self, table: str) -> list[str]:
        """The columns of a table's primary key; empty where it has none."""
        rows = self.execute(
            "SELECT attname FROM pg_index JOIN pg_class ON pg_class.oid = indrelid "
            "JOIN pg_attribute ON attrelid = indrelid AND attnum = ANY (indkey) "
            "WHERE relnamespace = current_schema()::regnamespace AND relname = ? AND indisprimary",
            (table,),
        )
        return [name for (name,) in rows]

    def required(self, table: str) -> set[str]:
        """The columns of a table that are never NULL."""
        rows = self.execute(
            "SELECT attname FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid "
            "WHERE relnamespace = current_schema()::regnamespace AND relname = ? "
            "AND attnum > 0 AND attnotnull AND NOT attisdropped",
            (table,),
        )
        return {name for (name,) in rows}

    def write_metrics(self, curves: list[Curve], attempt: int) -> None:
        """Write values, and bring ``latest`` up to date."""
        # One statement may not change a row twice: of equal steps the last remains.
        rows = {
            (curve.series, step): (curve.series, step, seq, attempt, _or_none(value), when)
            for curve in curves
            for step, seq, value, when in zip(
                curve.steps, curve.seqs, curve.values, curve.times, strict=True
            )
        }
        if rows:
            self.psycopg.execute(_INSERT_METRICS, _across(rows.values()))
            latest = [(series, step, _or_none(value)) for series, step, value in _last(curves)]
            self.psycopg.execute(_UPDATE_LATEST, _across(latest))

    def mark_new_rows(self, table: str, columns: Sequence[str]) -> None:
        """Have a trigger write the position of the record into ``seq`` of changed rows."""
        self.execute(
            f"CREATE TRIGGER mark_row BEFORE INSERT OR UPDATE ON {quoted(table)} "
            "FOR EACH ROW EXECUTE FUNCTION mark_row()"
        )

    def mark_as(self, trial: int, attempt: int) -> None:
        """Make the rows that are inserted through this connection a trial's."""
        self.execute(
            "SELECT set_config('fireworks.trial', ?, false), "
            "set_config('fireworks.attempt', ?, false)",
            (str(trial), str(attempt)),
        )

    def query(
        self, sql: str, parameters: Any, *, max_rows: int | None, timeout: float | None
    ) -> tuple[list[str], list[Any]]:
        """Run a person's query, through a cursor: the server takes nothing but a SELECT for it."""
        import psycopg

        milliseconds = 0 if timeout is None else max(1, round(timeout * 1000))
        deadline = None if timeout is None else time.monotonic() + timeout
        self.execute("SELECT set_config('statement_timeout', ?, true)", (str(milliseconds),))

        def block() -> list[Any]:
            if deadline is not None and time.monotonic() > deadline:
                raise too_long(sql, timeout)
            return cursor.fetchmany(_BLOCK)

        try:
            with self.psycopg.cursor("query") as cursor:
                if parameters:
                    cursor.execute(_translated(sql), _without_nan(parameters))
                else:
                    cursor.execute(sql)
                rows = fetch(block, sql, max_rows)
                return [each.name for each in cursor.description or ()], rows
        except psycopg.errors.QueryCanceled:
            raise too_long(sql, timeout) from None
        except (psycopg.Error, UnicodeError, TypeError) as error:
            state = getattr(error, "sqlstate", None) or ""
            if state[:2] in _SERVER_FAILED or (
                not state and isinstance(error, psycopg.OperationalError)
            ):
                raise
            if state[:2] == "25" or state == "42501" or _COMMAND.match(sql):
                raise only_reads(sql, first_line(error)) from None
            raise failed(sql, first_line(error)) from None


def tables_in_postgresql(sql: str) -> str:
    """The statements of ``schema.TABLES`` or ``schema.STEPS`` in PostgreSQL's words."""
    numbered = r"id\1BIGINT GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY"
    for pattern, replacement in (
        (r"\bid(\s+)INTEGER PRIMARY KEY", numbered),
        (r"\bINTEGER\b", "BIGINT"),
        (r"\bREAL\b", "DOUBLE PRECISION"),
        (r"\bBLOB\b", "BYTEA"),
        # Sorted and compared as SQLite does it, wherever the server stands.
        (r"\bTEXT\b", 'TEXT COLLATE "C"'),
        (r"\) WITHOUT ROWID", ")"),
    ):
        sql = re.sub(pattern, replacement, sql)
    return sql


def first_line(error: BaseException) -> str:
    """What went wrong, without the statement and the arrow below it."""
    return str(error).partition("\n")[0]


@lru_cache(256)
def _translated(sql: str) -> str:
    """A statement with ``?`` or ``:name`` for values as psycopg wants it."""

    def replaced(found: re.Match[str]) -> str:
        if found[1]:
            return "\0s"
        return f"\0({found[2]})s" if found[2] else found[0]

    return _PARTS.sub(replaced, sql).replace("%", "%%").replace("\0", "%")


def _without_nan(parameters: Any) -> Any:
    """Values with None for NaN, which is what SQLite makes of it, too."""
    if isinstance(parameters, dict):
        return {name: _or_none(each) for name, each in parameters.items()}
    return [_or_none(each) for each in parameters]


def _mark(comment: str) -> str:
    """A column's mark (see ``database.declared``) as it is declared in SQLite, in the type."""
    _, mark, rest = comment.partition("fireworks {")
    # SQLite takes every type with INT in it for an integer.
    harmless = re.sub("i(?=nt)", r"\\u0069", mark + rest, flags=re.I).replace('"', '""')
    return f' "{harmless}"' if mark else ""


def _or_none(value: Any) -> Any:
    return None if value != value else value


def _across(rows: Iterable[Sequence[Any]]) -> list[list[Any]]:
    return [list(column) for column in zip(*rows, strict=True)]


def _last(curves: list[Curve]) -> list[tuple[int, int, float]]:
    return [each.last() for each in curves]
