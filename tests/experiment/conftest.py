"""An experiment to write to, a sweep in it, and processes to try it from."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fireworks.experiment import Experiment

Python = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def experiment(tmp_path: Path) -> Iterator[Experiment]:
    with Experiment("digits", root=tmp_path / "runs") as made:
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
