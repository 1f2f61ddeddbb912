"""Names, values and addresses that would harm where they were pasted into SQL."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import sqlalchemy as sa
import torch

from fireworks import Message, create_table
from fireworks.database import QuerySource, TableSource, connect
from fireworks.database.engine import reflect
from fireworks.errors import (
    DatabaseNotFound,
    DatabaseUnreachable,
    MissingDependency,
    TableNotFound,
    WrongType,
    WrongValue,
)
from fireworks.sources import BatchingSource, MessageSource, ShufflerSource, WriterSource

NAMES = [
    "drop table x; --",
    "'; drop table x; --",
    'a"b',
    "a`b",
    "a'b",
    "a]b[c]",
    "100%",
    "%s %(id)s %%",
    ":id",
    "a:b ::text",
    "?",
    "a\\b\\",
    "a.b",
    "a(b)",
    "{a}",
    "$1",
    "select",
    "SELECT",
    "CamelCase",
    "naïve 日本語",
    "x" * 63,
    "_sa_",
    "b_id",
    "cell_0",
    "id_1",
    "param_1",
    "fireworks {}",
    "-- comment",
    "/* comment */",
]
VALUES = ["'; drop table rows; --", '"', "%s", ":x", "\\", "\\'", "a\nb", "NULL", "", "{}", "\\0"]


def names_for(engine: sa.Engine) -> list[str]:
    """Names for columns of one table."""
    if engine.dialect.name == "postgresql":
        return NAMES
    # The others hold names for the same that differ in case only.
    found = {name.lower(): name for name in NAMES}
    return [name for name in found.values() if "`" not in name or engine.dialect.name == "sqlite"]


class TestNames:
    def test_of_columns(self, engine):
        names = names_for(engine)
        rows = Message({"id": np.arange(len(VALUES)), **{name: VALUES for name in names}})
        with TableSource(create_table("rows", rows, engine), engine) as source:
            source.insert(rows)
        source = TableSource("rows", engine)
        assert source.read_all() == rows
        assert Message({"id": [3]}) == source.query("id", "==", 3)[["id"]]
        shuffled = source >> ShufflerSource(0) >> BatchingSource(4)
        assert sum(map(len, shuffled)) == len(rows)
        writer = MessageSource(rows[:2]) >> WriterSource("rows", engine)
        assert writer.drain() == 2
        changed = rows[:3].assign(**{name: ["new"] * 3 for name in names})
        with source:
            source.upsert(changed)
            source.update(changed)
        assert source[:3] == changed
        table = reflect("rows", engine)
        query = QuerySource(table, engine)
        for name in names:
            assert len(source.filter(name, "==", ":x")) == 1, name
            assert len(query.filter(name, "==", "new").read_all()) == 3
            assert TableSource(table, engine, columns=[name])[0].columns == [name]

    def test_of_columns_with_tensors(self, engine):
        names = names_for(engine)
        rows = Message({"id": [0, 1], **{name: torch.ones(2, 3) for name in names}})
        with TableSource(create_table("rows", rows, engine), engine) as source:
            source.insert(rows)
        assert TableSource("rows", engine).read_all() == rows

    def test_of_tables_and_their_keys(self, engine):
        names = [name for name in names_for(engine) if not name.isidentifier()]
        for name in names:
            self.check_table(engine, name)
        assert set(sa.inspect(engine).get_table_names()) == set(names)

    def check_table(self, engine, name):
        rows = Message({name: VALUES, "x": torch.arange(len(VALUES))})
        rows = rows.take(np.argsort(np.array(VALUES, object)))
        with TableSource(create_table(name, rows, engine, key=name), engine) as source:
            source.insert(rows)
        source = TableSource(name, engine)
        assert source.read_all() == rows
        one_pass = iter(source >> BatchingSource(3))
        next(one_pass)
        fresh = TableSource(name, engine) >> BatchingSource(3)
        fresh.load_state_dict(one_pass.state_dict())
        assert next(iter(fresh)) == rows[3:6]
        del one_pass
        with source:
            assert source.delete(rows[:2]) == 2

    def test_with_backticks(self, engine):
        rows = Message({"id": [1], "a`b": ["x"]})
        if engine.dialect.name != "mariadb":
            create_table("a`b", rows, engine)
            return
        for make in (
            lambda: create_table("a`b", Message({"id": [1]}), engine),
            lambda: create_table("rows", rows, engine),
        ):
            with pytest.raises(WrongValue, match="backtick"):
                make()

    @pytest.mark.parametrize("name", ["", "a\0b", "a\nb", "\x1b[2J", "a\u202eb"])
    def test_that_no_database_takes(self, engine, name):
        for make in (
            lambda: create_table(name, Message({"id": [1]}), engine),
            lambda: create_table("rows", Message({"id": [1], name: [1]}), engine),
        ):
            with pytest.raises(WrongValue, match="cannot be called"):
                make()
        assert sa.inspect(engine).get_table_names() == []

    def test_too_long(self, engine):
        name = "x" * 300
        for make in (
            lambda: create_table(name, Message({"id": [1]}), engine),
            lambda: create_table("rows", Message({"id": [1], name: [1]}), engine),
        ):
            if engine.dialect.name == "sqlite":
                make()
                continue
            with pytest.raises(WrongValue, match="more than 6[34] (bytes|characters)"):
                make()
            assert sa.inspect(engine).get_table_names() == []

    def test_that_differ_in_case_only(self, engine):
        rows = Message({"id": [1], "A": ["x"], "a": ["y"]})
        if engine.dialect.name == "postgresql":
            create_table("rows", rows, engine)
            return
        with pytest.raises(WrongValue, match="'A' and 'a' differ in case only"):
            create_table("rows", rows, engine)

    def test_of_a_table_that_is_not_there(self, engine):
        for name in NAMES:
            with pytest.raises(TableNotFound):
                TableSource(name, engine)


class TestAddresses:
    @pytest.mark.parametrize(
        ("url", "what"),
        [
            ("mongo://x", "no database"),
            ("postgres://u@h/d", "no database"),
            ("://", "no database"),
            ("sqlite://", "memory is gone"),
            ("postgresql://user:secret@host:port/d", "no database"),
        ],
    )
    def test_that_are_none(self, url, what):
        with pytest.raises(WrongValue, match=what) as caught:
            connect(url)
        assert "secret" not in str(caught.value)

    @pytest.mark.parametrize("kind", ["postgresql", "mariadb"])
    def test_a_server_that_is_not_there(self, kind):
        with pytest.raises(DatabaseUnreachable, match="could not be reached") as caught:
            TableSource("rows", f"{kind}://user:secret@127.0.0.1:1/d")
        assert "secret" not in str(caught.value)

    @pytest.mark.parametrize("kind", ["postgresql", "mariadb"])
    def test_a_database_that_is_not_there(self, request, kind):
        url = sa.make_url(request.getfixturevalue(kind).url).set(database="firewerks")
        with pytest.raises(DatabaseUnreachable, match="firewerks"):
            TableSource("rows", url)

    def test_drivers_are_chosen_for_the_user(self, request):
        for kind in ("postgresql", "mariadb"):
            url = sa.make_url(request.getfixturevalue(kind).url)
            short = url.set(drivername=kind).render_as_string(hide_password=False)
            with pytest.raises(TableNotFound):
                TableSource("no such table", short)

    def test_a_missing_driver_names_its_extra(self):
        code = (
            "import sys; sys.modules['psycopg'] = sys.modules['pymysql'] = None\n"
            "from fireworks.database import connect\n"
            "for name in ('postgresql', 'postgresql+psycopg', 'mariadb', 'mysql+pymysql'):\n"
            "    try: connect(name + '://u@h/d')\n"
            "    except ImportError as error: print(type(error).__name__, error)"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        lines = done.stdout.splitlines()
        assert len(lines) == 4, done.stderr
        for line, package in zip(lines, ["psycopg", "psycopg", "pymysql", "pymysql"], strict=True):
            extra = "postgresql" if package == "psycopg" else "mariadb"
            assert line.startswith("MissingDependency A ")
            assert f"needs the package {package!r}" in line
            assert f"pip install 'fireworks-ml[{extra}]'" in line

    def test_another_driver_that_is_missing(self):
        with pytest.raises(MissingDependency, match="'oracledb'|'cx_Oracle'"):
            connect("oracle://u@h/d")

    def test_one_url_is_one_engine(self, tmp_path):
        file = tmp_path / "data.sqlite"
        engine = connect(file, create=True)
        create_table("t", Message({"id": [1]}), engine)
        assert connect(f"sqlite:///{file}") is engine
        own = sa.create_engine(f"sqlite:///{file}", poolclass=sa.NullPool)
        assert connect(own) is own

    def test_a_folder_as_a_file(self, tmp_path):
        with pytest.raises(DatabaseNotFound, match="no database file"):
            TableSource("rows", tmp_path)

    @pytest.mark.parametrize("database", [3, None, b"x", ["a"]])
    def test_what_is_no_address(self, database):
        with pytest.raises((WrongValue, WrongType)):
            connect(database)
