"""PostgreSQL's rows by COPY: what is parsed is what the driver gives, and errors are as usual."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from fireworks.database import QuerySource, binary_rows, connect, drivers, reading
from fireworks.errors import WrongValue
from tests.servers import PostgreSQL, administrator

COLUMNS = {
    "small": sa.SmallInteger(), "middle": sa.Integer(), "large": sa.BigInteger(),
    "single": sa.REAL(), "double": sa.Double(), "good": sa.Boolean(), "words": sa.Text(),
    "short": sa.String(40), "padded": sa.CHAR(6), "raw": sa.LargeBinary(), "at": sa.DateTime(),
}  # fmt: skip

FILL = """
INSERT INTO wide
SELECT i, i - 32768, i - 2147483648, i - 9223372036854775808, i / 3.0, i / 7.0, i % 3 = 0,
    repeat('é', i % 5) || i, i::text, 'x' || i % 10, decode(repeat('00ff', i % 4), 'hex'),
    timestamp '0001-01-01' + i * interval '1 month'
FROM generate_series(0, {last}) AS i
"""
SOME_MISSING = """
UPDATE wide SET small = NULL, middle = NULL, large = NULL, single = NULL, double = NULL,
    good = NULL, words = NULL, short = NULL, padded = NULL, raw = NULL, at = NULL
WHERE id % {each} = 0
"""


@pytest.fixture
def engine(postgresql: PostgreSQL) -> Iterator[sa.Engine]:
    yield connect(postgresql.url)
    with administrator(sa.make_url(postgresql.url)) as connection:
        connection.execute(sa.text("DROP SCHEMA public CASCADE"))
        connection.execute(sa.text("CREATE SCHEMA public"))


@pytest.fixture
def wide(engine: sa.Engine) -> sa.Table:
    """A table with a column of every type that is parsed."""
    columns = [sa.Column(name, kind) for name, kind in COLUMNS.items()]
    key = sa.Column("id", sa.Integer, primary_key=True, autoincrement=False)
    table = sa.Table("wide", sa.MetaData(), key, *columns)
    table.create(engine)
    return table


def execute(engine: sa.Engine, sql: str) -> None:
    with engine.begin() as connection:
        connection.exec_driver_sql(sql.replace("%", "%%"))


def both_ways(engine: sa.Engine, select: sa.Select[Any], columns: Any) -> list[Any]:
    with engine.connect() as connection, connection.begin():
        statement = drivers.Statement(select, connection.dialect)
        parsed = binary_rows.read(connection, statement.sql, statement.parameters(), columns)
        return [parsed, next(iter(reading.stream(connection, select, columns, 100_000)), None)]


@pytest.mark.parametrize("each", [None, 3, 1])
def test_every_type(engine: sa.Engine, wide: sa.Table, each: int | None):
    execute(engine, FILL.format(last=300))
    if each:
        execute(engine, SOME_MISSING.format(each=each))
    for rows in (300, 1, 0):
        select = sa.select(wide).where(wide.c.id < rows).order_by(wide.c.id)
        parsed, driven = both_ways(engine, select, list(wide.columns))
        assert len(parsed) == rows
        assert parsed == driven or rows == 0
        assert parsed.schema == reading.from_rows([], list(wide.columns)).schema


@pytest.mark.parametrize(
    ("declared", "real"),
    [
        (sa.Integer(), "1.5::float8"), (sa.Double(), "1.5::numeric"), (sa.Boolean(), "1"),
        (sa.DateTime(), "now()"), (sa.Text(), "'{}'::json"), (sa.BigInteger(), "now()::timestamp"),
        (postgresql.ARRAY(sa.Integer()), "ARRAY[1, 2]"), (sa.Enum("a", "b"), "'a'::text"),
    ],
)  # fmt: skip
def test_other_types_are_left_to_the_driver(engine: sa.Engine, declared: Any, real: str):
    with engine.connect() as connection, connection.begin():
        column = sa.Column("x", declared)
        assert binary_rows.read(connection, f"SELECT {real}", (), [column]) is None


def test_parameters_of_every_kind_and_percent_signs(engine: sa.Engine, wide: sa.Table):
    execute(engine, FILL.format(last=9))
    execute(engine, "UPDATE wide SET words = '100% ''of'' \\ %s' WHERE id = 4")
    lowest = {"small": -(2**15), "middle": -(2**31), "large": -(2**63)}
    for name, value in lowest.items():
        found = QuerySource(wide, engine).filter(name, "==", value).read_all()
        assert found["id"].tolist() == [0]
    values: dict[str, Any] = {
        "words": "100% 'of' \\ %s", "raw": b"", "good": False, "double": 4 / 7,
        "at": datetime.datetime(1, 5, 1),
    }  # fmt: skip
    for name, value in values.items():
        source = QuerySource(wide, engine, chunk_rows=3).filter("id", "in", [3, 4])
        assert source.filter(name, "==", value).read_all()["id"].tolist() == [4]
    odd = sa.Table("odd", sa.MetaData(), sa.Column("100%", sa.Integer, primary_key=True))
    odd.create(engine)
    execute(engine, "INSERT INTO odd VALUES (1), (2)".replace("%", "%%"))
    with engine.connect() as connection:
        assert reading.read(connection, sa.select(odd), list(odd.columns))["100%"].tolist() == [
            1,
            2,
        ]


def test_an_error_in_the_middle_leaves_the_connection_usable(engine: sa.Engine, wide: sa.Table):
    execute(engine, FILL.format(last=20_000))
    select = sa.select(wide.c.id, (100 // (wide.c.id - 19_999)).label("part")).order_by(wide.c.id)
    columns = [wide.c.id, sa.Column("part", sa.Integer)]
    with engine.connect() as connection:
        with pytest.raises(sa.exc.DBAPIError, match="division by zero"):
            reading.read(connection, select, columns)
        connection.rollback()
        assert len(reading.read(connection, select.limit(10), columns)) == 10
    with pytest.raises(WrongValue, match="division by zero"):
        QuerySource(select, engine).read_all()


def test_a_type_cannot_change_between_its_look_up_and_the_rows(engine: sa.Engine, wide: sa.Table):
    execute(engine, FILL.format(last=3))
    with psycopg.connect(engine.url.set(drivername="postgresql").render_as_string()) as other:
        other.execute("SET lock_timeout = '200ms'")
        with engine.connect() as connection, connection.begin():
            reading.read(connection, sa.select(wide), list(wide.columns))
            with pytest.raises(psycopg.errors.LockNotAvailable):
                other.execute("ALTER TABLE wide ALTER large TYPE float8")


def test_other_encodings_are_left_to_the_driver(engine: sa.Engine, wide: sa.Table):
    execute(engine, FILL.format(last=3))
    with engine.connect() as connection:
        connection.exec_driver_sql("SET client_encoding = 'LATIN1'")
        assert binary_rows.read(connection, "SELECT 'é'", (), [sa.Column("x", sa.Text)]) is None
        found = reading.read(connection, sa.select(wide.c.words).limit(3), [wide.c.words])
        assert found["words"].tolist() == ["0", "é1", "éé2"]
