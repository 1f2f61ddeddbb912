"""What processes that share a table do to each other; run by test_neighbours.py.

Every neighbour is a fork of this process, which never uses more than one thread (see
killed_pipelines.py).
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import sqlalchemy as sa
import torch

from fireworks import Message, create_table
from fireworks.database import QuerySource, TableSource, WriterSource
from fireworks.errors import RowsVanished, StateMismatch
from fireworks.source import Source
from fireworks.sources import BatchingSource, MapSource, MessageSource, ShufflerSource
from tests.database.killed_pipelines import Journal, engine_for, fork, run

ROWS = 600


def numbered(first: int, end: int) -> Message:
    ids = np.arange(first, end)
    return Message({"id": ids, "word": [f"w{i}" for i in ids]})


def made(name: str, engine: sa.Engine, rows: Message) -> sa.Table:
    table = create_table(name, numbered(0, 1), engine)
    WriterSource(table, engine, inputs=MessageSource(rows)).drain()
    return table


def ids_of(chunks: Sequence[Message]) -> list[int]:
    return [i for chunk in chunks for i in chunk["id"].tolist()]


def ended(pid: int) -> None:
    assert os.waitpid(pid, 0)[1] == 0


def elsewhere(engine: sa.Engine, *statements: sa.Executable) -> None:
    """Execute statements in another process, in one transaction."""

    def work() -> None:
        with engine.begin() as connection:
            for each in statements:
                connection.execute(each)

    ended(fork(work))


def readers(table: sa.Table, engine: sa.Engine) -> dict[str, Callable[[], Source]]:
    place = sa.func.row_number().over(order_by=table.c.id).label("place")
    return {
        "pages": lambda: QuerySource(table, engine, chunk_rows=20),
        "cursor": lambda: QuerySource(sa.select(table, place), engine, chunk_rows=20),
        "keys": lambda: TableSource(table, engine) >> BatchingSource(20),
    }


def slowly(message: Message) -> Message:
    time.sleep(0.01)
    return message


def several_write_into_one_table(engine: sa.Engine, folder: Path) -> None:
    """All write all rows, each in an order of its own: their transactions meet."""
    table = made("several", engine, numbered(0, 0))

    def write(writer: int) -> None:
        rows = MessageSource(numbered(0, ROWS)) >> ShufflerSource(writer) >> BatchingSource(50)
        assert WriterSource(table, engine, inputs=rows).drain() == ROWS

    for pid in [fork(lambda: write(writer)) for writer in range(4)]:  # noqa: B023
        ended(pid)
    assert QuerySource(table, engine).read_all() == numbered(0, ROWS)


def readers_see_whole_transactions(engine: sa.Engine, folder: Path) -> None:
    for name in ("pages", "cursor", "keys"):
        table = made(f"whole_{name}", engine, numbered(0, 0))

        def write() -> None:
            rows = MessageSource(numbered(0, ROWS)) >> BatchingSource(30) >> MapSource(slowly)
            WriterSource(table, engine, inputs=rows).drain()  # noqa: B023

        counts: list[int] = []
        pid = fork(write)
        while True:
            status = os.waitpid(pid, os.WNOHANG)
            found = ids_of(list(readers(table, engine)[name]()))
            assert found == list(range(len(found)))
            counts.append(len(found))
            if status[0]:
                break
        assert status[1] == 0
        assert all(count % 30 == 0 for count in counts), counts
        assert any(0 < count < ROWS for count in counts), counts


def change(table: sa.Table) -> list[sa.Executable]:
    """Append, delete and change rows: of both of the latter one early and one late."""
    return [
        sa.insert(table).values(id=ROWS + 5, word="new"),
        sa.delete(table).where(table.c.id.in_([3, 500])),
        sa.update(table).where(table.c.id.in_([4, 501])).values(word="changed"),
    ]


def rows_change_in_the_middle_of_an_epoch(engine: sa.Engine, folder: Path) -> None:
    for name in ("pages", "cursor", "keys"):
        table = made(f"middle_{name}", engine, numbered(0, ROWS))
        source = readers(table, engine)[name]()
        one_pass = iter(source)
        chunks = [next(one_pass) for _ in range(3)]
        elsewhere(engine, *change(table))
        if name == "keys":
            # Row by row, up to the one that vanished.
            try:
                for chunk in one_pass:
                    chunks.append(chunk)
                raise AssertionError("nothing was said of a row that was deleted")
            except RowsVanished as error:
                assert "deleted since the epoch began: 500" in str(error)
            assert ids_of(chunks) == list(range(500))
            skipping = TableSource(table, engine, on_error="skip")
            assert len(ids_of(list(skipping))) == ROWS - 1
            continue
        chunks += one_pass
        words = {
            i: word for each in chunks for i, word in zip(each["id"], each["word"], strict=True)
        }
        if name == "pages":  # what is changed is seen when it is read
            assert ids_of(chunks) == [i for i in range(ROWS) if i != 500]
            assert (words[4], words[501]) == ("w4", "changed")
        else:  # the result is that of one moment
            assert ids_of(chunks) == list(range(ROWS))
            assert words[501] == "w501"
        assert len(ids_of(list(source))) == ROWS - 1  # the next epoch has all that there is now


def rows_change_between_a_kill_and_its_resume(engine: sa.Engine, folder: Path) -> None:
    for name in ("pages", "keys", "keys, rows deleted"):
        table = made(f"killed {name}", engine, numbered(0, ROWS))
        journal = Journal(folder / f"{name}.jsonl")
        make = readers(table, engine)[name.partition(",")[0]]
        pid = fork(lambda: run(lambda: make() >> MapSource(slowly), journal))  # noqa: B023
        journal.path.touch()
        while journal.path.read_text().count("\n") < 5:
            time.sleep(0.005)
        os.kill(pid, signal.SIGKILL)
        assert os.WIFSIGNALED(os.waitpid(pid, 0)[1])
        before, state = journal.read()
        assert 100 <= len(before) < 500
        changes = change(table)
        elsewhere(engine, *(changes if name != "keys" else [changes[0], changes[2]]))
        source = make() >> MapSource(slowly)
        if name == "keys, rows deleted":
            try:
                source.load_state_dict(state)
                raise AssertionError("a state of other rows was taken")
            except StateMismatch as error:
                assert f"had {ROWS} rows" in str(error) and f"now it has {ROWS - 2}" in str(error)
            continue
        source.load_state_dict(state)
        rest = list(source)
        gone = [500] if name == "pages" else []
        assert before + ids_of(rest) == [i for i in range(ROWS) if i not in gone]
        assert ROWS + 5 in ids_of(list(source))


def one_table_is_read_and_written(engine: sa.Engine, folder: Path) -> None:
    """The pipeline ends, though another process appends rows as long as it runs."""

    def moved(message: Message) -> Message:
        return Message({"id": message["id"] + 1_000_000, "word": message["word"]})

    for name in ("pages", "cursor", "keys"):
        table = made(f"both {name}", engine, numbered(0, ROWS))

        def append() -> None:
            for number in range(100_000):
                rows = MessageSource(numbered(ROWS + number, ROWS + number + 1))
                WriterSource(table, engine, inputs=rows).drain()  # noqa: B023

        pid = fork(append)
        try:
            time.sleep(0.05)
            source = readers(table, engine)[name]() >> MapSource(slowly) >> MapSource(moved)
            written = ids_of(list(source >> WriterSource(table, engine)))
        finally:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        assert written == list(range(1_000_000, 1_000_000 + len(written)))
        assert len(written) >= ROWS
        there = QuerySource(table, engine).read_all()["id"].tolist()
        assert set(written) <= set(there)
        assert len(there) == len(set(there))


SCENARIOS = [
    several_write_into_one_table,
    readers_see_whole_transactions,
    rows_change_in_the_middle_of_an_epoch,
    rows_change_between_a_kill_and_its_resume,
    one_table_is_read_and_written,
]


def main(url: str, folder: Path) -> None:
    torch.set_num_threads(1)
    report: dict[str, str | None] = {}
    for scenario in SCENARIOS:
        try:
            scenario(engine_for(url), folder)
            report[scenario.__name__] = None
        except Exception:
            report[scenario.__name__] = traceback.format_exc()
    print(json.dumps(report))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
