"""One fork server for all tests that do not harm it, and a short way to a Factory."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from fireworks.experiment import Experiment
from fireworks.factory import Factory, ForkServer


@pytest.fixture(scope="session")
def server() -> Iterator[ForkServer]:
    # What the test modules import; each child would otherwise import it by itself.
    with ForkServer(optional=["pytest", "pandas", "optuna"]) as server:
        server.start()
        yield server


@pytest.fixture
def experiment(tmp_path: Path) -> Iterator[Experiment]:
    with Experiment("sweep", root=tmp_path) as experiment:
        yield experiment


@pytest.fixture
def make(server: ForkServer, experiment: Experiment) -> Callable[..., Factory]:
    """Factory(train, …) on the shared server, with defaults that most tests want."""

    def make(train: Any, **options: Any) -> Factory:
        options = {
            "propose": lambda trial: {"x": trial.suggest_float("x", 0, 1)},
            "maximize": "accuracy",
            "experiment": experiment,
            "seed": 1,
            "backend": server,
            **options,
        }
        if "minimize" in options:
            del options["maximize"]
        return Factory(train, **options)

    return make


def marked(marker: str) -> dict[int, str]:
    """Living processes whose environment holds a marker, by pid, with their names."""
    found: dict[int, str] = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            with suppress(OSError):
                if marker.encode() in Path("/proc", name, "environ").read_bytes():
                    found[int(name)] = Path("/proc", name, "comm").read_text().strip()
    return found


@pytest.fixture
def find_marked() -> Callable[[str], dict[int, str]]:
    """Living processes whose environment holds a marker, by pid, with their names."""
    return marked


@pytest.fixture
def wait_until_gone() -> Iterator[Callable[[str, float], None]]:
    """Wait for the end of all processes that carry a marker; kill and fail otherwise."""
    markers: list[str] = []

    def wait(marker: str, seconds: float) -> None:
        markers.append(marker)
        deadline = time.monotonic() + seconds
        while (left := marked(marker)) and time.monotonic() < deadline:
            time.sleep(0.01)
        assert not left, f"still there after {seconds} s: {left}"

    yield wait
    for marker in markers:
        for pid in marked(marker):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
