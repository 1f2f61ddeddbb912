"""TableSource on the three databases: keys of every kind, epochs, states, changes by others."""

from __future__ import annotations

import json
import os
import pickle
import tracemalloc
import uuid
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import pytest
import sqlalchemy as sa
import torch

from fireworks import Message, create_table, train_test_split
from fireworks.database import TableSource
from fireworks.errors import (
    ColumnNotFound,
    NotWritten,
    RowsVanished,
    StateMismatch,
    WrongType,
    WrongValue,
)
from fireworks.sources import (
    BatchingSource,
    CachingSource,
    FilterSource,
    MapSource,
    ShufflerSource,
    WriterSource,
)


def filled(engine: sa.Engine, num_rows: int = 100, name: str = "rows") -> TableSource:
    numbers = np.arange(num_rows)
    message = Message({"id": numbers, "x": torch.as_tensor(numbers).float(), "s": "a"})
    with TableSource(create_table(name, message, engine), engine) as source:
        source.insert(message)
    return TableSource(name, engine)


def execute(engine: sa.Engine, sql: str, **values: object) -> None:
    """What another process does."""
    with engine.begin() as connection:
        connection.execute(sa.text(sql), values)


def ids(source: Iterable[Message]) -> list[int]:
    return [number for batch in source for number in batch["id"].tolist()]


def make_row(number: int) -> Message:
    return Message({"id": [number], "x": torch.tensor([float(number)]), "s": ["new"]})


def add(engine: sa.Engine, *numbers: int) -> None:
    with TableSource("rows", engine) as other:
        for number in numbers:
            other.insert(make_row(number))


KEYS = {
    "integers": lambda: np.array([-(2**63), -5, 0, 3, 2**63 - 1]),
    "small integers": lambda: np.array([-128, 0, 5, 127], np.int8),
    "text": lambda: ["", " ", "A", "B", "Z", "a", "a ", "b", "é", "日本", "🎆"],
    "UUIDs": lambda: [uuid.UUID(int=i * 2**96 + i) for i in range(5)],
    "bytes": lambda: [b"", b"\x00", b"a", b"a\x00", b"\xff"],
    "datetimes": lambda: np.array(["2020-01-01", "2026-01-02T03:04:05.678901"], "M8[us]"),
    "datetimes with a zone": lambda: pd.to_datetime(["2020-01-01", "2026-01-02"], utc=True),
}


