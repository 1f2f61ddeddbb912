"""The ways below SQLAlchemy give and write what SQLAlchemy itself does."""

from __future__ import annotations

import datetime
from typing import Any

import numpy as np
import pandas as pd
import pytest
import sqlalchemy as sa
import torch

from fireworks import Message, create_table
from fireworks.database import TableSource, adbc, connect, reading, writing
from fireworks.database.columns import from_rows, plain
from fireworks.database.parameters import to_records
from fireworks.errors import ColumnNotFound, WrongValue

from .test_types import VECTORS


def through_sqlalchemy(connection: sa.Connection, table: sa.Table) -> Message:
    columns = list(table.columns)
    select = sa.select(*map(plain, columns)).order_by(table.c.id)
    return from_rows(connection.execute(select).all(), columns)


def many_kinds() -> Message:
    return Message(
        {
            "id": np.arange(5),
            "label": pd.array([1, None, -(2**63), 2**63 - 1, 0], "Int64"),
            "score": [0.1, -0.0, 1e300, np.nan, 5.0],
            "good": [True, False, True, False, True],
            "text": ["", "naïve", None, "%s ? \\ ' \n", "日本語🎆"],
            "seen": np.array(
                ["1000-01-01", "NaT", "9999-12-31T23:59:59.999999", "2026-01-02T03:04:05.000006",
                 "1969-12-31T23:59:59.999999"], "datetime64[us]"),
            "sort": pd.Categorical(["b", None, "a", "b", "c"]),
            "x": torch.arange(10, dtype=torch.float32).reshape(5, 2),
        }
    )  # fmt: skip


@pytest.mark.parametrize("kind", VECTORS)
def test_every_kind_is_written_and_read_as_by_sqlalchemy(engine: sa.Engine, kind: str):
    column: Any = VECTORS[kind]()
    message = Message({"id": np.arange(len(column)), "x": column})
    table = create_table("ways", message, engine)
    with engine.begin() as connection:
        writing.insert(connection, table, message)
        written_below = through_sqlalchemy(connection, table)
        connection.execute(sa.delete(table))
        records = to_records(message, table, connection.dialect)
        connection.execute(sa.insert(table), records)
        written_above = through_sqlalchemy(connection, table)
        columns = list(table.columns)
        select = sa.select(table).order_by(table.c.id)
        at_once = reading.read(connection, select, columns)
        chunks = list(reading.stream(connection, select, columns, 2))
        keys = message["id"].to_numpy()[::-1]
        by_key, places = reading.fetch(connection, columns, columns[:1], keys)
    assert written_below == written_above == at_once == by_key.take(places[::-1])
    assert chunks == [at_once[start : start + 2] for start in range(0, len(at_once), 2)]


@pytest.mark.parametrize("missing", [[], ["label", "text", "seen", "score"]])
def test_arrow_gives_what_the_driver_gives(database: sa.URL, engine: sa.Engine, missing: list[str]):
    message = many_kinds()
    for name in missing:
        message[name] = message[name].where(np.zeros(5, bool))
    own, engine = engine, connect(database)
    table = create_table("ways", many_kinds(), engine)
    columns = list(table.columns)
    with engine.begin() as connection:
        writing.insert(connection, table, message)
    where = table.c.text.is_distinct_from("'%?") & (table.c.id >= 0)
    select = sa.select(table).where(where).order_by(table.c.id).limit(4)
    with engine.connect() as connection, adbc.opened(connection) as other:
        assert (other is None) == (engine.dialect.name != "sqlite")
        expected = reading.read(connection, select, columns)
        assert len(expected) == 4
        with reading.reader(connection, columns) as read:
            assert read(select, {}) == expected
            assert read(select.where(table.c.id < 0), {}) == expected[:0]
            some = select.where(table.c.id < sa.bindparam("end", None))
            for end in (2, 0, 9):
                assert read(some, {"end": end}) == expected[:end]
        if other is not None:
            sql = f"SELECT * FROM {table.name} ORDER BY id LIMIT 4"
            assert adbc.read(other, connection, sql, (), columns) is not None or missing == []
    with own.connect() as connection, adbc.opened(connection) as other:
        assert other is None  # an engine of the user's own is not bypassed


