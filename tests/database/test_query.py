"""Any SELECT as a stream, on SQLite, PostgreSQL and MariaDB."""

from __future__ import annotations

import datetime
import json
import logging
import pickle
import uuid
from decimal import Decimal

import numpy as np
import pytest
import sqlalchemy as sa
import torch
from sqlalchemy.orm import DeclarativeBase, mapped_column

from fireworks import Message, create_table
from fireworks.database import QuerySource, TensorType, WriterSource
from fireworks.errors import (
    ColumnNotFound,
    DatabaseUnreachable,
    StateMismatch,
    TableNotFound,
    WrongType,
    WrongValue,
)
from fireworks.sources import (
    BatchingSource,
    LoopingSource,
    MapSource,
    MessageSource,
    ShufflerSource,
)

ROWS = 60

metadata = sa.MetaData()
rows = sa.Table(
    "samples",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("word", sa.String(20), nullable=False),
    sa.Column("label", sa.Integer, nullable=False),
    sa.Column("score", sa.Double),
    sa.Column("note", sa.String(20)),
)
labels = sa.Table(
    "labels",
    metadata,
    sa.Column("label", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("name", sa.String(20), nullable=False),
)


@pytest.fixture
def filled(engine: sa.Engine) -> sa.Engine:
    """Rows 1 to 60, of labels 0 to 4; no name for label 4."""
    metadata.create_all(engine)
    with engine.begin() as connection:
        connection.execute(
            rows.insert(),
            [
                {
                    "id": i,
                    "word": f"word-{i:03}",
                    "label": i % 5,
                    "score": i / ROWS,
                    "note": None if i % 2 else "even",
                }
                for i in range(1, ROWS + 1)
            ],
        )
        connection.execute(labels.insert(), [{"label": i, "name": f"l{i}"} for i in range(4)])
    return engine


def execute(engine: sa.Engine, *statements: sa.Executable) -> None:
    with engine.begin() as connection:
        for each in statements:
            connection.execute(each)


def seen(source, column="id") -> list:
    return [value for chunk in source for value in chunk[column].tolist()]


def total():
    # A decimal, in PostgreSQL and MariaDB.
    return sa.func.sum(sa.cast(rows.c.label, sa.BigInteger)).label("total")


JOINED = sa.select(rows.c.word, labels.c.name).join(labels, labels.c.label == rows.c.label)

QUERIES = {
    "a table": (rows, True),
    "columns without the key": (sa.select(rows.c.word), True),
    "ordered by a column": (sa.select(rows.c.word).order_by(rows.c.label), True),
    "a join": (JOINED, True),
    "an outer join": (
        sa.select(rows.c.word, labels.c.name).join(
            labels, labels.c.label == rows.c.label, isouter=True
        ),
        True,
    ),
    "every pair": (sa.select(rows.c.id, labels.c.label).join(labels, sa.true()), True),
    "an alias": (sa.select(rows.alias("other")), True),
    "groups": (sa.select(rows.c.label, sa.func.count(), total()).group_by(rows.c.label), True),
    "a window": (
        sa.select(
            rows.c.id,
            sa.func.row_number().over(partition_by=rows.c.label, order_by=rows.c.id).label("place"),
        ),
        True,
    ),
    "the first, ordered": (sa.select(rows).order_by(rows.c.id).limit(21), True),
    "the best": (sa.select(rows.c.word).order_by(rows.c.score.desc()).limit(21), False),
    "distinct": (sa.select(rows.c.label).distinct(), False),
    "a union": (sa.union_all(sa.select(rows.c.id), sa.select(labels.c.label)), False),
    "text": (
        sa.text("SELECT id, word FROM samples WHERE id > :low")
        .bindparams(low=3)
        .columns(id=sa.Integer, word=sa.String),
        False,
    ),
    "a common table expression": (
        sa.select(sa.select(rows.c.id).where(rows.c.id > 7).cte("few")),
        False,
    ),
}


class TestSelects:
    def test_gives_what_the_database_gives_and_resumes_anywhere(self, filled, caplog):
        for what in QUERIES:
            self.check(filled, what, caplog)

    def check(self, filled, what, caplog):
        query, has_key = QUERIES[what]
        source = QuerySource(query, filled, chunk_rows=8)
        assert bool(source.key) == has_key, what
        select = sa.select(query) if isinstance(query, sa.Table) else query
        with filled.connect() as connection:
            selected = connection.execute(select).all()
        expected = [tuple("" if cell is None else cell for cell in row) for row in selected]
        whole = source.read_all()
        columns = [whole[name].astype(object) for name in whole.columns]
        columns = [each.where(each.notna(), "").tolist() for each in columns]
        found = list(zip(*columns, strict=True))
        key = [] if "best" in what or "union" in what else expected
        if what == "the best":
            assert found == expected
        else:
            assert sorted(found) == sorted(key or expected)
        assert source.count() == len(expected)
        chunks = list(source)
        assert all(len(chunk) == 8 for chunk in chunks[:-1])
        one_pass = iter(source)
        for step in range(len(chunks) + 1):
            if step not in (0, 2, len(chunks)):
                next(one_pass)
                continue
            fresh = QuerySource(query, filled, chunk_rows=8)
            fresh.load_state_dict(json.loads(json.dumps(one_pass.state_dict())))
            caplog.clear()
            with caplog.at_level(logging.WARNING):
                assert list(fresh) == chunks[step:], what
            assert bool(caplog.records) == (step > 0 and not has_key)  # steps forward, and says so
            next(one_pass, None)

    def test_the_kinds_are_those_that_are_declared(self, filled):
        joined = rows.join(labels, labels.c.label == rows.c.label, isouter=True)
        query = sa.select(
            rows.c.id, rows.c.note, labels.c.label, sa.func.count(rows.c.id).over(), rows.c.score
        ).select_from(joined)
        source = QuerySource(query, filled, chunk_rows=1).filter("id", "<", 3)
        kinds = [str(kind) for kind in source.schema.values()]
        first, second = list(source)
        assert [str(kind) for kind in first.schema.values()] == kinds
        assert first.schema == second.schema == source.schema
        assert str(first["label"].dtype) == "Int64"  # the join may leave it out
        assert str(first["id"].dtype) == "int64"
        empty = source.filter("id", "==", -1).read_all()
        assert len(empty) == 0
        assert empty.schema == source.schema

    def test_the_kinds_of_functions(self, filled):
        query = sa.select(
            sa.func.count(), sa.func.avg(rows.c.label), sa.func.avg(rows.c.score),
            sa.func.max(rows.c.word), sa.func.sum(rows.c.label), sa.func.min(rows.c.score),
        )  # fmt: skip
        found = QuerySource(query, filled).read_all()
        kinds = {name: str(found[name].dtype) for name in found.columns}
        assert list(kinds.values()) == ["int64", "float64", "float64", "str", "Int64", "float64"]
        assert found["avg_1"].tolist() == [2.0]
        assert found["sum_1"].tolist() == [120]

    def test_tensors(self, engine):
        message = Message({"id": np.arange(5), "x": torch.arange(20.0).reshape(5, 2, 2)})
        table = create_table("images", message, engine)
        WriterSource(table, engine, inputs=MessageSource(message)).drain()
        assert QuerySource(sa.select(table), engine, chunk_rows=2).read_all() == message
        best = sa.select(table).order_by(table.c.id.desc()).limit(3)
        assert QuerySource(best, engine).read_all() == message.take([4, 3, 2])
        text = sa.text("SELECT x, id FROM images").columns(x=TensorType(), id=sa.BigInteger)
        assert QuerySource(text, engine, key="id").read_all()["x"].equal(message["x"])

    def test_a_mapped_class(self, filled):
        class Base(DeclarativeBase):
            pass

        class Row(Base):
            __tablename__ = "samples"
            id = mapped_column(sa.Integer, primary_key=True)
            word = mapped_column(sa.String(20))

        for query in (Row, sa.select(Row), sa.select(Row.word, Row.id)):
            source = QuerySource(query, filled).filter(Row.id, "between", 3, 5)
            assert seen(source, "word") == ["word-003", "word-004", "word-005"]
        assert seen(QuerySource(sa.select(Row.word), filled).filter(Row.id <= 2), "word") == [
            "word-001",
            "word-002",
        ]

    def test_names_that_are_not_given(self, filled):
        query = sa.select(rows.c.id, rows.c.id + 1, sa.func.lower(rows.c.word), sa.literal(3))
        assert QuerySource(query, filled).read_all().columns == [
            "id",
            "anon_1",
            "lower_1",
            "anon_2",
        ]
        pair = sa.select(rows, labels).join(labels, labels.c.label == rows.c.label)
        assert QuerySource(pair, filled).read_all().columns == [*rows.c.keys(), "label_1", "name"]

    def test_hostile_names_are_only_names(self, engine):
        name = 'x"; drop table y; -- :b'
        message = Message({"id": [1, 2, 3], 'a"b; drop table x; -- :c?': ["'; --", "%s", ":x"]})
        table = create_table(name, message, engine)
        WriterSource(table, engine, inputs=MessageSource(message)).drain()
        source = QuerySource(sa.select(table), engine, chunk_rows=1)
        assert source.read_all() == message
        assert source.filter(message.columns[1], "==", "%s").read_all() == message[1:2]
        assert QuerySource(sa.select(table).limit(9), engine).read_all() == message

    def test_a_copy_by_pickle(self, filled):
        source = QuerySource(JOINED, filled, chunk_rows=7).filter(rows.c.label > 1)
        assert list(pickle.loads(pickle.dumps(source))) == list(source)

    def test_as_the_start_of_a_pipeline(self, filled):
        source = QuerySource(rows, filled, chunk_rows=7)
        batches = source >> ShufflerSource(1, window=16) >> BatchingSource(8)
        assert sorted(seen(batches)) == list(range(1, ROWS + 1))
        looped = QuerySource(rows, filled, chunk_rows=7) >> LoopingSource()
        assert looped[[3, 50]]["id"].tolist() == [4, 51]


def key_values():
    day = datetime.datetime(2026, 1, 2, 3, 4, 5, 6789)
    yield "integer", sa.BigInteger, [-(2**63), -1, 0, 2**62, 2**63 - 1]
    yield "text", sa.String(30), ["", "B", "ab", "a'); --", "日本"]
    yield "decimal", sa.Numeric(20, 5), [Decimal("-1.5"), Decimal("0.00001"), Decimal("1e12")]
    yield "datetime", None, [day + datetime.timedelta(microseconds=i) for i in range(5)]
    yield "date", sa.Date, [datetime.date(2026, 1, day) for day in range(1, 6)]
    yield "uuid", sa.Uuid, [uuid.UUID(int=i**20) for i in range(1, 6)]
    yield "bytes", sa.LargeBinary(20), [b"", b"\0", b"\xff\x00", b"'"]


class TestKeys:
    def test_of_every_kind(self, engine):
        for what, kind, values in key_values():
            self.check(engine, what, kind, values)

    def check(self, engine, what, kind, values):
        if what == "datetime":
            table = create_table(
                f"of_{what}", Message({"k": values, "n": range(len(values))}), engine, key="k"
            )
        else:
            if what == "bytes":
                kind = sa.VARBINARY(20) if engine.dialect.name == "mariadb" else kind
            columns = [sa.Column("k", kind, primary_key=True, autoincrement=False)]
            table = sa.Table(f"of_{what}", sa.MetaData(), *columns, sa.Column("n", sa.Integer))
            table.create(engine)
        with engine.begin() as connection:
            connection.execute(
                table.insert(), [{"k": value, "n": n} for n, value in enumerate(values)]
            )
        source = QuerySource(sa.select(table.c.n), engine, chunk_rows=1)
        assert source.key
        assert sorted(seen(source, "n")) == list(range(len(values)))
        chunks, one_pass = list(source), iter(source)
        for step in range(len(values)):
            fresh = QuerySource(sa.select(table.c.n), engine, chunk_rows=1)
            fresh.load_state_dict(json.loads(json.dumps(one_pass.state_dict())))
            assert list(fresh) == chunks[step:]
            next(one_pass)

    def test_of_several_columns(self, engine):
        table = create_table(
            "t",
            {"a": sa.Integer, "b": sa.String(9), "c": sa.Integer, "x": sa.Integer},
            engine,
            key=["a", "b", "c"],
        )
        keys = [(a, b, c) for a in range(4) for b in "pqr" for c in range(3)]
        with engine.begin() as connection:
            connection.execute(
                table.insert(),
                [{"a": a, "b": b, "c": c, "x": x} for x, (a, b, c) in enumerate(keys)][::-1],
            )
        for chunk_rows in (1, 5, 36, 37):
            source = QuerySource(sa.select(table.c.x), engine, chunk_rows=chunk_rows)
            assert seen(source, "x") == list(range(36))

    def test_one_that_the_user_names(self, filled):
        query = sa.select(rows.c.word, rows.c.label).distinct()
        source = QuerySource(query, filled, key=["label", "word"], chunk_rows=7)
        assert source.key == ["label", "word"]
        found = [row for chunk in source for row in zip(chunk["label"], chunk["word"], strict=True)]
        assert found == sorted(found)
        assert len(found) == ROWS

    def test_one_that_does_not_tell_rows_apart_is_refused(self, filled):
        for chunk_rows in (1, 5, 12, 100):
            source = QuerySource(sa.select(rows), filled, key="label", chunk_rows=chunk_rows)
            with pytest.raises(WrongValue, match="several with label = 0. Name further columns"):
                list(source)

    def test_one_that_may_be_null_is_refused_only_where_it_is(self, filled):
        query = sa.select(rows.c.note, rows.c.id).where(rows.c.id < 3).distinct()
        source = QuerySource(query, filled, key="note")
        with pytest.raises(WrongValue, match="'note'.* is NULL in some rows"):
            list(source)
        assert seen(source.filter("note", "is not null")) == [2]

    def test_none_that_could_go_wrong(self, filled):
        with pytest.raises(ColumnNotFound, match="no column 'idd'.*Did you mean 'id'"):
            QuerySource(rows, filled, key="idd")
        with pytest.raises(WrongValue, match="'score' of Double.* cannot be a key"):
            QuerySource(rows, filled, key="score")
        with pytest.raises(WrongValue, match="names no column"):
            QuerySource(rows, filled, key=[])

    def test_pages_are_found_by_an_index(self, filled):
        """What makes an epoch cost the same however many pages it has."""
        plans = {
            "sqlite": ("EXPLAIN QUERY PLAN ", "SEARCH samples USING INTEGER PRIMARY KEY"),
            "postgresql": ("EXPLAIN ", "Index Scan using samples_pkey"),
            "mariadb": ("EXPLAIN ", "PRIMARY"),
        }
        explain, expected = plans[filled.dialect.name]
        source = QuerySource(sa.select(rows.c.word).where(rows.c.label < 9), filled, chunk_rows=5)
        assert source._rows.pages
        with filled.connect() as connection:
            if filled.dialect.name == "postgresql":  # it would read so few rows one after another
                connection.exec_driver_sql("SET enable_seqscan = off")
                connection.exec_driver_sql("SET enable_bitmapscan = off")
            select = source._rest([5], [50]).limit(5)
            plan = connection.execute(
                sa.text(
                    explain + str(select.compile(filled, compile_kwargs={"literal_binds": True}))
                )
            ).all()
        assert expected in str(plan)
        assert "Sort" not in str(plan) and "filesort" not in str(plan) and "TEMP" not in str(plan)


CONDITIONS = [
    (("id", "==", 7), [7]),
    (("id", "!=", 7), [*range(1, 7), *range(8, 61)]),
    (("id", "<", 3), [1, 2]),
    (("id", "<=", 3), [1, 2, 3]),
    (("id", ">", np.int64(58)), [59, 60]),
    (("id", ">=", torch.tensor(59)), [59, 60]),
    (("score", "between", 0, 2.5 / ROWS), [1, 2]),
    (("score", "not between", 2 / ROWS, 2), [1]),
    (("id", "in", [5, 3, 99]), [3, 5]),
    (("id", "in", np.array([5, 3])), [3, 5]),
    (("id", "in", torch.tensor([5, 3])), [3, 5]),
    (("id", "in", []), []),
    (("id", "not in", range(3, 99)), [1, 2]),
    (("word", "like", "word-00_"), list(range(1, 10))),
    (("word", "not like", "word-0%"), []),
    (("word", "startswith", "word-05"), list(range(50, 60))),
    (("word", "endswith", "9"), [9, 19, 29, 39, 49, 59]),
    (("word", "contains", "d-06"), [60]),
    (("word", "contains", "%"), []),
    (("note", "is null"), list(range(1, 61, 2))),
    (("note", "is not null"), list(range(2, 61, 2))),
    (("word", "==", "'; DROP TABLE samples; --"), []),
    ((rows.c.id < 3,), [1, 2]),
    ((rows.c.score, "<", 2.5 / ROWS), [1, 2]),
    ((sa.or_(rows.c.id == 4, rows.c.word == "word-009"),), [4, 9]),
]


class TestFilter:
    def test_by_name_and_by_expression(self, filled):
        source = QuerySource(sa.select(rows), filled, chunk_rows=10)
        for condition, expected in CONDITIONS:
            chosen = source.filter(*condition)
            assert seen(chosen) == expected, condition
            assert chosen.count() == len(expected)
        assert source.count() == ROWS  # the one before is as it was

    def test_all_conditions_hold(self, filled):
        source = QuerySource(sa.select(rows.c.word), filled)
        chosen = (
            source.filter(rows.c.id < 30).filter("word", ">", "word-010").filter(rows.c.label == 3)
        )
        assert seen(chosen, "word") == ["word-013", "word-018", "word-023", "word-028"]

    def test_the_database_chooses(self, filled):
        statements: list[str] = []
        sa.event.listen(filled, "before_cursor_execute", lambda *args: statements.append(args[2]))
        chosen = QuerySource(rows, filled).filter("score", "between", 0, 0.5)
        assert "score" in str(chosen._select()) and "BETWEEN" in str(chosen._select())
        assert len(chosen.read_all()) == 30

    def test_of_groups_and_windows(self, filled):
        groups = sa.select(rows.c.label, sa.func.count().label("n")).group_by(rows.c.label)
        assert seen(QuerySource(groups, filled).filter("n", "==", 12), "label") == [0, 1, 2, 3, 4]
        assert seen(QuerySource(groups, filled).filter(rows.c.label > 2), "label") == [3, 4]
        place = sa.func.row_number().over(order_by=rows.c.score.desc()).label("place")
        best = QuerySource(sa.select(rows.c.id, place), filled)
        assert seen(best.filter("place", "<=", 2)) == [59, 60]
        assert seen(best.filter(rows.c.id < 3), "place") == [60, 59]  # numbered before
        with pytest.raises(
            WrongType, match="is on samples.score.*not a row of its tables.*label, n"
        ):
            QuerySource(groups, filled).filter(rows.c.score > 0)

    def test_keeps_the_order(self, filled):
        best = sa.select(rows.c.id, rows.c.score).order_by(rows.c.score.desc()).limit(20)
        assert seen(QuerySource(best, filled).filter("id", ">", 57)) == [60, 59, 58]
        hidden = sa.select(rows.c.id).order_by(rows.c.score.desc()).limit(20)
        with pytest.raises(WrongValue, match="ordered by samples.score, which it does not select"):
            list(QuerySource(hidden, filled).filter("id", ">", 57))

    def test_what_is_wrong(self, filled):
        source = QuerySource(sa.select(rows.c.id, rows.c.word), filled)
        with pytest.raises(ColumnNotFound, match="no column 'wird'.*Did you mean 'word'"):
            source.filter("wird", "==", 1)
        with pytest.raises(WrongValue, match="no predicate 'betwen'. Did you mean 'between'"):
            source.filter("id", "betwen", 1, 2)
        with pytest.raises(WrongValue, match="'between' takes 2 values; it was given 1"):
            source.filter("id", "between", 1)
        with pytest.raises(WrongValue, match="'in' takes a list"):
            source.filter("word", "in", "word-001")
        with pytest.raises(WrongValue, match="needs a predicate"):
            source.filter("id")
        with pytest.raises(WrongType, match="SQLAlchemy expression"):
            source.filter(3)
        with pytest.raises(WrongType, match="on labels.name. These are not in the query"):
            source.filter(labels.c.name == "l1")


class TestOthersWrite:
    def test_rows_appended_changed_and_deleted_while_it_reads(self, filled):
        source = QuerySource(rows, filled, chunk_rows=10)
        one_pass = iter(source)
        found = [next(one_pass), next(one_pass)]
        new = {"word": "new", "label": 1}
        execute(
            filled,
            rows.insert().values(id=100, **new),
            rows.delete().where(rows.c.id.in_([5, 25])),
            rows.update().where(rows.c.id.in_([6, 26])).values(word="changed"),
        )
        state = json.loads(json.dumps(one_pass.state_dict()))
        fresh = QuerySource(rows, filled, chunk_rows=10)
        fresh.load_state_dict(state)
        for rest in (list(one_pass), list(fresh)):
            ids = [i for chunk in found + rest for i in chunk["id"].tolist()]
            assert ids == [i for i in range(1, 61) if i != 25]
            words = {i: w for c in found + rest for i, w in zip(c["id"], c["word"], strict=True)}
            assert (words[6], words[26]) == ("word-006", "changed")
        assert 100 in seen(source)  # in the next epoch

    def test_reading_from_and_writing_to_one_table_ends(self, filled):
        def moved(message: Message) -> Message:
            n = len(message)
            return Message({"id": message["id"] + 1000, "word": ["new"] * n, "label": [1] * n})

        for query in (sa.select(rows), JOINED.add_columns(rows.c.id)):
            source = QuerySource(query, filled, chunk_rows=7)
            before, count = QuerySource(rows, filled).count(), source.count()
            assert (source >> MapSource(moved) >> WriterSource(rows, filled)).drain() == count
            assert QuerySource(rows, filled).count() >= before

    def test_a_cursor_keeps_no_writer_waiting(self, filled):
        for query in (rows, JOINED, sa.select(rows.c.word).order_by(rows.c.score.desc())):
            one_pass = iter(QuerySource(query, filled, chunk_rows=5))
            next(one_pass)
            url = filled.url
            impatient = {"timeout": 0} if url.drivername == "sqlite" else {}
            other = sa.create_engine(url, connect_args=impatient, poolclass=sa.NullPool)
            execute(other, rows.update().where(rows.c.id == 60).values(note="written"))
            one_pass.close()

    def test_closing_early_reads_no_more(self, filled):
        if filled.dialect.name == "sqlite":
            return  # it has no server that sends rows
        many = " CROSS JOIN ".join(f"samples AS r{i}" for i in range(4))  # 13 million rows
        query = sa.text(f"SELECT r0.id AS id, r0.word AS word FROM {many}")
        one_pass = iter(
            QuerySource(query.columns(id=sa.Integer, word=sa.String), filled, chunk_rows=5)
        )
        next(one_pass)
        began = datetime.datetime.now()
        one_pass.close()
        assert datetime.datetime.now() - began < datetime.timedelta(seconds=5)


class TestState:
    def test_of_another_query_or_schema_is_refused(self, filled):
        source = QuerySource(rows, filled, chunk_rows=10)
        next(iter(source))
        state = source.state_dict()
        for other in (
            QuerySource(sa.select(rows).where(rows.c.id < 9), filled, chunk_rows=10),
            source.filter("id", "<", 9),
            QuerySource(sa.select(rows.c.id), filled, chunk_rows=10),
        ):
            with pytest.raises(StateMismatch, match="saved with .*SELECT.*here is .*SELECT"):
                other.load_state_dict(state)
        narrower = sa.Table("samples", sa.MetaData(), *(c._copy() for c in list(rows.c)[:-1]))
        wider = narrower.to_metadata(sa.MetaData())
        wider.append_column(sa.Column("note", sa.Integer))
        with pytest.raises(StateMismatch, match="'?note'?.*String.*Integer"):
            QuerySource(wider, filled, chunk_rows=10).load_state_dict(state)
        bound = source.filter("id", "<", 10)
        next(iter(bound))
        with pytest.raises(StateMismatch):
            source.filter("id", "<", 11).load_state_dict(bound.state_dict())

    def test_other_chunks_change_nothing_where_there_is_a_key(self, filled):
        source = QuerySource(rows, filled, chunk_rows=10)
        next(iter(source))
        other = QuerySource(rows, filled, chunk_rows=7)
        other.load_state_dict(source.state_dict())
        assert seen(other) == list(range(11, 61))

    def test_is_small(self, filled):
        source = QuerySource(JOINED, filled, chunk_rows=10)
        next(iter(source))
        assert len(json.dumps(source.state_dict())) < 10_000


class TestBadInput:
    def test_what_is_no_query(self, filled):
        wrong = [
            ("SELECT * FROM samples", r"text\('SELECT …'\).columns"),
            (sa.text("SELECT * FROM samples"), "text without columns"),
            (3, "a SELECT of SQLAlchemy"),
            (rows.insert(), "a SELECT of SQLAlchemy"),
        ]
        for query, message in wrong:
            with pytest.raises(WrongType, match=message):
                QuerySource(query, filled)

    def test_no_such_table(self, filled):
        missing = sa.Table("sample", sa.MetaData(), sa.Column("id", sa.Integer, primary_key=True))
        with pytest.raises(TableNotFound, match="no table 'sample'.*Did you mean 'samples'"):
            list(QuerySource(missing, filled))
        with pytest.raises(TableNotFound, match="no table 'sample'.*Did you mean 'samples'"):
            QuerySource(missing, filled).count()

    def test_no_such_column(self, filled):
        other = sa.Table("samples", sa.MetaData(), sa.Column("id", sa.Integer, primary_key=True),
                         sa.Column("wort", sa.String))  # fmt: skip
        for query in (sa.select(other), sa.select(other.c.wort).limit(3)):
            with pytest.raises(ColumnNotFound, match="no column 'wort'.*Did you mean 'word'"):
                list(QuerySource(query, filled))

    def test_sql_that_is_wrong(self, filled):
        query = sa.text("SELEKT id FROM samples").columns(id=sa.Integer)
        with pytest.raises(WrongValue, match="refused while reading QuerySource"):
            list(QuerySource(query, filled))

    def test_chunk_rows(self, filled):
        for chunk_rows in (0, -1, 2.5, "many"):
            with pytest.raises(WrongValue, match="chunk_rows"):
                QuerySource(rows, filled, chunk_rows=chunk_rows)

    def test_it_has_no_length(self, filled):
        with pytest.raises(WrongType, match="is a stream"):
            len(QuerySource(rows, filled))

    def test_a_server_that_is_not_there(self):
        url = "postgresql+psycopg://someone:s3cret@127.0.0.1:9/nothing"
        with pytest.raises(DatabaseUnreachable, match="Check that the server runs") as error:
            list(QuerySource(rows, url))
        assert "s3cret" not in str(error.value)