class TestKeys:
    @pytest.mark.parametrize("make", KEYS.values(), ids=KEYS.keys())
    def test_of_one_column_in_pythons_order(self, engine, make):
        keys = make()
        message = Message({"id": keys, "n": np.arange(len(keys))})
        shuffled = message.take(np.random.default_rng(0).permutation(len(keys)))
        with TableSource(create_table("rows", message, engine), engine) as source:
            source.insert(shuffled)
        assert source.read_all() == message
        source = TableSource("rows", engine)
        assert source.read_all() == message
        some = [2 % len(keys), 0, 0]
        assert source[some] == message.take(np.array(some))
        one_pass = iter(source)
        next(one_pass)
        fresh = TableSource("rows", engine)
        fresh.load_state_dict(json.loads(json.dumps(one_pass.state_dict())))
        assert list(fresh) == [message[i : i + 1] for i in range(1, len(keys))]
        del one_pass  # rows may come and go only between passes
        with source:
            assert source.delete(message[1:2]) == 1
        assert len(source) == len(keys) - 1
        assert source.query() == message.take(np.delete(np.arange(len(keys)), 1))

    def test_of_several_columns(self, engine):
        message = Message(
            {"a": ["B", "B", "a", "a", "é"], "b": [1, 2, -1, 2, 0], "x": torch.arange(5)}
        )
        table = create_table("rows", message, engine, key=["a", "b"])
        with TableSource(table, engine) as source:
            source.insert(message.take(np.array([3, 1, 4, 0, 2])))
        source = TableSource("rows", engine)
        assert source.read_all() == message
        assert source[[3, 0, 3]] == message.take(np.array([3, 0, 3]))
        one_pass = iter(source >> BatchingSource(2))
        next(one_pass)
        resumed = TableSource("rows", engine) >> BatchingSource(2)
        resumed.load_state_dict(json.loads(json.dumps(one_pass.state_dict())))
        assert next(iter(resumed)) == message[2:4]
        del one_pass
        with source:
            assert source.delete([("B", 2), ("é", 0), ("é", 7)]) == 2
            assert source.update({"a": ["a"], "b": [2], "x": torch.tensor([9])}) == 1
        assert source.read_all()["x"].tolist() == [0, 2, 9]

    def test_other_columns_that_are_unique(self, engine):
        execute(engine, "CREATE TABLE t (n INTEGER NOT NULL UNIQUE, m INTEGER)")
        execute(engine, "INSERT INTO t VALUES (2, 1), (1, 2)")
        assert TableSource("t", engine).read_all()["m"].tolist() == [2, 1]

    def test_without_a_key(self, engine):
        execute(engine, "CREATE TABLE t (n INTEGER, m INTEGER NOT NULL)")
        with pytest.raises(WrongValue, match="'t' has no primary key.*QuerySource"):
            TableSource("t", engine)

    def test_a_collation_that_holds_different_text_for_the_same(self, engine):
        collation = {
            "sqlite": "COLLATE NOCASE", "postgresql": "", "mariadb": "COLLATE utf8mb4_general_ci",
        }[engine.dialect.name]  # fmt: skip
        execute(engine, f"CREATE TABLE t (s VARCHAR(20) {collation} PRIMARY KEY, n INTEGER)")
        execute(engine, "INSERT INTO t VALUES ('b', 1), ('A', 2), ('Z', 3), ('a2', 4)")
        source = TableSource("t", engine)
        assert source.read_all()["s"].tolist() == ["A", "Z", "a2", "b"]
        execute(engine, "UPDATE t SET s = 'a' WHERE s = 'A'")
        with pytest.raises(RowsVanished, match="1 rows .*'A'"):
            source.read_all()
        with source:
            assert source.delete(["B", "A"]) == 0
            assert source.update({"s": ["z"], "n": [0]}) == 0
            assert source.delete(["b"]) == 1

    def test_latin1(self, engine):
        if engine.dialect.name != "mariadb":
            return  # the others have one character set a database
        execute(engine, "CREATE TABLE t (s VARCHAR(20) PRIMARY KEY) CHARACTER SET latin1")
        execute(engine, "INSERT INTO t VALUES ('b'), ('é'), ('A'), ('Z')")
        assert TableSource("t", engine).read_all()["s"].tolist() == ["A", "Z", "b", "é"]

    def test_memory_is_eight_bytes_a_row(self, tmp_path):
        engine = sa.create_engine(f"sqlite:///{tmp_path}/x.sqlite", poolclass=sa.NullPool)
        execute(engine, "CREATE TABLE t (id INTEGER PRIMARY KEY)")
        execute(
            engine,
            "INSERT INTO t WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n "
            "WHERE i < 299999) SELECT i FROM n",
        )
        source = TableSource("t", engine)
        source.filter("id", "<", 10).prepare()  # what is imported first is not counted
        tracemalloc.start()
        source.prepare()
        kept, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert len(source) == 300_000
        assert kept < 300_000 * 8 * 1.1
        assert most < 300_000 * 8 * 3 + 65_536 * 150  # and one chunk of the driver's rows


