"""An experiment to write to, a sweep in it, and processes to try it from."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import make_url, text

from fireworks.experiment import Experiment
from tests.servers import administrator

Python = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture(params=["sqlite", "postgresql"])
def store(request: pytest.FixtureRequest) -> Iterator[str | None]:
    """Where the tables are kept: tests that use it, or ``experiment``, run against each store."""
    if request.param == "sqlite":
        yield None
        return
    server = request.getfixturevalue("postgresql")
    yield server.url
    with administrator(make_url(server.url)) as connection:
        query = "SELECT nspname FROM pg_namespace WHERE obj_description(oid) LIKE 'fireworks%'"
        for name in connection.scalars(text(query)).all():
            connection.execute(text(f'DROP SCHEMA "{name}" CASCADE'))


@pytest.fixture
def experiment(tmp_path: Path, store: str | None) -> Iterator[Experiment]:
    with Experiment("digits", root=tmp_path / "runs", store=store) as made:
        yield made


@pytest.fixture
def python(tmp_path: Path) -> Iterator[Python]:
    """Start a Python process that runs a script with arguments; it is killed after the test."""
    started: list[subprocess.Popen[str]] = []

    def start(script: str, *arguments: object) -> "subprocess.Popen[str]":
        process = subprocess.Popen(
            [sys.executable, "-c", script, *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=tmp_path,
        )
        started.append(process)
        return process

    yield start
    for each in started:
        each.kill()
        each.communicate()
