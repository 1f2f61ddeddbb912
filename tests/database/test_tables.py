"""Tables read and written through SQLite."""

from __future__ import annotations

import datetime
import sqlite3
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import sqlalchemy as sa
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy.orm import DeclarativeBase, mapped_column

from fireworks import Message, create_table
from fireworks.database import TensorType, connect
from fireworks.errors import (
    ColumnNotFound,
    DatabaseNotFound,
    NotWritten,
    RowsVanished,
    TableNotFound,
    WrongType,
    WrongValue,
)
from fireworks.sources import (
    BatchingSource,
    MessageSource,
    ShufflerSource,
    TableSource,
    WriterSource,
)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "data.sqlite"


def many_kinds() -> Message:
    return Message(
        {
            "id": [f"row-{i}" for i in range(5)],
            "image": torch.arange(20, dtype=torch.float32).reshape(5, 2, 2),
            "label": [3, 1, 4, 1, 5],
            "weight": [0.5, float("nan"), float("inf"), -0.0, 1e300],
            "good": [True, False, True, True, False],
            "text": ["", "naïve", "日本語", "🎆", "drop table x; --"],
            "seen": pd.to_datetime(["2026-01-02 03:04:05.678901"] * 5),
        }
    )


def write(message: Message, file: Path, name: str = "rows", key: str = "id") -> sa.Table:
    table = create_table(name, message, file, key=key)
    assert WriterSource(table, file, inputs=MessageSource(message)).drain() == len(message)
    return table


class TestRoundTrip:
    def test_every_kind_comes_back_as_it_went_in(self, file):
        message = many_kinds()
        write(message, file)
        assert TableSource("rows", file).read_all() == message

    @pytest.mark.parametrize(
        "dtype",
        [
            torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.uint8,
            torch.bool, torch.complex64,
        ],
    )  # fmt: skip
    @pytest.mark.parametrize("shape", [(), (3,), (2, 0), (1, 2, 3)])
    def test_tensors_of_every_dtype_and_shape(self, file, dtype, shape):
        rows = torch.randint(0, 2, (4, *shape), generator=torch.Generator().manual_seed(0))
        message = Message({"id": [1, 2, 3, 4], "x": rows.to(dtype)})
        write(message, file)
        assert TableSource("rows", file).read_all() == message

    @settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
    @given(rows=st.dictionaries(
        st.integers(-(2**63), 2**63 - 1),
        st.tuples(st.floats(), st.text(st.characters(exclude_categories=["Cs"]))),
        min_size=1, max_size=20,
    ))  # fmt: skip
    def test_any_numbers_and_text(self, tmp_path, rows):
        file = tmp_path / "data.sqlite"
        file.unlink(missing_ok=True)
        keys = sorted(rows)
        message = Message(
            {
                "id": np.array(keys, np.int64),
                "x": [rows[key][0] for key in keys],
                "s": [rows[key][1] for key in keys],
            }
        )
        write(message, file)
        assert TableSource("rows", file).read_all() == message

    def test_kinds_come_from_the_declared_types_not_from_the_values(self, file):
        with sqlite3.connect(file) as connection:
            connection.execute(
                "CREATE TABLE t (id INTEGER PRIMARY KEY, n INTEGER, m INTEGER NOT NULL, "
                "s TEXT, f REAL, d DATETIME, b BLOB)"
            )
            connection.execute("INSERT INTO t VALUES (1, NULL, 2, NULL, NULL, NULL, NULL)")
        connection.close()
        rows = TableSource("t", file).read_all()
        kinds = {name: str(rows[name].dtype) for name in rows}
        assert kinds["n"] == "Int64"
        assert kinds["m"] == "int64"
        assert kinds["s"].startswith("str")
        assert kinds["f"] == "float64"
        assert kinds["d"].startswith("datetime64")
        assert rows["n"].isna().all()
        assert rows["b"].tolist() == [None]

    def test_an_empty_table_keeps_its_columns(self, file):
        create_table("rows", many_kinds(), file)
        source = TableSource("rows", file)
        assert len(source) == 0
        assert source.read_all().columns == many_kinds().columns

    def test_missing_text_is_null(self, file):
        message = Message({"id": [1, 2], "s": pd.Series(["a", None], dtype="str")})
        write(message, file)
        with sqlite3.connect(file) as connection:
            assert connection.execute("SELECT s FROM rows").fetchall() == [("a",), (None,)]
        connection.close()
        assert TableSource("rows", file).read_all() == message


