"""A result however large is read with as little memory as one chunk of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import sqlalchemy as sa

ROOT = Path(__file__).parents[2]
ROWS, CHARACTERS = 40_000, 2_000

READ = """
import json, sys
from pathlib import Path
import sqlalchemy as sa
from fireworks.database import QuerySource

engine = sa.create_engine(sys.argv[1], poolclass=sa.NullPool)
table = sa.Table("large", sa.MetaData(), autoload_with=engine)

def peak():
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) // 1024

queries = {
    "pages": sa.select(table),
    "cursor": sa.select(table, sa.func.row_number().over(order_by=table.c.id).label("place")),
    "without a key": sa.select(table).order_by(table.c.id.desc()),
}
report = {}
for name, query in queries.items():
    source = QuerySource(query, engine, chunk_rows=200)
    list(source.filter("id", "<", 1000))  # what reading needs at all
    before, rows = peak(), 0
    for chunk in source:
        rows += len(chunk)
    report[name] = (rows, peak() - before)
print(json.dumps(report))
"""

FILL = {
    "sqlite": "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < {last}) "
    "INSERT INTO large SELECT i, printf('%.{characters}c', 'x') FROM n",
    "postgresql": "INSERT INTO large SELECT i, repeat(md5(i::text), {characters} / 32) "
    "FROM generate_series(0, {last}) AS i",
    "mariadb": "INSERT INTO large SELECT seq, repeat('x', {characters}) FROM seq_0_to_{last}",
}


@pytest.mark.slow
def test_memory_does_not_grow_with_the_result(engine):
    sa.Table(
        "large",
        sa.MetaData(),
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("text", sa.Text, nullable=False),
    ).create(engine)
    with engine.begin() as connection:
        fill = FILL[connection.dialect.name].format(last=ROWS - 1, characters=CHARACTERS)
        connection.exec_driver_sql(fill)
    done = subprocess.run(
        [sys.executable, "-c", READ, engine.url.render_as_string(hide_password=False)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=110,
    )
    assert done.returncode == 0, done.stderr
    for name, (rows, grown) in json.loads(done.stdout).items():
        assert rows == ROWS
        # The result has 80 MB, a chunk .4 MB.
        assert grown < 16, f"{name} took {grown} MB"
