"""Announced rows of a large table are read together; nobody can tell but by the time it takes."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa
import torch

from fireworks import Message, create_table
from fireworks.database import TableSource, ahead
from fireworks.errors import RowsVanished
from fireworks.sources import BatchingSource, CachingSource, ShufflerSource

ROWS, BATCH = 40_000, 100
TOGETHER = ROWS // 8


@pytest.fixture
def engine(tmp_path: Path) -> sa.Engine:
    return sa.create_engine(f"sqlite:///{tmp_path / 'rows.sqlite'}", poolclass=sa.NullPool)


@pytest.fixture
def source(engine: sa.Engine) -> TableSource:
    numbers = np.arange(ROWS)
    rows = Message({"id": numbers, "x": numbers / 2, "word": [f"w{i % 9}" for i in numbers]})
    with TableSource(create_table("rows", rows, engine), engine) as table:
        table.insert(rows)
    return TableSource("rows", engine)


@pytest.fixture
def statements(engine: sa.Engine) -> Iterator[list[str]]:
    """The statements that fetch rows by their keys."""
    seen: list[str] = []

    def note(sql: str) -> None:
        if " WHERE " in sql and "sqlite_" not in sql:
            seen.append(sql)

    sa.event.listen(engine, "connect", lambda raw, _: raw.set_trace_callback(note))
    yield seen


def shuffled(source: TableSource) -> BatchingSource:
    return source >> ShufflerSource(seed=3) >> BatchingSource(BATCH)


def ids(batches: Iterable[Message]) -> list[list[int]]:
    return [batch["id"].tolist() for batch in batches]


def execute(engine: sa.Engine, sql: str) -> None:
    with engine.begin() as connection:
        connection.exec_driver_sql(sql)


def read_one_by_one(source: TableSource) -> list[list[int]]:
    batches = shuffled(source)
    return [batches[i]["id"].tolist() for i in range(len(batches))]


def test_a_few_statements_an_epoch_give_the_same_batches(
    engine: sa.Engine, source: TableSource, statements: list[str]
):
    expected = read_one_by_one(TableSource("rows", engine))
    assert len(statements) == ROWS // BATCH
    statements.clear()
    batches = shuffled(source)
    found = list(batches)
    assert ids(found) == expected
    # The first batch tells how large rows are; then one statement reads many batches.
    assert len(statements) <= ROWS / TOGETHER + 3
    assert all(batch["x"].tolist() == [i / 2 for i in batch["id"]] for batch in found[::40])
    statements.clear()
    second = ids(batches)  # of which the first rows were announced by the end of the first epoch
    assert second != expected
    assert sorted(np.concatenate(second).tolist()) == list(range(ROWS))
    assert len(statements) <= ROWS / TOGETHER + 3


def test_in_order_and_resumed_anywhere(engine: sa.Engine, source: TableSource):
    batches = source >> BatchingSource(BATCH)
    one_pass = iter(batches)
    for _ in range(77):
        next(one_pass)
    state = json.loads(json.dumps(one_pass.state_dict()))
    rest = ids(one_pass)
    fresh = TableSource("rows", engine) >> BatchingSource(BATCH)
    fresh.load_state_dict(state)
    assert ids(fresh) == rest == [list(range(i, i + BATCH)) for i in range(7700, ROWS, BATCH)]


def test_the_batch_with_a_vanished_row_and_no_other_says_so(engine: sa.Engine, source: TableSource):
    one_pass = iter(source >> BatchingSource(BATCH))
    next(one_pass)
    execute(engine, f"DELETE FROM rows WHERE id = {3 * TOGETHER + 250}")
    for number in range(1, (3 * TOGETHER + 250) // BATCH):
        assert next(one_pass)["id"].tolist()[0] == number * BATCH
    with pytest.raises(RowsVanished, match=f"1 rows .*: {3 * TOGETHER + 250}\\."):
        next(one_pass)


def test_changes_are_seen_by_the_next_rows_that_are_read(engine: sa.Engine, source: TableSource):
    one_pass = iter(source >> BatchingSource(BATCH))
    next(one_pass)
    execute(engine, "UPDATE rows SET word = 'changed'")
    assert set(next(one_pass)["word"]) == {"changed"}  # nothing was read ahead yet
    execute(engine, "UPDATE rows SET word = 'again'")
    words = [set(batch["word"]) for batch in one_pass]
    assert words[TOGETHER // BATCH :] == [{"again"}] * (len(words) - TOGETHER // BATCH)


def test_what_the_source_itself_commits_is_seen_at_once(source: TableSource):
    one_pass = iter(source >> BatchingSource(BATCH))
    next(one_pass), next(one_pass)
    with source:
        source.update({"word": "changed"}, where=sa.true())
    assert set(next(one_pass)["word"]) == {"changed"}


def test_passes_at_once_share_no_memory(engine: sa.Engine):
    numbers = np.arange(ROWS)
    rows = Message({"id": numbers, "x": torch.as_tensor(numbers)[:, None]})
    with TableSource(create_table("tensors", rows, engine), engine) as table:
        table.insert(rows)
    source = TableSource("tensors", engine)
    batches = source >> BatchingSource(BATCH)
    for one, other in zip(batches, batches, strict=True):
        one["x"].fill_(-1)
        assert other["x"][:, 0].tolist() == other["id"].tolist()


def test_through_a_cache(source: TableSource):
    cached = source >> CachingSource(max_rows=5_000) >> ShufflerSource(1) >> BatchingSource(BATCH)
    for _ in range(2):
        assert sorted(np.concatenate(ids(cached)).tolist()) == list(range(ROWS))


def test_memory_is_bounded_by_bytes(engine: sa.Engine, statements: list[str]):
    rows = Message({"id": np.arange(ROWS)})
    table = create_table("wide", {"id": sa.Integer(), "text": sa.Text()}, engine)
    with TableSource(table, engine) as wide:
        wide.insert(rows)
    execute(engine, "UPDATE wide SET text = printf('%.2000c', 'x') WHERE id < 20000")
    statements.clear()
    one_pass = iter(TableSource("wide", engine) >> BatchingSource(BATCH))
    for _ in range(20_000 // BATCH):
        next(one_pass)
    at_once = ahead._BYTES // 2_000  # pyright: ignore[reportPrivateUsage]
    assert len(statements) >= 20_000 / at_once


@pytest.mark.parametrize("num_rows", [1_000, 30_000])
def test_of_small_tables_every_row_is_read_when_it_is_asked_for(
    engine: sa.Engine, statements: list[str], num_rows: int
):
    rows = Message({"id": np.arange(num_rows)})
    with TableSource(create_table("small", rows, engine), engine) as table:
        table.insert(rows)
    statements.clear()
    assert len(list(shuffled(TableSource("small", engine)))) == len(statements) == num_rows / BATCH
