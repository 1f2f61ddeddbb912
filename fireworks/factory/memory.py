"""How much memory the processes of an attempt have taken since it began (Linux)."""

from __future__ import annotations

import os
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

    def measure(self, limit: int) -> int:
        """Bytes beyond the baseline; exact where they may be more than the limit.

        What forked processes share is counted for each of them at first, which takes
        microseconds; only what is over the limit then is measured page by page.
        """
        pids = descendants(self._pid)
        size = sum(max(0, anonymous_memory(pid) - self._baseline) for pid in pids)
        if size <= limit or len(pids) == 1:
            return size
        return min(size, sum(map(_proportional, pids)) - self._baseline)


def descendants(pid: int) -> list[int]:
    """A process and all that descend from it, by the parents that ``/proc`` shows."""
    children: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            with suppress(OSError):  # it has just ended
                content = Path("/proc", name, "stat").read_bytes()
                # The name in parentheses may itself hold spaces and parentheses.
                parent = int(content[content.rindex(b")") :].split()[2])
                children.setdefault(parent, []).append(int(name))
    found = [pid]
    for each in found:
        found.extend(children.get(each, ()))
    return found


def _proportional(pid: int) -> int:
    """Bytes of a process's anonymous pages, those that n processes share counted as one n-th."""
    with suppress(OSError):
        for line in Path("/proc", str(pid), "smaps_rollup").read_text().splitlines():
            if line.startswith("Pss_Anon:"):
                return int(line.split()[1]) * 1024
    return 0
