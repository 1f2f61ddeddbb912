"""What every test is held to: it leaves no thread, process or open file behind."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest


def child_processes() -> set[int]:
    """Pids of the living children of this process (Linux; empty elsewhere)."""
    tasks = Path("/proc/self/task")
    if not tasks.exists():
        return set()
    pids: set[int] = set()
    for task in tasks.iterdir():
        try:
            pids.update(int(pid) for pid in (task / "children").read_text().split())
        except FileNotFoundError:  # a thread that has just ended
            continue
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


@pytest.fixture(autouse=True)
def leaves_nothing_behind() -> Iterator[None]:
    """Fail a test that leaves threads, child processes or file descriptors."""
    threads, children, files = set(threading.enumerate()), child_processes(), open_files()
    yield
    deadline = time.monotonic() + 5
    while True:
        left = {
            "threads": {each.name for each in set(threading.enumerate()) - threads},
            "processes": child_processes() - children,
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