def test_what_arrow_cannot_read_is_read_in_another_way(tmp_path):
    file = tmp_path / "data.sqlite"
    engine = sa.create_engine(f"sqlite:///{file}")
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE t (id INTEGER PRIMARY KEY, n INTEGER NOT NULL)")
        connection.exec_driver_sql("INSERT INTO t VALUES (1, 2), (2, 'many')")
    engine.dispose()
    table = sa.Table("t", sa.MetaData(), autoload_with=engine)
    engine.dispose()
    columns = list(table.columns)
    with connect(file).connect() as connection, reading.reader(connection, columns) as read:
        assert read(sa.select(table).limit(1), {})["n"].tolist() == [2]
        with pytest.raises(WrongValue, match="'n' of 't' is declared"):
            read(sa.select(table), {})
        with pytest.raises(sa.exc.DBAPIError, match="nowhere"):
            read(sa.select(sa.literal_column("nowhere"), table.c.n), {})


@pytest.mark.parametrize("rows", [1, 700])
def test_upsert(engine: sa.Engine, rows: int):
    """The last of rows with one key stays; columns that are not given stay as they were."""
    ids = np.arange(rows)
    first = Message({"id": ids, "100% a": pd.array(ids, "Int64"), "b": ["old"] * rows})
    table = create_table("some % rows", first, engine)
    with engine.begin() as connection:
        writing.upsert(connection, table, first)
        again = Message({"id": [0, rows, 0], "100% a": [7, 8, 9]})
        writing.upsert(connection, table, again)
        writing.upsert(connection, table, Message({"id": [rows, rows + 1]}))
        found = through_sqlalchemy(connection, table)
    assert found["id"].tolist() == [*range(rows + 2)]
    assert found["100% a"].fillna(-1).tolist() == [9, *range(1, rows), 8, -1]
    assert found["b"].fillna("none").tolist() == ["old"] * rows + ["none"] * 2


def test_zero_is_a_number_of_a_row(engine: sa.Engine):
    table = sa.Table(
        "numbered", sa.MetaData(), sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("n", sa.Integer),
    )  # fmt: skip
    table.create(engine)
    with engine.begin() as connection:
        writing.insert(connection, table, Message({"id": [0, 5], "n": [1, 2]}))
        writing.insert(connection, table, Message({"n": [3]}))
        rows = connection.execute(sa.select(table).order_by(table.c.n)).all()
    assert [tuple(row) for row in rows][:2] == [(0, 1), (5, 2)]


def test_a_longer_integer_than_the_column_is_not_cut_off(engine: sa.Engine):
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE small (id BIGINT PRIMARY KEY, n INTEGER)")
    described = sa.Table(
        "small", sa.MetaData(), sa.Column("id", sa.BigInteger, primary_key=True),
        sa.Column("n", sa.BigInteger),
    )  # fmt: skip
    message = Message({"id": [1], "n": [2**40 + 1]})
    with engine.connect() as connection:
        if engine.dialect.name == "sqlite":
            writing.insert(connection, described, message)
            assert connection.scalar(sa.select(described.c.n)) == 2**40 + 1
        else:
            with pytest.raises(sa.exc.DBAPIError, match="out of range|Out of range"):
                writing.insert(connection, described, message)


def test_defaults_made_by_python_are_made(engine: sa.Engine):
    start = datetime.datetime(2026, 1, 1)
    table = sa.Table(
        "made", sa.MetaData(), sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("at", sa.DateTime, default=lambda: start),
    )  # fmt: skip
    table.create(engine)
    with engine.begin() as connection:
        writing.insert(connection, table, Message({"id": [1, 2]}))
        assert connection.scalars(sa.select(table.c.at)).all() == [start, start]


def test_times_that_are_infinite(database: sa.URL):
    if database.get_backend_name() != "postgresql":
        return  # the others have none
    engine = connect(database)
    table = create_table("t", Message({"id": [1], "at": pd.to_datetime(["2026"])}), engine)
    columns = list(table.columns)
    with engine.begin() as connection:
        connection.exec_driver_sql("INSERT INTO t VALUES (1, 'infinity')")
    with engine.connect() as connection, reading.reader(connection, columns) as read:
        for way in (lambda: read(sa.select(table), {}),
                    lambda: reading.read(connection, sa.select(table), columns)):  # fmt: skip
            with pytest.raises(WrongValue, match="infinite"):
                way()