class TestReading:
    def test_rows_by_index_in_the_order_asked(self, file):
        write(Message({"id": np.arange(100), "x": torch.arange(100)}), file)
        source = TableSource("rows", file)
        assert source[[70, 3, 70, -1]]["x"].tolist() == [70, 3, 70, 99]

    def test_a_shuffled_epoch_reads_each_row_once(self, file):
        write(Message({"id": [f"{i:05}" for i in range(1000)], "i": np.arange(1000)}), file)
        batches = TableSource("rows", file) >> ShufflerSource(0) >> BatchingSource(64)
        for _ in range(2):
            seen = [value for batch in batches for value in batch["i"].tolist()]
            assert sorted(seen) == list(range(1000))

    def test_more_rows_than_one_statement_takes(self, file):
        write(Message({"id": np.arange(40_000)}), file)
        assert TableSource("rows", file).read_all()["id"].tolist() == list(range(40_000))

    def test_columns(self, file):
        write(many_kinds(), file)
        source = TableSource("rows", file, columns=["label", "image"])
        assert source.read_all() == many_kinds()[["label", "image"]]

    def test_a_mapped_class(self, file):
        class Base(DeclarativeBase):
            pass

        class Row(Base):
            __tablename__ = "rows"
            id = mapped_column(sa.Integer, primary_key=True)
            x = mapped_column(TensorType, nullable=False)

        Base.metadata.create_all(connect(file, create=True))
        rows = Message({"id": [1, 2], "x": torch.eye(2)})
        WriterSource(Row, file, inputs=MessageSource(rows)).drain()
        assert TableSource(Row, f"sqlite:///{file}").read_all() == rows

    def test_rows_deleted_since_the_scan(self, file):
        write(Message({"id": np.arange(9)}), file)
        source = TableSource("rows", file)
        assert len(source) == 9
        with sqlite3.connect(file) as connection:
            connection.execute("DELETE FROM rows WHERE id IN (4, 7)")
        connection.close()
        assert source[[3, 5]]["id"].tolist() == [3, 5]
        with pytest.raises(RowsVanished, match="2 rows .*deleted since.*: 4, 7"):
            source.read_all()


