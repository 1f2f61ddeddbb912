"""How much memory the processes of an attempt have taken since it began (Linux)."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import final

from fireworks.factory.linux import anonymous_memory


@final
class MemoryOf:
    """The anonymous resident memory of a process and all that it has started.

    Args:
        pid: The attempt's first process.
        baseline: Bytes that it had when it began: a forked process has its server's.
    """

    def __init__(self, pid: int, baseline: int) -> None:
        self._pid = pid
        self._baseline = baseline

    def measure(self, limit: int, children: Mapping[int, Sequence[int]] | None = None) -> int:
        """Bytes beyond the baseline; exact where they may be more than the limit.

        What forked processes share is counted for each of them at first, which takes
        microseconds; only where that is over the limit, page by page: what a descendant shares
        with others is then the first process's alone.

        Args:
            limit: Bytes.
            children: What `children_of_all` has just returned, where it is known.
        """
        first, *others = descendants(self._pid, children)
        own = max(0, anonymous_memory(first) - self._baseline)
        size = own + sum(max(0, anonymous_memory(pid) - self._baseline) for pid in others)
        if size <= limit or not others:
            return size
        return min(size, own + sum(map(_private, others)))


def children_of_all() -> dict[int, list[int]]:
    """The children of each process of this machine, by their parents' pids."""
    children: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            with suppress(OSError):  # it has just ended
                content = Path("/proc", name, "stat").read_bytes()
                # The name in parentheses may itself hold spaces and parentheses.
                parent = int(content[content.rindex(b")") :].split()[2])
                children.setdefault(parent, []).append(int(name))
    return children


def descendants(pid: int, children: Mapping[int, Sequence[int]] | None = None) -> list[int]:
    """A process and all that descend from it, by the parents that ``/proc`` shows."""
    children = children_of_all() if children is None else children
    found = [pid]
    for each in found:
        found.extend(children.get(each, ()))
    return found


def _private(pid: int) -> int:
    """Bytes that a process has written to and shares with none."""
    with suppress(OSError):
        for line in Path("/proc", str(pid), "smaps_rollup").read_text().splitlines():
            if line.startswith("Private_Dirty:"):
                return int(line.split()[1]) * 1024
    return 0
