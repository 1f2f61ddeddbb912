"""Rows written in the middle of a pipeline, on SQLite, PostgreSQL and MariaDB."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa
import torch

from fireworks import Graph, Message, Source, create_table
from fireworks.database import QuerySource, TableSource, WriterSource
from fireworks.dry_run_context import dry_run_context
from fireworks.errors import (
    ColumnNotFound,
    NotWritten,
    SecondWriter,
    TableNotFound,
    WrongValue,
)
from fireworks.sources import (
    BatchingSource,
    CachingSource,
    MapSource,
    MessageSource,
    ShufflerSource,
)


def numbered(n: int, first: int = 0) -> Message:
    ids = np.arange(first, first + n)
    return Message({"id": ids, "x": torch.as_tensor(ids).float(), "word": [f"w{i}" for i in ids]})


def contents(table: sa.Table, engine: sa.Engine) -> Message:
    return QuerySource(table, engine).read_all()


def ids(table: sa.Table, engine: sa.Engine) -> list[int]:
    with engine.connect() as connection:
        return list(connection.scalars(sa.select(table.c.id).order_by(table.c.id)))


class TestWriting:
    def test_rows_are_committed_before_they_go_on(self, engine):
        rows = numbered(30)
        table = create_table("t", rows, engine)
        writer = MessageSource(rows) >> BatchingSource(4) >> WriterSource(table, engine)
        there = 0
        for batch in writer:
            there += len(batch)
            assert ids(table, engine) == list(range(there))
        assert there == 30
        assert contents(table, engine) == rows

    @pytest.mark.parametrize("batch_rows", [1, 7, 100])
    def test_batches_and_transactions_are_as_large_as_wanted(self, engine, batch_rows):
        rows = numbered(30)
        table = create_table("t", rows, engine)
        commits: list[int] = []
        sa.event.listen(engine, "commit", lambda connection: commits.append(1))
        writer = WriterSource(table, engine, batch_rows=batch_rows, transaction_rows=10)
        seen = []
        for batch in MessageSource(rows) >> BatchingSource(4) >> writer:
            seen.append((len(batch), len(ids(table, engine))))
        # Three batches of 4 are the first with 10 rows; the others wait until these are committed.
        assert seen == [(4, 12)] * 3 + [(4, 24)] * 3 + [(4, 30), (2, 30)]
        assert len(commits) == 3

    def test_one_connection_serves_a_pass(self, engine):
        table = create_table("t", numbered(1), engine)
        opened: list[object] = []
        sa.event.listen(engine, "connect", lambda connection, _: opened.append(connection))
        writer = MessageSource(numbered(30)) >> BatchingSource(3) >> WriterSource(table, engine)
        assert writer.drain() == 30
        assert len(opened) == 1
        list(zip(writer, range(2), strict=False))  # a pass that is given up
        assert len(opened) == 2

    def test_a_row_with_the_same_key_is_changed(self, engine):
        table = create_table("t", numbered(5), engine)
        WriterSource(table, engine, inputs=MessageSource(numbered(5))).drain()
        changes = Message({"id": [3, 7], "word": ["changed", "new"], "x": torch.zeros(2)})
        WriterSource(table, engine, inputs=MessageSource(changes)).drain()
        words = contents(table, engine)["word"].tolist()
        assert words == ["w0", "w1", "w2", "changed", "w4", "new"]

    def test_of_rows_with_one_key_the_last_stays(self, engine):
        rows = Message({"id": [1, 2, 1, 1], "word": ["a", "b", "c", "d"]})
        table = create_table("t", rows, engine)
        WriterSource(table, engine, inputs=MessageSource(rows)).drain()
        assert contents(table, engine)["word"].tolist() == ["d", "b"]

    def test_columns_that_the_rows_lack_stay_as_they_are(self, engine):
        rows = Message({"id": [1, 2], "a": ["x", "y"], "b": ["p", "q"]})
        table = create_table("t", rows, engine)
        WriterSource(table, engine, inputs=MessageSource(rows)).drain()
        later = MessageSource({"id": [2, 3], "b": ["Q", "R"]})
        WriterSource("t", engine, inputs=later).drain()
        found = contents(table, engine)
        assert found["b"].tolist() == ["p", "Q", "R"]
        assert found["a"].tolist()[:2] == ["x", "y"]

    def test_keys_of_several_columns(self, engine):
        rows = Message({"a": [1, 1, 2], "b": ["x", "y", "x"], "n": [1, 2, 3]})
        table = create_table("t", rows, engine, key=["a", "b"])
        for message in (rows, Message({"a": [1, 3], "b": ["y", "y"], "n": [20, 4]})):
            WriterSource(table, engine, inputs=MessageSource(message)).drain()
        assert contents(table, engine)["n"].tolist() == [1, 20, 3, 4]
        only_keys = Message({"a": [1, 9], "b": ["x", "z"]})
        keys = create_table("keys", only_keys, engine, key=["a", "b"])
        for _ in range(2):
            WriterSource(keys, engine, inputs=MessageSource(only_keys)).drain()
        assert len(contents(keys, engine)) == 2

    def test_rows_that_the_database_numbers(self, engine):
        table = create_table("t", {"id": sa.Integer, "word": sa.String(9)}, engine)
        rows = MessageSource({"word": ["a", "b"]})
        for _ in range(2):
            WriterSource(table, engine, inputs=rows).drain()
        assert contents(table, engine)["word"].tolist() == ["a", "b", "a", "b"]

    def test_a_key_of_zero_is_one_like_any_other(self, engine):
        table = sa.Table("t", sa.MetaData(), sa.Column("id", sa.Integer, primary_key=True))
        table.create(engine)  # in MariaDB, AUTO_INCREMENT
        for _ in range(2):
            WriterSource(table, engine, inputs=MessageSource({"id": [0, 1]})).drain()
        assert ids(table, engine) == [0, 1]

    def test_no_rows(self, engine):
        table = create_table("t", numbered(1), engine)
        writer = MessageSource(numbered(0)) >> BatchingSource(4) >> WriterSource(table, engine)
        assert writer.drain() == 0

    def test_two_tables_in_one_pipeline(self, engine):
        first = create_table("first", numbered(1), engine)
        second = create_table("second", {"id": sa.Integer, "n": sa.Integer}, engine)

        def lengths(message: Message) -> Message:
            return Message({"id": message["id"], "n": [len(each) for each in message["word"]]})

        top = MessageSource(numbered(20)) >> BatchingSource(6)
        writer = WriterSource(first, engine, inputs=top) >> MapSource(lengths)
        assert (writer >> WriterSource(second, engine)).drain() == 20
        assert len(contents(first, engine)) == len(contents(second, engine)) == 20

    def test_what_is_announced_stops_here(self, engine):
        table = create_table("t", numbered(1), engine)
        cache = MessageSource(numbered(20)) >> CachingSource(max_rows=10)
        writer = cache >> WriterSource(table, engine)
        writer.will_need(np.arange(10))
        writer.wont_need(np.arange(10))
        assert writer.lookahead() == 0
        assert cache.input.statistics.rows == 0


class TestResuming:
    def make(self, table: sa.Table, engine: sa.Engine, source: Source) -> Source:
        writer = WriterSource(table, engine, transaction_rows=10, inputs=source)
        return writer >> BatchingSource(3)

    def test_at_every_step_each_row_is_there_once(self, engine):
        rows = numbered(50)
        table = create_table("t", rows, engine)

        def pipeline() -> Source:
            source = MessageSource(rows) >> ShufflerSource(4) >> BatchingSource(4)
            return self.make(table, engine, source)

        expected = list(pipeline())
        with engine.begin() as connection:
            connection.execute(table.delete())
        one_pass = iter(pipeline())
        for step in range(len(expected)):
            fresh = pipeline()
            fresh.load_state_dict(json.loads(json.dumps(one_pass.state_dict())))
            rest = list(fresh)
            assert rest == expected[step:]
            written = {int(i) for batch in rest for i in batch["id"]}
            assert written <= set(ids(table, engine))
            next(one_pass)
        assert contents(table, engine) == rows

    def test_the_graphs_state_covers_it(self, engine):
        source = create_table("source", numbered(1), engine)
        target = create_table("target", numbered(1), engine)
        WriterSource(source, engine, inputs=MessageSource(numbered(40))).drain()

        def graph() -> Graph:
            query = QuerySource(source, engine, chunk_rows=7)
            return Graph({"copy": WriterSource(target, engine, inputs=query)})

        first = graph()
        steps = first.run()
        for _ in range(3):
            next(steps)
        state = json.loads(json.dumps(first.state_dict()))
        assert len(contents(target, engine)) == 21
        fresh = graph()
        fresh.load_state_dict(state)
        assert fresh.drain() == {"copy": 19}
        assert contents(target, engine) == contents(source, engine)


class TestSecondWriter:
    def make(self, table: sa.Table, engine: sa.Engine, rows: Message) -> Source:
        return MessageSource(rows) >> BatchingSource(5) >> WriterSource(table, engine)

    def test_is_noticed_by_the_first(self, engine):
        rows = numbered(50)
        table = create_table("t", rows, engine)
        first = iter(self.make(table, engine, rows))
        next(first)
        state = first.state_dict()
        next(first)
        fresh = self.make(table, engine, rows)
        fresh.load_state_dict(state)
        second = iter(fresh)
        next(second)
        with pytest.raises(SecondWriter, match="another pass went on from a state of this one"):
            list(first)
        third = self.make(table, engine, rows)
        third.load_state_dict(second.state_dict())
        going = iter(third)
        next(going)
        with pytest.raises(SecondWriter):
            next(second)
        assert sum(map(len, going)) == 35
        assert contents(table, engine) == rows
        left = sa.Table("fireworks_writers", sa.MetaData(), autoload_with=engine)
        assert len(contents(left, engine)) == 0

    def test_is_noticed_where_the_first_has_written_nothing_since_its_state(self, engine):
        rows = numbered(50)
        table = create_table("t", rows, engine)
        first, fresh = self.make(table, engine, rows), self.make(table, engine, rows)
        fresh.load_state_dict(first.state_dict())
        second = iter(fresh)
        next(second)
        with pytest.raises(SecondWriter):
            next(iter(first))

    def test_writers_of_their_own_never_meet(self, engine):
        rows = numbered(50)
        table = create_table("t", rows, engine)
        passes = [iter(self.make(table, engine, rows)) for _ in range(2)]
        for _ in range(10):
            for each in passes:
                assert len(next(each)) == 5
                each.state_dict()

    def test_epochs_of_one_writer_follow_each_other(self, engine):
        rows = numbered(20)
        table = create_table("t", rows, engine)
        source = self.make(table, engine, rows)
        for _ in range(3):  # the last one is not asked whether it has ended
            one_pass = iter(source)
            for _ in range(4):
                next(one_pass)
                source.state_dict()
        fresh = self.make(table, engine, rows)
        fresh.load_state_dict(source.state_dict())
        assert sum(len(batch) for _ in range(2) for batch in fresh) in (20, 40)

    def test_without_states_there_is_no_trace_of_it(self, engine):
        table = create_table("t", numbered(50), engine)
        self.make(table, engine, numbered(50)).drain()
        assert sa.inspect(engine).get_table_names() == ["t"]


class TestDryRun:
    def test_everything_is_rolled_back(self, engine):
        metadata = sa.MetaData()
        parents = sa.Table(
            "parents", metadata, sa.Column("id", sa.Integer, primary_key=True, autoincrement=False)
        )
        children = sa.Table(
            "children",
            metadata,
            sa.Column("id", sa.Integer, sa.ForeignKey("parents.id"), primary_key=True),
        )
        metadata.create_all(engine)
        source = MessageSource({"id": range(1, 40)}) >> BatchingSource(5)
        writer = WriterSource(parents, engine, inputs=source) >> WriterSource(children, engine)
        with dry_run_context():
            # The second table needs what the first was given: both are one transaction.
            assert writer.drain() == 39
            assert writer.drain() == 39
            writer.state_dict()
            assert writer.drain() == 39
            assert ids(parents, engine) == []
        assert ids(parents, engine) == ids(children, engine) == []
        assert sorted(sa.inspect(engine).get_table_names()) == ["children", "parents"]
        assert writer.drain() == 39
        assert len(ids(children, engine)) == 39

    def test_what_does_not_fit_is_told_and_the_rest_goes_on(self, engine):
        table = sa.Table(
            "t",
            sa.MetaData(),
            sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
            sa.Column("n", sa.Integer, sa.CheckConstraint("n < 5")),
        )
        table.create(engine)
        with dry_run_context():
            with pytest.raises(WrongValue, match="none of them was"):
                bad = MessageSource({"id": [1, 2], "n": [1, 9]})
                WriterSource(table, engine, inputs=bad).drain()
            good = MessageSource({"id": [1, 2], "n": [1, 2]})
            assert WriterSource(table, engine, inputs=good).drain() == 2
            with pytest.raises(WrongValue, match="going on already"), dry_run_context():
                pass
        assert ids(table, engine) == []


class TestWhatDoesNotFit:
    def test_names_row_column_and_value_and_undoes_the_batch(self, engine):
        columns = {"id": sa.Integer, "n": sa.SmallInteger, "s": sa.String(5)}
        table = create_table("t", columns, engine)
        with engine.begin() as connection:
            connection.execute(table.insert(), [{"id": 1000, "n": 0, "s": "there"}])
        ok = np.arange(1, 101)
        wrong = {
            "n": np.where(ok == 70, 2**60, ok),
            "s": np.where(ok == 70, "too long", "fits").astype(object),
        }
        for name, values in wrong.items():
            if engine.dialect.name == "sqlite" and name == "s":
                continue  # its text has no greatest length
            if engine.dialect.name == "sqlite":
                values = [2**63 if i == 70 else i for i in ok.tolist()]
            message = Message({"id": ok, name: values})
            with pytest.raises(WrongValue) as error:
                WriterSource(table, engine, inputs=MessageSource(message)).drain()
            said = str(error.value)
            assert "row 69" in said.lower()
            assert repr(name) in said or f"{name} = " in said
            assert "too long" in said or "1152921504606846976" in said or str(2**63) in said
            assert ids(table, engine) == [1000]

    def test_what_the_database_alone_knows(self, engine):
        metadata = sa.MetaData()
        sa.Table("parents", metadata, sa.Column("id", sa.Integer, primary_key=True))
        table = sa.Table(
            "t",
            metadata,
            sa.Column("id", sa.Integer, primary_key=True),
            sa.Column("n", sa.Integer, sa.CheckConstraint("n < 5")),
        )
        metadata.create_all(engine)
        message = Message({"id": np.arange(100), "n": [9 if i == 42 else 1 for i in range(100)]})
        writer = MessageSource(message) >> BatchingSource(50) >> WriterSource(table, engine)
        with pytest.raises(WrongValue, match=r"none of them was: row 42 \(id = 42\): n = 9 does"):
            writer.drain()
        assert ids(table, engine) == []

    def test_a_value_of_another_row_in_a_unique_column(self, engine):
        """MariaDB would change that other row, and say nothing."""
        table = sa.Table(
            "t",
            sa.MetaData(),
            sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
            sa.Column("mail", sa.String(20), unique=True),
        )
        table.create(engine)
        for first in (["a", "b", "a"], ["a", "b", "c"]):
            rows = Message({"id": [1, 2, 3], "mail": first})
            if first[2] == "c":
                WriterSource(table, engine, inputs=MessageSource(rows)).drain()
                rows = Message({"id": [1, 4], "mail": ["a", "c"]})
            with pytest.raises(WrongValue, match="none of them was.*([Uu]nique|UNIQUE)"):
                WriterSource(table, engine, inputs=MessageSource(rows)).drain()
        assert contents(table, engine)["mail"].tolist() == ["a", "b", "c"]

    def test_columns_of_another_table(self, engine):
        table = create_table("t", numbered(1), engine)
        with pytest.raises(ColumnNotFound, match="no column 'wort'.*Did you mean 'word'"):
            wrong = Message({"id": [1], "wort": ["a"]})
            WriterSource(table, engine, inputs=MessageSource(wrong)).drain()
        with pytest.raises(ColumnNotFound, match="needs a column 'word'|needs a column 'id'"):
            WriterSource(table, engine, inputs=MessageSource({"x": torch.ones(1)})).drain()

    def test_a_table_that_has_changed(self, engine):
        table = create_table("t", numbered(1), engine)
        writer = WriterSource(table, engine, inputs=MessageSource(numbered(3)))
        with engine.begin() as connection:
            connection.execute(sa.text("ALTER TABLE t RENAME COLUMN word TO words"))
        with pytest.raises(ColumnNotFound, match="no column 'word'.*Did you mean 'words'"):
            writer.drain()
        table.drop(engine)
        with pytest.raises(TableNotFound, match="no table 't'"):
            writer.drain()

    def test_a_table_without_a_key(self, engine):
        table = sa.Table("t", sa.MetaData(), sa.Column("n", sa.Integer))
        table.create(engine)
        for given in (table, "t"):
            with pytest.raises(WrongValue, match="no primary key.*create_table.*key="):
                WriterSource(given, engine)

    def test_numbers_of_rows(self, engine):
        table = create_table("t", numbered(1), engine)
        for options in ({"batch_rows": 0}, {"transaction_rows": -1}, {"batch_rows": 2.5}):
            with pytest.raises(WrongValue, match=next(iter(options))):
                WriterSource(table, engine, **options)


class TestServersThatTakeNothing:
    @pytest.fixture(params=["postgresql", "mariadb"])
    def database(self, request: pytest.FixtureRequest) -> Iterator[sa.URL]:
        url = sa.make_url(request.getfixturevalue(request.param).url)
        yield url
        engine = sa.create_engine(url, poolclass=sa.NullPool)
        sa.Table("t", sa.MetaData(), autoload_with=engine).drop(engine)

    def with_setting(self, url: sa.URL, postgresql: str, mariadb: str) -> sa.Engine:
        if url.get_backend_name() == "postgresql":
            options = {"options": f"-c {postgresql}"}
        else:
            options = {"init_command": f"SET SESSION {mariadb}"}
        return sa.create_engine(url, connect_args=options, poolclass=sa.NullPool)

    def refused(self, table: sa.Table, engine: sa.Engine, match: str) -> None:
        """Both ways to write say so; what is passed on was committed, and nothing else is there."""
        before = ids(table, engine)
        changed = Message({"id": [0, 1000], "x": torch.zeros(2), "word": ["a", "b"]})
        with pytest.raises(NotWritten, match=match):
            WriterSource(table, engine, inputs=MessageSource(changed)).drain()
        with pytest.raises(NotWritten, match=match):
            TableSource(table, engine).upsert(changed)
        assert ids(table, engine) == before

    def test_where_it_may_only_be_read(self, database, engine):
        table = create_table("t", numbered(3), engine)
        read_only = "default_transaction_read_only=on", "TRANSACTION READ ONLY"
        self.refused(table, self.with_setting(database, *read_only), "may only be read")

    def test_where_another_holds_the_rows(self, database, engine):
        table = create_table("t", numbered(3), engine)
        WriterSource(table, engine, inputs=MessageSource(numbered(3))).drain()
        impatient = "lock_timeout=50", "innodb_lock_wait_timeout = 1"
        with engine.connect() as other, other.begin():
            other.execute(table.update().values(word="held"))
            self.refused(table, self.with_setting(database, *impatient), "Another process is")

    def test_where_there_is_no_room(self, database, engine):
        """A table in memory is the one of which a server can be told how large it may be."""
        if engine.dialect.name == "postgresql":  # it has none
            create_table("t", numbered(3), engine)
            return
        columns = sa.Column("id", sa.Integer, primary_key=True), sa.Column("x", sa.CHAR(255))
        table = sa.Table("t", sa.MetaData(), *columns, mariadb_engine="MEMORY")
        small = self.with_setting(database, "", "max_heap_table_size = 16384")
        table.create(small)
        rows = Message({"id": np.arange(1000), "x": ["x" * 255] * 1000})
        writer = MessageSource(rows) >> BatchingSource(10) >> WriterSource(table, small)
        with pytest.raises(NotWritten, match="is full.*Make room"):
            writer.drain()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "data.sqlite"


class TestSQLiteFiles:
    def test_a_full_disk(self, file):
        rows = Message({"id": np.arange(4000), "text": ["x" * 500] * 4000})
        table = create_table("t", rows, file)
        engine = sa.create_engine(f"sqlite:///{file}", poolclass=sa.NullPool)

        @sa.event.listens_for(engine, "connect")
        def small(connection: sqlite3.Connection, _: object) -> None:
            connection.execute("PRAGMA max_page_count = 200")

        writer = MessageSource(rows) >> BatchingSource(100) >> WriterSource(table, engine)
        passed = 0
        with pytest.raises(NotWritten, match="none of them was: database or disk is full.*room"):
            for batch in writer:
                passed += len(batch)
        assert passed > 0
        assert ids(table, engine) == list(range(passed))
        # There is room again: the rest is written.
        state = writer.state_dict()
        roomy = sa.create_engine(f"sqlite:///{file}", poolclass=sa.NullPool)
        fresh = MessageSource(rows) >> BatchingSource(100) >> WriterSource(table, roomy)
        fresh.load_state_dict(state)
        assert fresh.drain() == 4000 - passed
        assert contents(table, roomy) == rows

    def test_a_file_that_may_only_be_read(self, file):
        table = create_table("t", numbered(1), file)
        engine = sa.create_engine(f"sqlite:///file:{file}?mode=ro&uri=true", poolclass=sa.NullPool)
        with pytest.raises(NotWritten, match="readonly database.*rights"):
            WriterSource(table, engine, inputs=MessageSource(numbered(3))).drain()
        assert len(QuerySource(table, engine).read_all()) == 0

    def test_a_reader_of_a_file_without_a_write_ahead_log_lets_writers_write(self, file):
        """A cursor that is open makes SQLite wait with every commit."""
        rows = numbered(1000)
        table = create_table("t", rows, file)
        WriterSource(table, file, inputs=MessageSource(rows)).drain()
        connect = {"timeout": 0.1}
        engine = sa.create_engine(f"sqlite:///{file}", connect_args=connect, poolclass=sa.NullPool)
        with engine.connect() as connection:
            assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "delete"
        for query in (sa.select(table), sa.select(table).order_by(table.c.word.desc())):
            read = QuerySource(query, engine, chunk_rows=50)
            assert WriterSource(table, engine, inputs=read).drain() == 1000
        assert contents(table, engine) == rows

    def test_a_locked_database_can_be_written_later(self, file):
        table = create_table("t", numbered(1), file)
        engine = sa.create_engine(
            f"sqlite:///{file}", connect_args={"timeout": 0.05}, poolclass=sa.NullPool
        )
        other = sqlite3.connect(file, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        writer = MessageSource(numbered(9)) >> BatchingSource(3) >> WriterSource(table, engine)
        with pytest.raises(NotWritten, match="database is locked.*Another process is writing"):
            writer.drain()
        other.rollback()
        other.close()
        assert writer.drain() == 9
