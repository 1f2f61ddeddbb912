"""Reads and writes tables in forks that are killed at random moments; run by test_killed.py.

Every run is a fork of this process, which never uses more than one thread: a fork costs
milliseconds where a new interpreter would import torch for seconds.
"""

from __future__ import annotations

import json
import os
import random
import signal
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


def forked(work: Callable[[], None], kill_after: float | None) -> int:
    """Do work in a fork and return its exit status; kill it after some seconds."""
    pid = os.fork()
    if pid == 0:
        try:
            work()
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
    if kill_after is not None:
        time.sleep(kill_after)
        os.kill(pid, signal.SIGKILL)
    return os.waitpid(pid, 0)[1]


def main(url: str, folder: Path, kills: int, seed: int) -> None:
    torch.set_num_threads(1)
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    table = create_table("killed_from", MESSAGE, engine)
    target = create_table("killed_to", MESSAGE, engine)
    WriterSource(table, engine, inputs=MessageSource(MESSAGE)).drain()

    def written() -> list[int]:
        with engine.connect() as connection:
            return list(connection.scalars(sa.select(target.c.id).order_by(target.c.id)))

    def shouted(message: Message) -> Message:
        message["word"] = [each.upper() for each in message["word"]]
        return message

    place = sa.func.row_number().over(order_by=table.c.id).label("place")
    pipelines: dict[str, Callable[[], Source]] = {
        "pages": lambda: QuerySource(table, engine, chunk_rows=20),
        "cursor": lambda: QuerySource(sa.select(table, place), engine, chunk_rows=20),
        "shuffled": lambda: TableSource(table, engine) >> ShufflerSource(3) >> BatchingSource(20),
        "writer": lambda: (
            QuerySource(table, engine, chunk_rows=20)
            >> MapSource(shouted)
            >> WriterSource(target, engine)
        ),
        "writer of transactions": lambda: (
            TableSource(table, engine)
            >> ShufflerSource(5)
            >> BatchingSource(15)
            >> WriterSource(target, engine, transaction_rows=100, batch_rows=40)
            >> BatchingSource(8)
        ),
    }
    chosen = random.Random(seed)
    problems: list[str] = []
    killed = dict.fromkeys(pipelines, 0)
    for name, make in pipelines.items():
        round_ = 0
        while killed[name] < kills and round_ < 20:
            round_ += 1
            journal = Journal(folder / f"{name}-{round_}.jsonl")
            if "writer" in name:
                with engine.begin() as connection:
                    connection.execute(target.delete())
            began = time.perf_counter()
            assert forked(lambda: run(make, journal), None) == 0, name  # noqa: B023
            lasts = time.perf_counter() - began
            journal.path.unlink()
            if "writer" in name:
                with engine.begin() as connection:
                    connection.execute(target.delete())
            for _ in range(kills):
                status = forked(
                    lambda: run(make, journal),  # noqa: B023
                    None if killed[name] >= kills else chosen.uniform(0, lasts * 0.6),
                )
                if os.WIFSIGNALED(status):
                    killed[name] += 1
                ids, _ = journal.read()
                if len(set(ids)) != len(ids):
                    problems.append(f"{name}: rows handed on twice")
                if "writer" in name and not set(ids) <= set(written()):
                    problems.append(f"{name}: rows handed on that are not there")
                if not os.WIFSIGNALED(status):
                    if status:
                        problems.append(f"{name}: ended with {status}")
                    break
            else:
                if forked(lambda: run(make, journal), None):  # noqa: B023
                    problems.append(f"{name}: did not end")
            ids, _ = journal.read()
            if sorted(ids) != list(range(ROWS)):
                problems.append(f"{name}: {len(ids)} rows handed on, {len(set(ids))} of them once")
            if "writer" in name:
                if written() != list(range(ROWS)):
                    problems.append(f"{name}: {len(written())} rows written")
                words = QuerySource(target, engine).read_all()["word"].tolist()
                if [each.lower() for each in words] != MESSAGE["word"].tolist():
                    problems.append(f"{name}: other rows written")
    print(json.dumps({"killed": killed, "problems": problems}))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
