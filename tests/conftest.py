"""What every test is held to: it leaves no thread, process or open file behind."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

from tests import servers

# A shell that starts the tests in the background has them, and what they start, ignore Ctrl-C.
signal.signal(signal.SIGINT, signal.default_int_handler)

hypothesis.settings.register_profile("untimed", deadline=None)  # times are for the benchmarks
hypothesis.settings.load_profile("untimed")


def child_processes() -> set[int]:
    """Pids of the living children of this process (Linux; empty elsewhere)."""
    me = os.getpid()
    pids: set[int] = set()
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            # The name in parentheses may itself hold spaces and parentheses.
            state, parent = entry.read_text().rpartition(")")[2].split()[:2]
        except (FileNotFoundError, ProcessLookupError):  # one that has just ended
            continue
        if int(parent) == me and state != "Z":
            pids.add(int(entry.parent.name))
    return pids


def open_files() -> dict[str, str]:
    """What each file descriptor of this process points to."""
    targets: dict[str, str] = {}
    folder = Path("/proc/self/fd")
    for name in os.listdir(folder) if folder.exists() else []:
        try:
            targets[name] = os.readlink(folder / name)
        except FileNotFoundError:  # the descriptor of the listing itself
            continue
    return targets


@pytest.fixture(autouse=True, scope="session")
def adbc_is_ready() -> None:
    """ADBC keeps a pipe from its first query on; no test is to be blamed for it."""
    with contextlib.suppress(ImportError):
        from adbc_driver_sqlite import dbapi

        with dbapi.connect() as connection, connection.cursor() as cursor:
            cursor.execute("SELECT 1")


@pytest.fixture(autouse=True)
def leaves_nothing_behind() -> Iterator[None]:
    """Fail a test that leaves threads, child processes or file descriptors."""
    threads, children, files = set(threading.enumerate()), child_processes(), open_files()
    yield
    deadline = time.monotonic() + 5
    while True:
        left = {
            "threads": {each.name for each in set(threading.enumerate()) - threads},
            "processes": child_processes() - children - servers.pids,
            "files": {
                target
                for name, target in open_files().items()
                if files.get(name) != target and not target.startswith("/dev/")
            },
        }
        if not any(left.values()) or time.monotonic() > deadline:
            break
        time.sleep(0.02)
    assert not any(left.values()), f"the test left behind: {left}"


def served(server: type[servers.Server]) -> Iterator[servers.Server]:
    """A server that runs until the fixture ends."""
    started = server()
    try:
        yield started
    finally:
        started.remove()


@pytest.fixture(scope="session")
def postgresql() -> Iterator[servers.Server]:
    """A PostgreSQL server for the whole test run. Tests name their tables, and drop them."""
    yield from served(servers.PostgreSQL)


@pytest.fixture(scope="session")
def mariadb() -> Iterator[servers.Server]:
    """A MariaDB server for the whole test run. Tests name their tables, and drop them."""
    yield from served(servers.MariaDB)