@pytest.mark.parametrize("rows", [1, 16_384, 20_000])
def test_many_rows_with_missing_cells(engine: sa.Engine, rows: int):
    """Numbers, which are of one length, between text and NULL, which are not."""
    ids = np.arange(rows)
    seen = np.datetime64("2026-01-01", "us") + ids
    seen[1::2] = np.datetime64("NaT")

    def with_holes(values: Any) -> list[Any]:
        return [None if row % 2 else value for row, value in enumerate(values.tolist())]

    message = Message(
        {
            "id": ids,
            "label": pd.array(with_holes(ids), "Int64"),
            "good": pd.array(with_holes(ids % 3 == 0), "boolean"),
            "text": pd.array([None if i % 7 == 0 else "é" * (i % 5) for i in ids], "str"),
            "score": pd.array(with_holes(ids / 7), "Float64"),
            "seen": seen,
            "zoned": pd.Series(seen).dt.tz_localize("Europe/Berlin"),
        }
    )
    table = create_table("ways", message, engine)
    with engine.begin() as connection:
        writing.insert(connection, table, message)
        assert through_sqlalchemy(connection, table) == message
        writing.upsert(connection, table, message[: rows // 2 + 1])
        assert through_sqlalchemy(connection, table) == message


def test_types_that_postgresql_has_beside_those_made_here(database: sa.URL):
    if database.get_backend_name() != "postgresql":
        return  # the others have none
    engine = connect(database)
    with engine.begin() as connection:
        connection.exec_driver_sql(
            "CREATE TABLE t (id SMALLINT PRIMARY KEY, n INTEGER, x REAL, s VARCHAR(9), c CHAR(3), "
            "at TIMESTAMPTZ, b BYTEA)"
        )
    table = sa.Table("t", sa.MetaData(), autoload_with=engine)
    message = Message(
        {
            "id": [-1, 32_767],
            "n": pd.array([None, -(2**31)], "Int64"),
            "x": [0.5, np.nan],
            "s": ["ü", "123456789"],
            "at": pd.to_datetime(["2026-03-29 01:30", None]).tz_localize("UTC").as_unit("us"),
            "b": [b"\0\xff", None],
        }
    )
    with engine.begin() as connection:
        for some in (message, message.assign(c=["abc", "de "])):  # in binary, and as text
            writing.insert(connection, table, some)
            found = through_sqlalchemy(connection, table)[some.columns]
            assert found == some
            connection.execute(sa.delete(table))


class TestUniqueColumnsBesideTheKey:
    """An upsert never changes a row with another key: MariaDB would, and say nothing."""

    @pytest.fixture
    def source(self, engine: sa.Engine) -> TableSource:
        table = sa.Table(
            "t",
            sa.MetaData(),
            sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
            sa.Column("mail", sa.String(20), unique=True, server_default="a"),
            sa.Column("n", sa.Integer),
        )
        table.create(engine)
        with TableSource(table, engine) as source:
            source.insert({"id": [1, 3], "mail": ["a", "c"], "n": [10, 30]})
        return source

    @pytest.mark.parametrize(
        "rows",
        [
            {"id": [4], "mail": ["c"], "n": [0]},  # of another row
            {"id": [1], "mail": ["c"], "n": [0]},  # of another row, for one that is there
            {"id": [4, 5], "mail": ["d", "d"], "n": [0, 0]},  # of one of these rows
            {"id": [5]},  # by the column's default
        ],
    )
    def test_are_not_taken_for_it(self, source: TableSource, rows: dict[str, list[Any]]):
        before = source.query()
        with pytest.raises(WrongValue, match="none of them was"):
            source.upsert(rows)
        source.rollback()
        assert source.query() == before

    def test_of_a_row_that_gives_it_up_later(self, source: TableSource):
        """It may be that the rows are refused; else they are there as they were given."""
        try:
            source.upsert({"id": [5, 3], "mail": ["c", "e"], "n": [0, 1]})
            expected = {1: ("a", 10), 3: ("e", 1), 5: ("c", 0)}
        except WrongValue:
            expected = {1: ("a", 10), 3: ("c", 30)}
        source.commit()
        found = source.query()
        rows = zip(found["id"], zip(found["mail"], found["n"], strict=True), strict=True)
        assert dict(rows) == expected

    def test_a_row_that_is_replaced_at_once_harms_none(self, source: TableSource):
        with source:
            source.upsert({"id": [4, 4], "mail": ["x", "d"], "n": [0, 2]})
            source.upsert({"id": [1, 3], "mail": ["b", "c"], "n": [11, 31]})
        assert source.query()["n"].tolist() == [11, 31, 2]
        assert source.query()["mail"].tolist() == ["b", "c", "d"]


def test_an_upsert_needs_a_key(engine: sa.Engine):
    described = [sa.Column("a", sa.Integer, unique=True, nullable=False)]
    table = sa.Table("keyless", sa.MetaData(), *described, sa.Column("n", sa.Integer))
    table.create(engine)
    with pytest.raises(WrongValue, match="no primary key.*insert"):
        TableSource(table, engine).upsert({"a": [1], "n": [1]})
    table = create_table("rows", Message({"id": [1], "n": [1]}), engine)
    with pytest.raises(ColumnNotFound, match="needs a column 'id', of its key"):
        TableSource(table, engine).upsert({"n": [1]})