class TestEpochs:
    def test_rows_added_meanwhile_wait_for_the_next_epoch(self, engine):
        source = filled(engine, 20)
        batches = source >> ShufflerSource(0) >> BatchingSource(3)
        seen = []
        for number, batch in enumerate(batches):
            seen += batch["id"].tolist()
            add(engine, 100 + number, -1 - number)
        assert sorted(seen) == list(range(20))
        assert sorted(ids(batches)) == [*range(-7, 20), *range(100, 107)]

    def test_reading_from_and_writing_to_one_table_ends(self, engine):
        source = filled(engine, 10)
        copies = (
            source
            >> BatchingSource(4)
            >> MapSource(lambda batch: batch.assign(id=batch["id"] + 1000))
            >> WriterSource("rows", engine)
        )
        assert sum(map(len, copies)) == 10
        assert sum(map(len, copies)) == 20
        assert len(TableSource("rows", engine)) == 30

    def test_rows_deleted_and_changed_meanwhile(self, engine):
        source = filled(engine, 600)
        one_pass = iter(source >> BatchingSource(100))
        next(one_pass)
        execute(engine, "UPDATE rows SET s = 'changed' WHERE id = 150".replace("rows", q(engine)))
        assert next(one_pass)["s"].tolist()[50] == "changed"
        execute(engine, f"DELETE FROM {q(engine)} WHERE id IN (205, 250)")
        with pytest.raises(RowsVanished, match="2 rows of the table 'rows' were deleted.*205, 250"):
            next(one_pass)
        assert len(ids(TableSource("rows", engine))) == 598

    def test_deleted_rows_can_be_left_out(self, engine):
        filled(engine, 10_000)
        source = TableSource("rows", engine, on_error="skip")
        assert not source.indexed
        one_pass = iter(source >> BatchingSource(100))
        next(one_pass)
        execute(engine, f"DELETE FROM {q(engine)} WHERE id IN (5000, 5001)")
        state = json.loads(json.dumps(one_pass.state_dict()))
        rest = ids(one_pass)
        assert rest == [i for i in range(100, 10_000) if i not in (5000, 5001)]
        assert source.skipped_count == 2
        assert source.skipped[0].where == "the row 5000 of the table 'rows'"
        # Which rows were there is no longer to be found out.
        fresh = TableSource("rows", engine, on_error="skip") >> BatchingSource(100)
        with pytest.raises(StateMismatch, match="had 10000 rows.*now it has 9998"):
            fresh.load_state_dict(state)
        assert len(ids(source)) == 9998

    def test_two_passes_at_once_see_the_same_rows(self, engine):
        source = filled(engine, 300)
        early = iter(source >> BatchingSource(100))
        next(early)
        add(engine, -1)
        batches = source >> BatchingSource(50)
        assert ids(batches) == list(range(300))
        assert ids(batches) == list(range(300))
        assert ids(early) == list(range(100, 300))
        assert ids(batches) == list(range(-1, 300))

    def test_sources_downstream_hear_that_rows_moved(self, engine):
        source = filled(engine, 300)
        cached = source >> CachingSource(max_rows=1000)
        even = cached >> FilterSource(lambda rows: rows["id"].to_numpy() % 2 == 0)
        even.prepare()
        shuffled = even >> ShufflerSource(0) >> BatchingSource(32)
        assert sorted(ids(shuffled)) == list(range(0, 300, 2))
        add(engine, -2, -1, 300)
        execute(engine, f"DELETE FROM {q(engine)} WHERE id = 100")
        expected = sorted({-2, *range(0, 301, 2)} - {100})
        assert sorted(ids(shuffled)) == expected
        assert cached.read_all()["id"].tolist() == [-2, -1, *range(100), *range(101, 301)]

    def test_rows_appended_leave_a_cache_and_a_split_as_they_are(self, engine):
        source = filled(engine, 300)
        cached = source >> CachingSource(max_rows=1000)
        train, test = train_test_split(cached, test=0.2, seed=0)
        first = [set(ids(each >> BatchingSource(50))) for each in (train, test)]
        add(engine, 300)
        assert [set(ids(each >> BatchingSource(50))) for each in (train, test)] == first
        assert cached.cached.rows == 300
        # A row before them moves them all: a row of the test set would be one of the training set.
        add(engine, -1)
        ids(train)
        with pytest.raises(RowsVanished, match="chose rows by their numbers"):
            ids(train)

    def test_what_the_source_itself_commits_is_seen_after_the_pass(self, engine):
        source = filled(engine, 5)
        assert len(source) == 5
        with source:
            source.insert(make_row(7))
        assert source.read_all()["id"].tolist() == [0, 1, 2, 3, 4, 7]
        seen = []
        for row in source:
            seen += row["id"].tolist()
            with source:
                source.upsert(make_row(100 + row["id"].tolist()[0]))
        assert seen == [0, 1, 2, 3, 4, 7]
        assert len(source) == 12


