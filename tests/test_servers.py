"""The servers that tests start."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from tests.servers import Server


@pytest.mark.parametrize("name", ["postgresql", "mariadb"])
def test_what_was_committed_survives_a_crash_of_the_server(
    name: str, request: pytest.FixtureRequest
) -> None:
    server: Server = request.getfixturevalue(name)
    engine = sa.create_engine(server.url, poolclass=sa.NullPool)
    rows = sa.Table("crash", sa.MetaData(), sa.Column("id", sa.Integer, primary_key=True))
    with engine.begin() as connection:
        rows.create(connection)
        connection.execute(rows.insert(), [{"id": 1}, {"id": 2}])
    server.restart()
    with engine.begin() as connection:
        assert connection.scalars(sa.select(rows.c.id).order_by(rows.c.id)).all() == [1, 2]
        rows.drop(connection)
