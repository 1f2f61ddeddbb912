"""Reads and writes tables in forks that are killed at random moments; run by test_killed.py.

Every run is a fork of a process that never uses more than one thread: a fork costs milliseconds
where a new interpreter would import torch for seconds. The pipelines run side by side, each with a
table of its own to write to.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import numpy as np
import sqlalchemy as sa
import torch

from fireworks import Message, create_table
from fireworks.database import QuerySource, TableSource, WriterSource
from fireworks.source import Source
from fireworks.sources import BatchingSource, MapSource, MessageSource, ShufflerSource

ROWS = 600
_KILLS_AN_EPOCH = 10
_MOST_EPOCHS = 30
MESSAGE = Message({"id": np.arange(ROWS), "word": [f"w{i}" for i in range(ROWS)]})


class Journal:
    """What a run has handed on: for each chunk its ids, and the state behind it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def append(self, ids: list[int], state: dict) -> None:
        line = json.dumps({"ids": ids, "state": state}) + "\n"
        file = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.write(file, line.encode())
        os.close(file)

    def read(self) -> tuple[list[int], dict | None]:
        """The ids so far and the last state; a line that a kill has torn counts as not written."""
        ids: list[int] = []
        state = None
        text = self.path.read_text() if self.path.exists() else ""
        for line in text[: text.rfind("\n") + 1].splitlines():
            entry = json.loads(line)
            ids += entry["ids"]
            state = entry["state"]
        whole = text[: text.rfind("\n") + 1]
        self.path.write_text(whole)
        return ids, state


def run(make: Callable[[], Source], journal: Journal) -> None:
    """Go on where the journal ends, to the end."""
    source = make()
    _, state = journal.read()
    if state is not None:
        source.load_state_dict(state)
    one_pass = iter(source)
    for chunk in one_pass:
        journal.append(chunk["id"].tolist(), one_pass.state_dict())


def fork(work: Callable[[], None]) -> int:
    """Do work in a fork; return its process number."""
    pid = os.fork()
    if pid:
        return pid
    try:
        work()
        os._exit(0)
    except BaseException:
        traceback.print_exc()
        os._exit(1)


def forked(work: Callable[[], None], kill_after: float | None) -> int:
    """Do work in a fork and return its exit status; kill it after some seconds."""
    pid = fork(work)
    if kill_after is not None:
        time.sleep(kill_after)
        os.kill(pid, signal.SIGKILL)
    return os.waitpid(pid, 0)[1]


def engine_for(url: str) -> sa.Engine:
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    if engine.dialect.name == "sqlite":

        @sa.event.listens_for(engine, "connect")
        def unsynced(connection: sqlite3.Connection, _: object) -> None:
            connection.execute("PRAGMA synchronous = OFF")  # only a crash of the machine needs it

    return engine


def shouted(message: Message) -> Message:
    message["word"] = [each.upper() for each in message["word"]]
    return message


class Pipeline:
    """One way to read, or to read and write, that is killed again and again."""

    def __init__(self, name: str, url: str, table: sa.Table) -> None:
        self.name = name
        self.table = table
        self.engine = engine_for(url)
        self.target: sa.Table | None = None
        if "writer" in name:
            self.target = create_table(name, MESSAGE, self.engine)

    def make(self) -> Source:
        table, engine, target = self.table, self.engine, self.target
        match self.name:
            case "pages":
                return QuerySource(table, engine, chunk_rows=20)
            case "cursor":
                place = sa.func.row_number().over(order_by=table.c.id).label("place")
                return QuerySource(sa.select(table, place), engine, chunk_rows=20)
            case "shuffled":
                return TableSource(table, engine) >> ShufflerSource(3) >> BatchingSource(20)
        assert target is not None
        if self.name == "writer":
            source = QuerySource(table, engine, chunk_rows=20) >> MapSource(shouted)
            return source >> WriterSource(target, engine)
        batches = TableSource(table, engine) >> ShufflerSource(5) >> BatchingSource(15)
        writer = WriterSource(target, engine, transaction_rows=100, batch_rows=40)
        return batches >> writer >> BatchingSource(8)

    def empty(self) -> None:
        if self.target is not None:
            with self.engine.begin() as connection:
                connection.execute(self.target.delete())

    def problems(self, ids: list[int], *, ended: bool) -> list[str]:
        """What is wrong with the rows handed on so far, and with those that are in the table."""
        found: list[str] = []
        if len(set(ids)) != len(ids):
            found.append("rows handed on twice")
        if ended and sorted(ids) != list(range(ROWS)):
            found.append(f"{len(ids)} rows handed on, {len(set(ids))} of them once")
        if self.target is not None:
            rows = QuerySource(self.target, self.engine).read_all()
            written = rows["id"].tolist()
            if not set(ids) <= set(written):
                found.append("rows handed on that are not there")
            if ended and written != list(range(ROWS)):
                found.append(f"{len(written)} rows written")
            if [each.lower() for each in rows["word"]] != [f"w{i}" for i in written]:
                found.append("other rows written")
        return [f"{self.name}: {each}" for each in found]

    def kill(self, kills: int, folder: Path, chosen: random.Random) -> tuple[int, list[str]]:
        """Run epochs until so many runs were killed; return how many were, and what was wrong."""
        killed, problems = 0, list[str]()
        for epoch in range(_MOST_EPOCHS):
            journal = Journal(folder / f"{self.name}-{epoch}.jsonl")
            self.empty()
            began = time.perf_counter()
            assert forked(lambda: run(self.make, journal), None) == 0, self.name  # noqa: B023
            lasts = time.perf_counter() - began
            journal.path.unlink()
            self.empty()
            for attempt in range(_KILLS_AN_EPOCH + 1):
                last = attempt == _KILLS_AN_EPOCH or killed >= kills
                status = forked(
                    lambda: run(self.make, journal),  # noqa: B023
                    None if last else chosen.uniform(0, lasts * 0.6),
                )
                ended = not os.WIFSIGNALED(status)
                killed += not ended
                problems += self.problems(journal.read()[0], ended=ended)
                if ended:
                    if status:
                        problems.append(f"{self.name}: ended with {status}")
                    break
            if killed >= kills:
                break
        return killed, problems


def main(url: str, folder: Path, kills: dict[str, int], seed: int) -> None:
    torch.set_num_threads(1)
    engine = engine_for(url)
    table = create_table("killed_from", MESSAGE, engine)
    WriterSource(table, engine, inputs=MessageSource(MESSAGE)).drain()
    pids: list[int] = []
    for name, count in kills.items():
        pipeline = Pipeline(name, url, table)

        def work() -> None:
            own = random.Random(f"{seed} {name}")  # noqa: B023
            killed, problems = pipeline.kill(count, folder, own)  # noqa: B023
            report = json.dumps({"killed": killed, "problems": problems})
            (folder / f"{name}.json").write_text(report)  # noqa: B023

        pids.append(fork(work))
    ended = [os.waitpid(pid, 0)[1] for pid in pids]
    assert not any(ended), ended
    reports = {name: json.loads((folder / f"{name}.json").read_text()) for name in kills}
    print(json.dumps(reports))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), json.loads(sys.argv[3]), int(sys.argv[4]))