class TestState:
    @pytest.mark.parametrize("on_error", ["raise", "skip"])
    def test_resumes_at_every_step_whatever_was_appended(self, engine, on_error):
        filled(engine, 23)

        def make():
            return TableSource("rows", engine, on_error=on_error) >> BatchingSource(4)

        source = make()
        states = [source.state_dict()]
        one_pass = iter(source)
        expected = []
        for batch in one_pass:
            expected.append(batch["id"].tolist())
            states.append(json.loads(json.dumps(source.state_dict())))
        add(engine, 50, 51)
        for step, state in enumerate(states[1:], 1):
            fresh = make()
            fresh.load_state_dict(state)
            assert [each["id"].tolist() for each in fresh] == expected[step:]
            assert ids(fresh) == [*range(23), 50, 51]

    @pytest.mark.parametrize(
        ("change", "what"),
        [
            ("DELETE FROM {} WHERE id = 20", "had 23 rows up to the key .22. .*now it has 22"),
            ("DELETE FROM {} WHERE id = 22", "now it has 22"),
            ("UPDATE {} SET id = 5 + 20 WHERE id = 3", "now it has 22"),
            ("UPDATE {} SET id = -3 WHERE id = 3", "and other ones"),
        ],
    )
    def test_rows_deleted_between_a_kill_and_its_resume(self, engine, change, what):
        source = filled(engine, 23) >> BatchingSource(4)
        one_pass = iter(source)
        next(one_pass)
        state = one_pass.state_dict()
        execute(engine, change.format(q(engine)))
        fresh = TableSource("rows", engine) >> BatchingSource(4)
        with pytest.raises(StateMismatch, match=what):
            fresh.load_state_dict(state)
        assert ids(fresh) == sorted(ids(TableSource("rows", engine)))  # it can begin anew

    def test_a_row_added_in_between_is_refused(self, engine):
        filled(engine, 23)
        execute(engine, f"DELETE FROM {q(engine)} WHERE id = 5")
        one_pass = iter(TableSource("rows", engine))
        next(one_pass)
        add(engine, 5)
        with pytest.raises(StateMismatch, match="had 22 rows.*now it has 23"):
            TableSource("rows", engine).load_state_dict(one_pass.state_dict())

    def test_a_changed_schema_is_refused(self, engine):
        source = filled(engine, 5)
        next(iter(source))
        state = source.state_dict()
        execute(engine, f"ALTER TABLE {q(engine)} ADD COLUMN more INTEGER")
        with pytest.raises(StateMismatch, match="'?more.*integer"):
            TableSource("rows", engine).load_state_dict(state)
        TableSource("rows", engine, columns=["id", "x", "s"]).load_state_dict(state)

    def test_the_state_is_small(self, engine):
        source = filled(engine, 5_000)
        next(iter(source >> BatchingSource(10)))
        assert len(json.dumps(source.state_dict())) < 2_000

    def test_a_copy_by_pickle_sees_the_same_epoch(self, engine):
        source = filled(engine, 10)
        assert len(source) == 10
        copy = pickle.loads(pickle.dumps(source))
        add(engine, 11)
        assert len(copy) == 10
        assert copy.read_all() == source.read_all()


class TestChoosing:
    def test_columns(self, engine):
        filled(engine, 5)
        source = TableSource("rows", engine, columns=["s", "id"])
        assert source.read_all().columns == ["s", "id"]
        assert list(source.schema) == ["s", "id"]
        with pytest.raises(ColumnNotFound, match="no column 'ids'.*Did you mean 'id'"):
            TableSource("rows", engine, columns=["ids"])

    def test_filter(self, engine):
        source = filled(engine, 100)
        some = source.filter("id", "between", 10, 19).filter(source.table.c.id != 12)
        assert len(some) == 9
        assert sorted(ids(some >> ShufflerSource(0) >> BatchingSource(4))) == [
            i for i in range(10, 20) if i != 12
        ]
        assert len(source.filter("s", "in", ["a", "'; drop table rows; --"])) == 100
        assert len(source) == 100
        with pytest.raises(ColumnNotFound, match="'idd'.*Did you mean 'id'"):
            source.filter("idd", ">", 3)
        with pytest.raises(WrongValue, match="no predicate 'betwen'.*'between'"):
            source.filter("id", "betwen", 3, 4)
        with pytest.raises(WrongValue, match="needs a predicate"):
            source.filter("id")
        with pytest.raises(WrongType, match="a condition is"):
            source.filter(True)

    def test_a_filter_is_part_of_the_state(self, engine):
        source = filled(engine, 100)
        next(iter(source.filter("id", ">", 3)))
        state = source.filter("id", ">", 3).state_dict()
        source.filter("id", ">", 3).load_state_dict(state)
        for other in (source, source.filter("id", ">", 4)):
            with pytest.raises(StateMismatch):
                other.load_state_dict(state)