class TestWriting:
    def test_rows_are_committed_before_they_go_on(self, file):
        rows = Message({"id": np.arange(10)})
        table = create_table("rows", rows, file)
        writer = MessageSource(rows) >> BatchingSource(4) >> WriterSource(table, file)
        seen = 0
        for batch in writer:
            seen += len(batch)
            with sqlite3.connect(file) as connection:
                assert connection.execute("SELECT count(*) FROM rows").fetchone() == (seen,)
            connection.close()
        assert seen == 10

    def test_writing_again_replaces_by_key(self, file):
        table = write(Message({"id": [1, 2], "s": ["a", "b"]}), file)
        WriterSource(table, file, inputs=MessageSource({"id": [2, 3], "s": ["B", "c"]})).drain()
        assert TableSource("rows", file).read_all() == Message(
            {"id": [1, 2, 3], "s": ["a", "B", "c"]}
        )

    def test_the_key_alone(self, file):
        table = write(Message({"id": [1, 2]}), file)
        WriterSource(table, file, inputs=MessageSource({"id": [2, 3]})).drain()
        assert TableSource("rows", file).read_all()["id"].tolist() == [1, 2, 3]

    def test_a_row_that_does_not_fit_undoes_its_whole_batch(self, file):
        with sqlite3.connect(file) as connection:
            connection.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, n INTEGER CHECK (n < 5))")
        connection.close()
        rows = MessageSource({"id": [1, 2, 3, 4], "n": [1, 2, 3, 9]})
        with pytest.raises(WrongValue, match="none of them was.*CHECK constraint"):
            (rows >> BatchingSource(2) >> WriterSource("t", file)).drain()
        assert TableSource("t", file).read_all()["id"].tolist() == [1, 2]

    def test_a_locked_database(self, file):
        table = write(Message({"id": [1]}), file)
        engine = sa.create_engine(
            f"sqlite:///{file}", connect_args={"timeout": 0.05}, poolclass=sa.NullPool
        )
        other = sqlite3.connect(file, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(NotWritten, match="none of them was: database is locked"):
            WriterSource(table, engine, inputs=MessageSource({"id": [2]})).drain()
        other.rollback()
        other.close()

    def test_hostile_names_are_only_names(self, file):
        rows = Message({"id": [1], 'a"b; drop table x; --': ["'; drop table x; --"]})
        write(rows, file, name='x"; drop table y; --')
        assert TableSource('x"; drop table y; --', file).read_all() == rows

    def test_times_without_zone_to_the_microsecond(self, file):
        write(Message({"id": [1], "t": [datetime.datetime(2026, 1, 2, 3, 4, 5, 6)]}), file)
        with sqlite3.connect(file) as connection:
            stored = connection.execute("SELECT t FROM rows").fetchone()
        connection.close()
        assert stored == ("2026-01-02 03:04:05.000006",)


class TestBadInput:
    def test_no_such_database(self, tmp_path):
        for database in (tmp_path / "no.sqlite", f"sqlite:///{tmp_path}/no.sqlite"):
            with pytest.raises(DatabaseNotFound, match="no database file"):
                TableSource("rows", database)
        assert not (tmp_path / "no.sqlite").exists()
        with pytest.raises(FileNotFoundError, match="no folder"):
            create_table("rows", many_kinds(), tmp_path / "no" / "data.sqlite")

    def test_no_such_table(self, file):
        write(many_kinds(), file)
        for source in (TableSource, WriterSource):
            with pytest.raises(TableNotFound, match="no table 'row'.*Did you mean 'rows'"):
                source("row", file)

    def test_no_such_column(self, file):
        write(many_kinds(), file)
        with pytest.raises(ColumnNotFound, match="no column 'labels'.*Did you mean 'label'"):
            TableSource("rows", file, columns=["labels"])
        with pytest.raises(ColumnNotFound, match="'idd'.*Did you mean 'id'"):
            create_table("more", many_kinds(), file, key="idd")

    @pytest.mark.parametrize(
        ("rows", "message"),
        [
            ({"id": [1], "y": [1]}, "no column 'y'"),
            ({"x": torch.ones(1)}, "needs a column 'id'"),
            ({"id": [1], "x": [1.0]}, "'x' is a vector"),
            ({"id": torch.ones(1), "x": torch.ones(1)}, "'id' is a tensor"),
        ],
    )
    def test_rows_that_do_not_fit_the_table(self, file, rows, message):
        table = create_table("rows", Message({"id": [1], "x": torch.ones(1)}), file)
        with pytest.raises((ColumnNotFound, WrongType), match=message):
            WriterSource(table, file, inputs=MessageSource(rows)).drain()

    @pytest.mark.parametrize(("keys", "message"), [("", "no primary key")])
    def test_tables_without_a_key_of_one_column(self, file, keys, message):
        with sqlite3.connect(file) as connection:
            connection.execute(f"CREATE TABLE t (a INTEGER, b INTEGER{keys})")
        connection.close()
        for source in (TableSource, WriterSource):
            with pytest.raises(WrongValue, match=message):
                source("t", file)

    @pytest.mark.parametrize("url", ["mongo://x", "sqlite://", "://"])
    def test_what_is_no_database(self, url):
        with pytest.raises(WrongValue):
            TableSource("rows", url)

    def test_a_file_that_is_no_database(self, file):
        file.write_text("id,x\n1,2\n" * 100)
        with pytest.raises(WrongValue, match="not a database"):
            TableSource("rows", file)

    def test_what_is_no_table(self, file):
        write(many_kinds(), file)
        with pytest.raises(WrongType, match="a mapped class or a name"):
            TableSource(3, file)

    def test_a_value_of_another_kind_than_declared(self, file):
        with sqlite3.connect(file) as connection:
            connection.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, n INTEGER NOT NULL)")
            connection.execute("INSERT INTO t VALUES (1, 'many')")
        connection.close()
        with pytest.raises(WrongValue, match="'n' of 't' is declared"):
            TableSource("t", file).read_all()

    def test_a_column_without_a_column_type(self, file):
        with pytest.raises(WrongType, match="'o'"):
            create_table("t", Message({"id": [1], "o": [{1, 2}]}), file)

    def test_a_key_of_tensors(self, file):
        with pytest.raises(WrongType, match="key 'id' is a tensor.*to_vectors"):
            create_table("t", Message({"id": torch.arange(3)}), file)

    @pytest.mark.parametrize("damage", [lambda cell: cell[:-1], lambda cell: b"x" + cell])
    def test_a_damaged_tensor(self, file, damage):
        write(Message({"id": [1], "x": torch.ones(1, 4)}), file)
        connection = sqlite3.connect(file)
        (cell,) = connection.execute("SELECT x FROM rows").fetchone()
        connection.execute("UPDATE rows SET x = ?", (damage(cell),))
        connection.commit()
        connection.close()
        with pytest.raises(ValueError, match=r"tensor"):
            TableSource("rows", file).read_all()
