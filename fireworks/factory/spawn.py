"""The backend that starts a fresh interpreter for each attempt; it needs no fork, and seconds."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import final

from fireworks.factory.backend import Backend, Ended, Job, Notice, Started
from fireworks.factory.channels import Channels
from fireworks.factory.grace import Grace
from fireworks.factory.linux import MARKER, kill_marked
from fireworks.factory.platforms import refuse_windows
from fireworks.factory.wire import JSON

_PROGRAM = """
import json, sys
sys.path[:] = json.loads(sys.argv[1])
from fireworks.factory.spawned import main
main(*sys.argv[2:])
"""


@dataclass
class _Attempt:
    keeper: threading.Thread
    pid: int | None = None  # None once it was waited for: the pid may be another's then
    lock: threading.Lock = field(default_factory=threading.Lock)


@final
class Spawn(Backend):
    """Runs each attempt in a fresh interpreter, on Linux and macOS.

    Nothing is shared between attempts, not even what was imported: each takes the seconds that
    importing torch takes. On macOS a process that holds the interpreter's lock in C code outlives
    the sweep's process for as long as it does.

    Raises:
        SweepFailed: This is Windows.
    """

    def __init__(self) -> None:
        refuse_windows()
        self._attempts: dict[str, _Attempt] = {}
        self._channels = Channels()
        self._grace = Grace()
        self._news: deque[Started | Ended] = deque()  # from the keepers

    def submit(self, job: Job) -> None:
        """Start an interpreter and send it its job."""
        with self._channels.open(job.id) as theirs:
            descriptors = [theirs.fileno()] if job.train is None else [theirs.fileno(), job.train]
            begun = threading.Event()
            keeper = threading.Thread(
                target=self._keep,
                args=(job, descriptors, begun),
                name="fireworks-spawn",
                daemon=True,
            )
            self._attempts[job.id] = _Attempt(keeper)
            keeper.start()
            begun.wait()
        self.send(job.id, job.message)

    def send(self, attempt: str, message: JSON) -> None:
        """Answer an attempt's process; does nothing where it is gone."""
        self._channels.send(attempt, message)

    def poll(self, timeout: float | None = None) -> list[Notice]:
        """Wait until something happened and return it, in its order."""
        notices: list[Notice] = []
        ready = self._channels.wait(0 if self._news else self._grace.shorten(timeout))
        while self._news:
            notices.extend(self._hear(self._news.popleft()))
        for attempt in ready:
            if attempt is not None:
                notices.extend(self._channels.read(attempt))
        for attempt in self._grace.expired():
            self._signal(attempt, signal.SIGKILL)
        return notices

    def kill(self, attempt: str, *, grace: float) -> None:
        """Ask an attempt's process to end, and end its group after a grace period."""
        if attempt not in self._attempts:
            return
        if grace > 0:
            self._grace.give(attempt, grace)
            self._signal(attempt, signal.SIGTERM)
        else:
            self._grace.drop(attempt)
            self._signal(attempt, signal.SIGKILL)

    def wake(self) -> None:
        """Have poll return."""
        self._channels.wake()

    def close(self) -> None:
        """End every attempt."""
        for attempt in self._attempts:
            self._signal(attempt, signal.SIGKILL)
        for running in self._attempts.values():
            running.keeper.join()
        self._attempts.clear()
        self._channels.close_all()

    def _hear(self, news: Started | Ended) -> Iterator[Notice]:
        if isinstance(news, Started):
            yield news
            return
        yield from self._channels.read(news.id)  # its last words, before its end is judged
        self._channels.close(news.id)
        self._grace.drop(news.id)
        self._attempts.pop(news.id).keeper.join()
        yield news

    def _signal(self, attempt: str, number: signal.Signals) -> None:
        """SIGTERM goes to the attempt's first process, SIGKILL to all of its group."""
        running = self._attempts[attempt]
        with running.lock:
            if running.pid is not None:
                with suppress(ProcessLookupError):
                    if number == signal.SIGKILL:
                        os.killpg(running.pid, number)
                    else:
                        os.kill(running.pid, number)

    def _keep(self, job: Job, descriptors: list[int], begun: threading.Event) -> None:
        """Start a process and wait for its end.

        The kernel's signal for a parent's death follows the thread that started the process, so
        this thread lives exactly as long as that does.
        """
        running = self._attempts[job.id]
        try:
            process = _popen(job, descriptors)
        except OSError as error:
            self._tell(Ended(job.id, lost=f"no process could be started: {error}"))
            return
        finally:
            begun.set()
        running.pid = process.pid
        self._tell(Started(job.id, process.pid))
        _wait_until_dead(process.pid)
        with running.lock:
            with suppress(ProcessLookupError, PermissionError):  # macOS: all that is left is dead
                os.killpg(process.pid, signal.SIGKILL)
            _, status, usage = os.wait4(process.pid, 0)
            running.pid = None
        kill_marked(job.id)
        code = process.returncode = os.waitstatus_to_exitcode(status)
        unit = 1 if sys.platform == "darwin" else 1024  # bytes
        self._tell(
            Ended(
                job.id,
                exit_code=code if code >= 0 else None,
                signal=-code if code < 0 else None,
                peak_memory=usage.ru_maxrss * unit,
            )
        )

    def _tell(self, news: Started | Ended) -> None:
        self._news.append(news)
        self._channels.wake()


def _popen(job: Job, descriptors: list[int]) -> subprocess.Popen[bytes]:
    environment = {**os.environ, MARKER: job.id}
    environment.setdefault("PYTHONHASHSEED", "0")
    environment.setdefault("PYTORCH_NVML_BASED_CUDA_CHECK", "1")  # to ask without starting CUDA
    threads = str(job.description["threads"])
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        environment[name] = threads
    arguments = [json.dumps(sys.path), str(os.getpid()), str(job.folder)]
    flags: list[str] = subprocess._args_from_interpreter_flags()  # pyright: ignore
    with (
        (job.folder / "stdout.txt").open("ab") as stdout,
        (job.folder / "stderr.txt").open("ab") as stderr,
    ):
        return subprocess.Popen(
            [sys.executable, *flags, "-c", _PROGRAM, *arguments, *map(str, descriptors)],
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            pass_fds=descriptors,
            env=environment,
            start_new_session=True,  # a group of its own
        )


def _wait_until_dead(pid: int) -> None:
    """Wait without taking the exit code: until that is taken, the pid stays this process's."""
    if sys.platform == "darwin":
        queue = select.kqueue()
        end = select.kevent(pid, select.KQ_FILTER_PROC, select.KQ_EV_ADD, select.KQ_NOTE_EXIT)
        with suppress(ProcessLookupError):  # dead already
            queue.control([end], 1)
        queue.close()
    else:
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
