"""The Linux calls that hold the processes of a sweep together: they die together, and are found.

Elsewhere (macOS) nothing is set and nothing found: the pipe to the sweep alone ends processes.
Nothing here imports more than the standard library: the fork server runs it before anything else.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import resource
import signal
import sys
from contextlib import suppress
from functools import cache, lru_cache
from pathlib import Path

MARKER = "FIREWORKS_ATTEMPT"
NO_ATTEMPT = "-" * 32
_SET_PDEATHSIG, _SET_NAME, _SET_CHILD_SUBREAPER = 1, 15, 36


@cache
def _libc() -> ctypes.CDLL:
    library = ctypes.CDLL(None, use_errno=True)
    library.getenv.restype = ctypes.c_void_p
    return library


@cache
def _marker_address() -> int | None:
    """Where the program was given its marker; a later setenv would put another one elsewhere."""
    return _libc().getenv(MARKER.encode())


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


@lru_cache(64)  # a path is resolved by several calls of the system
def run_token(experiment: Path) -> str:
    """What the tokens of all attempts of an experiment begin with."""
    return hashlib.sha256(os.fsencode(experiment.resolve())).hexdigest()[:16]


def attempt_token(experiment: Path, trial: int, attempt: int) -> str:
    """The token of an attempt, known again by whoever knows the experiment's folder."""
    number = hashlib.sha256(f"{trial}/{attempt}".encode()).hexdigest()[:16]
    return run_token(experiment) + number


def mark_process(attempt: str) -> None:
    """Mark this process and all that it starts from now on as belonging to an attempt.

    A process is found later by ``/proc/<pid>/environ``, which shows the memory that held the
    environment when the program was started. A forked process shows that of the fork server, so
    the marker is overwritten in place there; what is started by exec takes it from ``os.environ``.

    Args:
        attempt: Its token, as long as the placeholder that the program was started with.
    """
    address = _marker_address()
    if address and len(attempt) == len(NO_ATTEMPT):
        ctypes.memmove(address, attempt.encode(), len(attempt))
    os.environ[MARKER] = attempt


def marked_processes(attempt: str) -> list[int]:
    """Pids of the living processes that carry the marker of an attempt, this one excepted.

    Args:
        attempt: Its token, or the beginning of it: `run_token` finds those of a whole run.
    """
    wanted = f"\0{MARKER}={attempt}".encode()
    found: list[int] = []
    for name in os.listdir("/proc") if sys.platform == "linux" else ():
        if name.isdigit() and int(name) != os.getpid():
            with suppress(OSError):  # another user's, or gone by now
                if wanted in b"\0" + Path("/proc", name, "environ").read_bytes():
                    found.append(int(name))
    return found


def kill_marked(attempt: str) -> None:
    """Kill what an attempt has left behind, also what had left its process group.

    Args:
        attempt: Its token, or that of a run whose processes are all to go.
    """
    for _ in range(10):  # a process may fork while the list is made
        left = marked_processes(attempt)
        if not left:
            return
        for pid in left:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def has_children() -> bool:
    """Whether this process has living children; those that have ended are waited for."""
    try:
        while os.waitpid(-1, os.WNOHANG) != (0, 0):
            pass
    except ChildProcessError:
        return False
    return True


def limit_data(more: int) -> None:
    """Have allocations fail that would give this process so many bytes more than it has now.

    What counts is private memory that can be written to, used or not (``RLIMIT_DATA``).
    """
    if sys.platform != "linux":
        return
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmData:"):
            limit = int(line.split()[1]) * 1024 + more
            _, highest = resource.getrlimit(resource.RLIMIT_DATA)
            limit = limit if highest == resource.RLIM_INFINITY else min(limit, highest)
            resource.setrlimit(resource.RLIMIT_DATA, (limit, highest))


def anonymous_memory(pid: int) -> int:
    """Bytes of a process's resident memory that no file backs; 0 where it is gone."""
    try:
        _, resident, shared, *_ = Path("/proc", str(pid), "statm").read_bytes().split()
    except OSError:
        return 0
    return (int(resident) - int(shared)) * resource.getpagesize()


def count_threads() -> int:
    """Number of threads of this process, those outside Python included."""
    return len(os.listdir("/proc/self/task"))


def _prctl(option: int, value: int | bytes) -> None:
    if sys.platform != "linux":
        return
    if _libc().prctl(option, value, 0, 0, 0):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
