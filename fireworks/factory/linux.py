"""The Linux calls that hold the processes of a sweep together: they die together, and are found.

Nothing here imports more than the standard library: the fork server runs it before anything else.
"""

from __future__ import annotations

import ctypes
import os
import signal
from contextlib import suppress
from functools import cache
from pathlib import Path

MARKER = "FIREWORKS_ATTEMPT"
NO_ATTEMPT = "-" * 32
_SET_PDEATHSIG, _SET_NAME, _SET_CHILD_SUBREAPER = 1, 15, 36


@cache
def _libc() -> ctypes.CDLL:
    library = ctypes.CDLL(None, use_errno=True)
    library.getenv.restype = ctypes.c_void_p
    return library


def die_with_parent(parent: int, with_signal: signal.Signals = signal.SIGKILL) -> None:
    """Have the kernel send this process a signal when the thread that started it ends.

    Args:
        parent: Pid of the parent. Where it has died already, this process ends at once.
        with_signal: What the kernel sends.
    """
    _prctl(_SET_PDEATHSIG, int(with_signal))
    if os.getppid() != parent:
        os._exit(1)


def adopt_orphans() -> None:
    """Become the parent of every descendant whose own parent ends."""
    _prctl(_SET_CHILD_SUBREAPER, 1)


def name_process(name: str) -> None:
    """Set the name that ``top`` and ``ps`` show (15 characters)."""
    _prctl(_SET_NAME, name.encode()[:15])


def mark_process(attempt: str) -> None:
    """Mark this process and all that it starts from now on as belonging to an attempt.

    A process is found later by ``/proc/<pid>/environ``, which shows the memory that held the
    environment when the program was started. A forked process shows that of the fork server, so
    the marker is overwritten in place there; what is started by exec takes it from ``os.environ``.

    Args:
        attempt: Its token, as long as the placeholder that the program was started with.
    """
    address = _libc().getenv(MARKER.encode())
    if address and len(attempt) == len(NO_ATTEMPT):
        ctypes.memmove(address, attempt.encode(), len(attempt))
    os.environ[MARKER] = attempt


def marked_processes(attempt: str) -> list[int]:
    """Pids of the living processes that carry the marker of an attempt."""
    wanted = f"{MARKER}={attempt}".encode()
    found: list[int] = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            with suppress(OSError):  # another user's, or gone by now
                if wanted in Path("/proc", name, "environ").read_bytes().split(b"\0"):
                    found.append(int(name))
    return found


def kill_marked(attempt: str) -> None:
    """Kill what an attempt has left behind, also what had left its process group."""
    for _ in range(10):  # a process may fork while the list is made
        left = marked_processes(attempt)
        if not left:
            return
        for pid in left:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def count_threads() -> int:
    """Number of threads of this process, those outside Python included."""
    return len(os.listdir("/proc/self/task"))


def _prctl(option: int, value: int | bytes) -> None:
    if _libc().prctl(option, value, 0, 0, 0):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