class TestTransactions:
    def test_commit_and_rollback(self, engine):
        source, other = filled(engine, 3), TableSource("rows", engine)
        source.insert(make_row(3))
        source.upsert(make_row(0))
        assert source.query("s", "==", "new")["id"].tolist() == [0, 3]
        assert other.query("s", "==", "new")["id"].tolist() == []
        source.rollback()
        assert len(source) == 3
        source.insert(make_row(4))
        source.commit()
        source.rollback()  # there is nothing to undo
        assert other.query()["id"].tolist() == [0, 1, 2, 4]

    def test_as_a_context(self, engine):
        source = filled(engine, 3)
        with pytest.raises(ZeroDivisionError), source:
            source.insert(make_row(3))
            raise ZeroDivisionError
        assert len(source.query()) == 3
        with source:
            source.insert(make_row(3))
        assert len(source.query()) == 4

    def test_update_delete_and_query(self, engine):
        source = filled(engine, 10)
        with source:
            assert source.update({"id": [3, 4, 99], "s": ["x", "y", "z"]}) == 2
            assert source.update({"s": "big"}, where=source.table.c.id > 7) == 2
            assert source.delete([0, 5, 77]) == 2
            assert source.delete(source.table.c.id == 1) == 1
        assert source.read_all()["s"].tolist() == ["a", "x", "y", "a", "a", "big", "big"]
        assert source.read_all()["x"].tolist() == [2, 3, 4, 6, 7, 8, 9]
        counted = sa.select(source.table.c.s, sa.func.count().label("n")).group_by(source.table.c.s)
        found = source.query(counted.order_by("n", "s"))
        assert found == Message({"s": found["s"], "n": [1, 1, 2, 3]})
        with pytest.raises(ColumnNotFound, match="'z'"):
            source.update({"z": 1}, where=sa.true())
        with pytest.raises(ColumnNotFound, match="key 'id'"):
            source.update({"s": ["x"]})
        with pytest.raises(WrongType):
            source.delete("3")

    def test_many_rows(self, engine):
        source = filled(engine, 30_000)
        with source:
            assert source.delete(list(range(0, 30_000, 2))) == 15_000
        assert len(source) == 15_000
        assert source.read_all()["id"].tolist() == list(range(1, 30_000, 2))

    def test_a_refused_change_leaves_those_before_it(self, engine):
        source = filled(engine, 3)
        rows = Message({"id": [10, 11, 2, 12], "x": torch.zeros(4), "s": ["a", "b", "c", "d"]})
        with source:
            source.insert(make_row(5))
            with pytest.raises(WrongValue, match=r"4 rows.*none of them was: row 2 \(id = 2\)"):
                source.insert(rows)
            with pytest.raises(WrongType, match="'s' is a vector .int64. in the rows"):
                source.insert({"id": [7], "x": torch.zeros(1), "s": [1]})
            source.insert(make_row(6))
        assert source.read_all()["id"].tolist() == [0, 1, 2, 5, 6]

    def test_a_transaction_that_nobody_ended_is_undone(self, engine):
        source = filled(engine, 3)
        source.insert(make_row(5))
        del source
        filled(engine, 3, "others")
        assert len(TableSource("rows", engine)) == 3

    def test_numbers_given_by_the_database(self, engine):
        number = {
            "sqlite": "INTEGER PRIMARY KEY", "postgresql": "SERIAL PRIMARY KEY",
            "mariadb": "INTEGER AUTO_INCREMENT PRIMARY KEY",
        }[engine.dialect.name]  # fmt: skip
        execute(engine, f"CREATE TABLE t (id {number}, s VARCHAR(20))")
        with TableSource("t", engine) as source:
            source.insert({"s": ["a", "b"]})
            source.insert({"s": ["c"]})
        assert source.read_all() == Message({"id": [1, 2, 3], "s": ["a", "b", "c"]})


