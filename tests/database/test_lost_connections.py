"""Servers that are killed and started again while they are read from and written to."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest
import sqlalchemy as sa

from fireworks import Message, create_table
from fireworks.database import QuerySource, TableSource, WriterSource, writing
from fireworks.database.retrying import with_connection
from fireworks.errors import DatabaseUnreachable
from fireworks.source import Retry
from fireworks.sources import BatchingSource, MapSource, MessageSource, ShufflerSource
from tests.servers import Server

ROWS = 400


def numbered(n: int = ROWS) -> Message:
    return Message({"id": np.arange(n), "text": ["x" * 50] * n})


@pytest.fixture(params=["postgresql", "mariadb"])
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    yield request.getfixturevalue(request.param)


@pytest.fixture
def engine(server: Server) -> Iterator[sa.Engine]:
    engine = sa.create_engine(server.url, poolclass=sa.NullPool)
    yield engine
    with engine.begin() as connection:
        for name in sa.inspect(connection).get_table_names():
            connection.execute(sa.text(f"DROP TABLE {name}"))


@pytest.fixture
def table(engine: sa.Engine) -> sa.Table:
    table = create_table("numbered", numbered(), engine)
    WriterSource(table, engine, inputs=MessageSource(numbered())).drain()
    return table


@pytest.mark.parametrize("pooled", [False, True])
def test_a_read_epoch_goes_on_from_the_last_key(server, table, engine, pooled, caplog):
    if pooled:
        engine = sa.create_engine(server.url)
    by_pages = sa.select(table)
    by_cursor = sa.select(table.c.id, sa.func.row_number().over(order_by=table.c.id).label("n"))
    for query in (by_pages, by_cursor):
        source = QuerySource(query, engine, chunk_rows=20)
        found: list[int] = []
        for number, chunk in enumerate(source):
            found += chunk["id"].tolist()
            if number in (3, 11):
                server.restart()
        assert found == list(range(ROWS))
        assert "was interrupted" in caplog.text
        caplog.clear()
    engine.dispose()


def test_a_shuffled_epoch_goes_on(server, table, engine):
    batches = TableSource(table, engine) >> ShufflerSource(1) >> BatchingSource(50)
    found: list[int] = []
    for number, batch in enumerate(batches):
        found += batch["id"].tolist()
        if number == 3:
            server.restart()
    assert sorted(found) == list(range(ROWS))


def test_a_write_epoch_repeats_its_transaction(server, table, engine):
    target = create_table("target", numbered(), engine)
    batches = MessageSource(numbered()) >> BatchingSource(30)
    writer = WriterSource(target, engine, transaction_rows=60, inputs=batches)
    passed: list[int] = []
    for number, batch in enumerate(writer):
        passed += batch["id"].tolist()
        if number in (2, 7):
            server.restart()
    assert passed == list(range(ROWS))
    assert QuerySource(target, engine).read_all() == numbered()


def test_a_transaction_in_flight_is_repeated_as_a_whole(server, table, engine, monkeypatch):
    """The server dies between two statements of one transaction, and at its commit."""
    target = create_table("target", numbered(), engine)
    upsert = writing.upsert

    def write() -> None:
        batches = MessageSource(numbered()) >> BatchingSource(100)
        assert WriterSource(target, engine, batch_rows=30, inputs=batches).drain() == ROWS
        assert QuerySource(target, engine).read_all() == numbered()

    seen: list[object] = []

    def die(*arguments: object) -> None:
        seen.append(arguments)
        if len(seen) == 2:
            server.restart()

    def statement(connection: sa.Connection, rows: sa.Table, message: Message) -> None:
        upsert(connection, rows, message)
        die()

    monkeypatch.setattr(writing, "upsert", statement)
    write()
    assert len(seen) > 2
    monkeypatch.undo()
    seen.clear()
    sa.event.listen(engine, "commit", die)
    write()
    sa.event.remove(engine, "commit", die)
    assert len(seen) > 2


def test_reading_and_writing_in_one_pipeline(server, table, engine):
    target = create_table("target", numbered(), engine)
    stop = threading.Event()

    def disturb() -> None:
        for _ in range(4):
            if not stop.wait(0.4):
                server.restart()

    def slowly(message: Message) -> Message:
        time.sleep(0.03)
        return message

    source = QuerySource(table, engine, chunk_rows=10) >> MapSource(slowly)
    disturbing = threading.Thread(target=disturb)
    disturbing.start()
    try:
        assert WriterSource(target, engine, inputs=source).drain() == ROWS
    finally:
        stop.set()
        disturbing.join()
    assert QuerySource(target, engine).read_all() == numbered()


def test_a_stream_without_a_key_says_that_it_cannot_go_on(server, table, engine):
    query = sa.select(table.c.id, table.c.text).order_by(table.c.text.desc())
    one_pass = iter(QuerySource(query, engine, chunk_rows=1).filter("text", "!=", ""))
    next(one_pass)
    server.restart()
    with pytest.raises(DatabaseUnreachable, match=r"lost its connection after \d+ rows.*key="):
        list(one_pass)


def test_it_gives_up_after_a_while_and_says_so(server, table, engine, caplog):
    patience = Retry(3, wait=0.05)
    url = engine.url.set(password="s3cret")
    secret = sa.create_engine(url, poolclass=sa.NullPool)
    if engine.dialect.name == "mariadb":
        secret = engine  # its user has none
    source = QuerySource(table, secret, chunk_rows=20, reconnect=patience)
    one_pass = iter(source)
    next(one_pass)
    writer = WriterSource(
        table, secret, reconnect=patience, inputs=MessageSource(numbered()) >> BatchingSource(10)
    )
    writing = iter(writer)
    next(writing)
    server.kill()
    try:
        for going in (one_pass, writing):
            began = time.monotonic()
            with pytest.raises(
                DatabaseUnreachable, match=r"could not be reached .*tried for \d+ s"
            ):
                list(going)
            assert time.monotonic() - began < 5
        with pytest.raises(DatabaseUnreachable, match="while counting"):
            source.count()
    finally:
        server.start()
    assert "try 3 of 3" in caplog.text
    assert "s3cret" not in caplog.text
    assert len(list(source)) == ROWS / 20


def test_a_wrong_password_is_told_at_once(server, table, engine):
    if engine.dialect.name == "postgresql":
        url = engine.url.set(database="nothing", password="s3cret")
    else:
        url = engine.url.set(password="s3cret")
    began = time.monotonic()
    with pytest.raises(DatabaseUnreachable, match="user and database are right") as error:
        QuerySource(table, url).read_all()
    assert time.monotonic() - began < 2
    assert "s3cret" not in str(error.value)
    assert "***" in str(error.value)


def test_work_is_done_again_in_a_new_transaction(server, table, engine, caplog):
    attempts: list[int] = []

    def work(connection: sa.Connection) -> int:
        attempts.append(1)
        connection.execute(table.insert().values(id=ROWS + 1, text=""))
        if len(attempts) == 1:
            server.restart()
        return connection.scalar(sa.select(sa.func.count()).select_from(table)) or 0

    with caplog.at_level(logging.WARNING):
        assert with_connection(engine, work, doing="counting") == ROWS + 1
    assert len(attempts) >= 2
    assert "counting was interrupted" in caplog.text
