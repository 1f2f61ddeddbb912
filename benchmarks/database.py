"""Tables as sources, against the drivers by hand and against peers at their best."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib import import_module
from typing import Any

import numpy as np
import pandas as pd
import sqlalchemy as sa
from databases import CHUNK, LISTED, Database, MariaDB, PostgreSQL, SQLite, columns, tuples
from timing import describe_machine, options
from timing.rounds import interleaved, table

from fireworks import Message
from fireworks.sources import (
    BatchingSource,
    MessageSource,
    QuerySource,
    ShufflerSource,
    TableSource,
    WriterSource,
)

BATCH = 256
PANDAS_PART = 10
"""pandas is given a tenth of the rows to insert, and its seconds are multiplied."""

Ways = dict[str, Callable[[], object]]


def main() -> None:
    short = options(__doc__ or "").short
    num_rows, rounds = (50_000, 3) if short else (1_000_000, 5)
    packages = (
        "sqlalchemy", "psycopg", "pymysql", "pandas", "pyarrow", "adbc-driver-sqlite",
        "adbc-driver-postgresql", "connectorx", "datasets",
    )  # fmt: skip
    print(f"## Databases\n\n{describe_machine(*packages)},")
    print(f"{num_rows:,} rows of six columns, {rounds} rounds; servers on the same machine.")
    values = columns(num_rows)
    for kind in (SQLite, PostgreSQL, MariaDB):
        database = kind()
        try:
            measure(database, values, rounds)
        finally:
            database.close()


def measure(database: Database, values: dict[str, Any], rounds: int) -> None:
    rows = tuples(values, text_times=isinstance(database, SQLite))
    database.make("rows")
    database.insert("rows", rows)
    num_rows = len(rows)

    def report(title: str, ways: Ways) -> None:
        seconds = interleaved(ways, rounds)
        table(f"{database.name}: {title}", "rows/s", seconds, lambda spent: num_rows / spent)

    report("one epoch in order", sequential(database, num_rows))
    peaks = [peak(database, limit) for limit in (num_rows // 4, num_rows)]
    print(
        f"\nPeak memory beyond that of reading 10,000 rows: {peaks[1]:.0f} MiB, of a quarter of "
        f"the rows {peaks[0]:.0f} MiB."
    )
    report(f"one shuffled epoch in batches of {BATCH}", shuffled(database, num_rows))
    report("insert", inserting(database, values, rows))


def sequential(database: Database, num_rows: int) -> Ways:
    """Ways to read the whole table in the order of its key."""

    def by_hand() -> None:
        connection = database.connect()
        assert sum(map(len, database.fetched(connection))) == num_rows
        connection.close()

    described = TableSource("rows", database.url).table

    def fireworks(engine: Any) -> Callable[[], None]:
        def epoch() -> None:
            source = QuerySource(sa.select(described), engine, chunk_rows=CHUNK)
            assert sum(map(len, source)) == num_rows

        return epoch

    quoted = "`rows`" if isinstance(database, MariaDB) else "rows"
    sql = f"SELECT {LISTED} FROM {quoted} ORDER BY id"
    ways: Ways = {
        "driver by hand, fetchmany into lists": by_hand,
        # An engine of the user's own is not bypassed.
        "Fireworks, without ADBC": fireworks(sa.create_engine(database.url)),
    }
    if isinstance(database, SQLite):
        ways["Fireworks, with ADBC"] = fireworks(database.url)
    if not isinstance(database, MariaDB):
        ways["ADBC, batches"] = lambda: adbc(database, sql)
    ways["pandas.read_sql, chunks"] = lambda: in_pandas(database, sql)
    ways["ConnectorX, all at once"] = lambda: connectorx(database, sql)
    ways["Hugging Face Dataset.from_sql"] = lambda: hugging_face(database, sql)
    return ways


def adbc(database: Database, sql: str) -> None:
    name = database.name.lower()
    module = import_module(f"adbc_driver_{name}.dbapi")
    address = getattr(database, "address", None) or getattr(database, "path", None)
    with module.connect(address) as connection, connection.cursor() as cursor:
        cursor.execute(sql)
        for _ in cursor.fetch_record_batch():
            pass


def in_pandas(database: Database, sql: str) -> None:
    if isinstance(database, SQLite):
        connection = database.connect()
        for _ in pd.read_sql(sql, connection, chunksize=CHUNK):
            pass
        connection.close()
        return
    with sa.create_engine(database.url).connect() as connection:
        streamed = connection.execution_options(stream_results=True, max_row_buffer=CHUNK)
        for _ in pd.read_sql(sa.text(sql), streamed, chunksize=CHUNK):
            pass


def connectorx(database: Database, sql: str) -> None:
    import connectorx as cx

    url = getattr(database, "address", database.url).partition("?")[0]  # it knows no options
    cx.read_sql(url, sql, return_type="arrow")


def hugging_face(database: Database, sql: str) -> None:
    import datasets

    datasets.disable_progress_bars()
    with tempfile.TemporaryDirectory(prefix="fireworks-bench-") as folder:
        datasets.Dataset.from_sql(sql, database.url, cache_dir=folder, chunksize=CHUNK)


def shuffled(database: Database, num_rows: int) -> Ways:
    """Ways to read batches of random rows, each row once."""

    def by_hand() -> None:
        connection = database.connect()
        cursor = connection.cursor()
        order = np.random.default_rng(0).permutation(num_rows) + 1
        for start in range(0, num_rows, BATCH):
            keys = order[start : start + BATCH].tolist()
            found = {row[0]: row for row in database.by_keys(cursor, keys)}
            _ = [found[key] for key in keys]
        connection.close()

    def fireworks() -> None:
        source = TableSource("rows", database.url) >> ShufflerSource(0) >> BatchingSource(BATCH)
        assert sum(map(len, source)) == num_rows

    return {"WHERE key IN by hand, as lists": by_hand, "Fireworks": fireworks}


def inserting(database: Database, values: dict[str, Any], rows: list[tuple[Any, ...]]) -> Ways:
    """Ways to write all rows into an empty table."""
    message = Message(values)
    frame = pd.DataFrame(values)[: len(rows) // PANDAS_PART]

    def timed(write: Callable[[], object], times: int = 1) -> Callable[[], float]:
        def run() -> float:
            database.make("written")
            start = time.perf_counter()
            write()
            return (time.perf_counter() - start) * times

        return run

    def table_source() -> None:
        with TableSource("written", database.url) as written:
            written.insert(message)

    def writer_source() -> None:
        source = MessageSource(message) >> BatchingSource(CHUNK)
        (source >> WriterSource("written", database.url)).drain()

    def in_pandas() -> None:
        engine = sa.create_engine(database.url)
        given = {"if_exists": "append", "index": False, "method": "multi", "chunksize": 5_000}
        frame.to_sql("written", engine, **given)

    ways: Ways = {
        "driver by hand, executemany of tuples": timed(lambda: database.insert("written", rows)),
        f"the same, {CHUNK:,} a transaction": timed(
            lambda: database.insert("written", rows, commits=True)
        ),
        "Fireworks, TableSource.insert": timed(table_source),
        f"Fireworks, WriterSource, {CHUNK:,} a transaction": timed(writer_source),
        "DataFrame.to_sql, multi (a tenth of the rows, times ten)": timed(in_pandas, PANDAS_PART),
    }
    if isinstance(database, PostgreSQL):
        ways["driver by hand, COPY of tuples in binary"] = timed(
            lambda: database.copy("written", rows)
        )
        ways[f"COPY of tuples, {CHUNK:,} a transaction"] = timed(
            lambda: database.copy("written", rows, commits=True)
        )
    return ways


def peak(database: Database, limit: int) -> float:
    """MiB that reading the first rows takes beyond 10,000 of them, in a process of its own."""
    script = """
import resource, sys
import sqlalchemy as sa
from fireworks.sources import QuerySource, TableSource
table = TableSource("rows", sys.argv[1]).table
def read(limit):
    for _ in QuerySource(sa.select(table).where(table.c.id <= limit), sys.argv[1]):
        pass
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(-read(10_000) + read(int(sys.argv[2])))
"""
    command = [sys.executable, "-c", script, database.url, str(limit)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


if __name__ == "__main__":
    main()