class TestServersThatGoAway:
    @pytest.mark.parametrize("kind", ["postgresql", "mariadb"])
    def test_a_transaction_is_reported_and_undone(self, request, kind):
        server = request.getfixturevalue(kind)
        engine = sa.create_engine(server.url, poolclass=sa.NullPool)
        source = filled(engine, 600, "restarted")
        try:
            one_pass = iter(source >> BatchingSource(100))
            next(one_pass)
            source.insert(make_row(1000))
            server.restart()
            with pytest.raises(ConnectionError, match="Nothing since the last commit was written"):
                source.insert(make_row(1001))
            assert ids(one_pass) == list(range(100, 600))
            with source:
                source.insert(make_row(1002))
            assert source.query("id", ">", 600)["id"].tolist() == [1002]
        finally:
            execute(engine, "DROP TABLE restarted")


class TestProcesses:
    def test_a_forked_process_has_connections_of_its_own(self, engine):
        source = filled(engine, 600)
        one_pass = iter(source >> BatchingSource(100))
        next(one_pass)
        read, write = os.pipe()
        pid = os.fork()
        if not pid:  # pragma: no cover
            status = 1
            try:
                assert source[[5, 3]]["id"].tolist() == [5, 3]
                os.write(write, b"ok")
                status = 0
            finally:
                os._exit(status)
        os.close(write)
        assert os.waitpid(pid, 0)[1] == 0
        assert os.read(read, 2) == b"ok"
        os.close(read)
        assert ids(one_pass) == list(range(100, 600))

    def test_threads(self, engine):
        source = filled(engine, 1000)
        batches = source >> CachingSource(max_rows=500) >> ShufflerSource(1) >> BatchingSource(50)
        one_pass = iter(batches)
        next(one_pass)
        with ThreadPoolExecutor(4) as pool:
            found = list(pool.map(lambda row: source[[row, 0]]["id"].tolist(), range(0, 1000, 50)))
        assert found == [[row, 0] for row in range(0, 1000, 50)]
        assert len(ids(one_pass)) == 950


class TestSQLiteFiles:
    @pytest.fixture
    def file(self, tmp_path):
        return tmp_path / "data.sqlite"

    def test_locked(self, file):
        engine = sa.create_engine(
            f"sqlite:///{file}", connect_args={"timeout": 0.05}, poolclass=sa.NullPool
        )
        source, other = filled(engine, 3), TableSource("rows", engine)
        other.insert(make_row(7))
        with pytest.raises(NotWritten, match="locked.*Another process is writing"):
            source.insert(make_row(8))
        with pytest.raises(NotWritten, match="locked"):
            create_table("more", make_row(1), engine)
        other.commit()
        with source:
            source.insert(make_row(8))
        assert len(source) == 5
        with pytest.raises(WrongValue):
            source.insert(make_row(8))
        with other:  # what was refused holds no lock
            other.insert(make_row(9))

    def test_a_file_that_may_only_be_read(self, file):
        engine = sa.create_engine(f"sqlite:///{file}", poolclass=sa.NullPool)
        filled(engine, 3)
        read_only = sa.create_engine(
            f"sqlite:///file:{file}?mode=ro&uri=true", poolclass=sa.NullPool
        )
        source = TableSource("rows", read_only)
        assert len(source) == 3
        with pytest.raises(NotWritten, match="only be read"):
            source.insert(make_row(8))
        with pytest.raises(NotWritten, match="only be read"):
            create_table("more", make_row(1), read_only)

    def test_a_full_disk(self, file):
        engine = sa.create_engine(f"sqlite:///{file}", poolclass=sa.NullPool)
        source = filled(engine, 3)

        @sa.event.listens_for(engine, "connect")
        def limit(connection, _):
            connection.execute("PRAGMA max_page_count = 10")

        big = Message({"id": [5], "x": torch.zeros(1), "s": ["x" * 1_000_000]})
        with pytest.raises(NotWritten, match="full.*Make room"):
            source.insert(big)
        source.rollback()
        assert len(source.query()) == 3


def q(engine: sa.Engine) -> str:
    return engine.dialect.identifier_preparer.quote("rows")
