"""The databases that the same tests run against: an SQLite file and two real servers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy import NullPool

from tests.servers import administrator

KINDS = ["sqlite", "postgresql", "mariadb"]

_EMPTYING = {
    "postgresql": ["DROP SCHEMA public CASCADE", "CREATE SCHEMA public"],
    "mariadb": ["DROP DATABASE fireworks", "CREATE DATABASE fireworks CHARACTER SET utf8mb4"],
}


@pytest.fixture(params=KINDS)
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[sa.URL]:
    """The URL of an empty database, on each of the three in turn; it is emptied after the test."""
    kind: str = request.param
    if kind == "sqlite":
        file = tmp_path / "data.sqlite"
        file.touch()
        yield sa.URL.create("sqlite", database=str(file))
        return
    url = sa.make_url(request.getfixturevalue(kind).url)
    yield url
    with administrator(url) as connection:
        for statement in _EMPTYING[kind]:
            connection.execute(sa.text(statement))


@pytest.fixture
def engine(database: sa.URL) -> sa.Engine:
    """An engine on `database` that keeps no connection open."""
    return sa.create_engine(database, poolclass=NullPool)
