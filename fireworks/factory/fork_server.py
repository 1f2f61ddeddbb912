"""The backend that forks each attempt from a server which has imported everything already."""

from __future__ import annotations

import json
import logging
import os
import select
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from types import TracebackType
from typing import IO, Any, final

from fireworks.errors import SweepFailed
from fireworks.factory.backend import Backend, Ended, Job, Notice, Said, Started
from fireworks.factory.linux import MARKER, NO_ATTEMPT, kill_marked
from fireworks.factory.wire import JSON, receive, receive_control, send, send_control

logger = logging.getLogger("fireworks.factory")

_START_LIMIT = 300.0  # seconds that all imports together may take
_PROGRAM = """
import json, sys
sys.path[:] = json.loads(sys.argv[1])
from fireworks.factory.server import main
main(int(sys.argv[2]), int(sys.argv[3]))
"""
# Libraries that start threads when they are imported would make forking unsound. CUDA's
# availability is to be asked without starting CUDA. Sets of strings are to have one order in
# every sweep.
_ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "JE_ARROW_MALLOC_CONF": "background_thread:false",
    "PYTORCH_NVML_BASED_CUDA_CHECK": "1",
    MARKER: NO_ATTEMPT,
}


@dataclass
class _Attempt:
    connection: Connection
    process: int | None = None  # a pidfd; None until the server has told
    signals: list[signal.Signals] = field(default_factory=list)  # to be sent when it is known
    kill_at: float | None = None


@final
class ForkServer(Backend):
    """Runs each attempt in a fresh process, forked in milliseconds. Linux only.

    The server is started by the first attempt. Where it dies, all that it had forked is killed
    first and told as lost; the next attempt starts another server.

    Args:
        modules: What to import before forking, besides torch, Ignite and Fireworks.
        optional: The same, but one that cannot be imported is only warned of.
    """

    def __init__(self, modules: Iterable[str] = (), optional: Iterable[str] = ()) -> None:
        if sys.platform != "linux":
            raise SweepFailed(
                f"a sweep needs Linux, whose processes it forks; this is {sys.platform!r}. "
                "On Windows, run it inside WSL 2."
            )
        required = list(modules)
        self._required = frozenset(required)
        self._modules = list(dict.fromkeys([*required, *optional]))
        self._server: _Server | None = None
        self._attempts: dict[str, _Attempt] = {}
        self._selector = selectors.DefaultSelector()
        self._wake = os.eventfd(0, os.EFD_NONBLOCK)
        self._selector.register(self._wake, selectors.EVENT_READ)

    def __enter__(self) -> ForkServer:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def server_pid(self) -> int | None:
        """Pid of the server; None while there is none."""
        return self._server.pid if self._server else None

    def start(self) -> None:
        """Start the server now; otherwise the first attempt does.

        Raises:
            SweepFailed: A module cannot be imported there, or the server ends; with the traceback.
        """
        if self._server is None:
            self._server = _Server(self._modules, self._required)
            self._selector.register(self._server.control, selectors.EVENT_READ)

    def submit(self, job: Job) -> None:
        """Fork a process and send it its job."""
        self.start()
        assert self._server is not None
        ours, theirs = socket.socketpair()
        connection = Connection(ours.detach())
        self._attempts[job.id] = _Attempt(connection)
        self._selector.register(connection, selectors.EVENT_READ, job.id)
        order = {
            "order": "fork",
            "attempt": job.id,
            "stdout": str(job.folder / "stdout.txt"),
            "stderr": str(job.folder / "stderr.txt"),
        }
        files = [theirs.fileno()] if job.train is None else [theirs.fileno(), job.train]
        # A server that has just died is seen by the next poll, which tells the attempt as lost.
        with theirs, suppress(OSError):
            send_control(self._server.control, order, files)
        self.send(job.id, job.description)

    def send(self, attempt: str, message: JSON) -> None:
        """Answer an attempt's process; does nothing where it is gone."""
        if attempt in self._attempts:
            with suppress(OSError):
                send(self._attempts[attempt].connection, message)

    def poll(self, timeout: float | None = None) -> list[Notice]:
        """Wait until something happened and return it, in its order."""
        deadlines = [each.kill_at for each in self._attempts.values() if each.kill_at is not None]
        if deadlines:
            left = max(0.0, min(deadlines) - time.monotonic())
            timeout = left if timeout is None else min(timeout, left)
        notices: list[Notice] = []
        for key, _ in self._selector.select(timeout):
            if key.fileobj == self._wake:
                os.eventfd_read(self._wake)
            elif isinstance(key.data, str):
                notices.extend(self._read(key.data))
            elif self._server is not None:
                notices.extend(self._hear())
        self._kill_overdue()
        return notices

    def kill(self, attempt: str, *, grace: float) -> None:
        """Ask an attempt's process to end, and end its group after a grace period."""
        running = self._attempts.get(attempt)
        if running is None:
            return
        running.kill_at = time.monotonic() + grace
        if grace > 0:
            running.signals.append(signal.SIGTERM)
            self._deliver(running)
        else:
            self._kill_overdue()

    def wake(self) -> None:
        """Have poll return."""
        os.eventfd_write(self._wake, 1)

    def close(self) -> None:
        """End every attempt, then the server."""
        if self._server is not None:
            self._selector.unregister(self._server.control)
            self._server.close()
            self._server = None
        for attempt in list(self._attempts):
            self._forget(attempt)
        if self._wake >= 0:
            self._selector.close()
            os.close(self._wake)
            self._wake = -1

    def _read(self, attempt: str) -> Iterator[Notice]:
        """What an attempt has said, without waiting for more."""
        running = self._attempts.get(attempt)
        if running is None:
            return
        try:
            while running.connection.poll(0):
                yield Said(attempt, receive(running.connection))
        except (EOFError, OSError):
            # It has closed its end, or died: the server will tell.
            with suppress(KeyError):
                self._selector.unregister(running.connection)

    def _hear(self) -> Iterator[Notice]:
        """What the server has to tell."""
        assert self._server is not None
        message, files = receive_control(self._server.control)
        if message is None:
            yield from self._lose()
        elif "started" in message:
            attempt = message["started"]
            running = self._attempts[attempt]
            running.process = files[0]
            self._deliver(running)
            yield Started(attempt, message["pid"])
        elif "refused" in message:
            attempt = message["refused"]
            self._forget(attempt)
            yield Ended(attempt, lost=message["reason"])
        else:
            attempt = message["ended"]
            yield from self._read(attempt)  # its last words, before its end is judged
            self._forget(attempt)
            yield Ended(attempt, message["exit_code"], message["signal"], message["peak_memory"])

    def _lose(self) -> Iterator[Notice]:
        """The server is gone: kill what it has forked, make sure, and only then tell."""
        assert self._server is not None
        self._selector.unregister(self._server.control)
        reason = self._server.close()
        self._server = None
        for running in self._attempts.values():
            # The kernel kills each leader together with the server.
            if running.process is not None:
                with suppress(ProcessLookupError):
                    signal.pidfd_send_signal(running.process, signal.SIGKILL)
        for attempt, running in list(self._attempts.items()):
            if running.process is not None:
                select.select([running.process], [], [], 5.0)
            kill_marked(attempt)  # what the leader had started: the server can no longer do it
            yield from self._read(attempt)
            self._forget(attempt)
            yield Ended(attempt, lost=reason)

    def _forget(self, attempt: str) -> None:
        running = self._attempts.pop(attempt)
        with suppress(KeyError):
            self._selector.unregister(running.connection)
        running.connection.close()
        if running.process is not None:
            os.close(running.process)

    def _deliver(self, running: _Attempt) -> None:
        if running.process is not None:
            for each in running.signals:
                with suppress(ProcessLookupError):
                    signal.pidfd_send_signal(running.process, each)
            running.signals.clear()

    def _kill_overdue(self) -> None:
        now = time.monotonic()
        for attempt, running in self._attempts.items():
            if running.kill_at is not None and running.kill_at <= now:
                running.kill_at = None
                assert self._server is not None
                with suppress(OSError):
                    send_control(self._server.control, {"order": "kill", "attempt": attempt})


class _Server:
    """The server's process, its socket, and the thread that started it."""

    def __init__(self, modules: list[str], required: frozenset[str]) -> None:
        self._required = required
        self._output: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - close() closes it
        self._process: subprocess.Popen[bytes] | None = None
        self._keeper: threading.Thread | None = None
        self._ready = False  # whether it has imported all and may fork
        left_out: dict[str, str] = {}
        try:
            while offenders := self._launch(modules, list(left_out)):
                for name, why in offenders.items():
                    logger.warning(
                        "the module %r is not imported ahead of the trials: %s. "
                        "Each trial imports it by itself, and so starts more slowly.",
                        name,
                        why,
                    )
                left_out |= offenders
                self._stop()
        except BaseException:
            self.close()
            raise

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    def close(self) -> str:
        """End the server and all that it forked; returns how it ended, for a message."""
        self._stop()
        code = self._process.returncode if self._process else None
        output = self._last_output()
        self._output.close()
        how = f"signal {signal.Signals(-code).name}" if code and code < 0 else f"exit code {code}"
        return f"the fork server ended ({how}){': ' + output if output else ''}"

    def _launch(self, modules: list[str], leave_out: list[str]) -> dict[str, str]:
        """Start the process and have it import; returns the modules that make it unfit."""
        self.control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        started = threading.Event()
        failure: list[BaseException] = []

        def keep() -> None:
            # The kernel's signal for the parent's death follows the thread that started the
            # process, so this one lives exactly as long as the server does.
            try:
                self._process = self._popen(theirs)
            except BaseException as error:
                failure.append(error)
                return
            finally:
                started.set()
            self._process.wait()

        self._keeper = threading.Thread(target=keep, name="fireworks-fork-server", daemon=True)
        self._keeper.start()
        started.wait()
        theirs.close()
        if failure:
            raise SweepFailed(f"the fork server cannot be started: {failure[0]}")
        self.control.settimeout(_START_LIMIT)
        answer: dict[str, Any] | None = None
        with suppress(BrokenPipeError):
            send_control(
                self.control, {"modules": modules, "leave_out": leave_out, "argv": sys.argv}
            )
            try:
                answer, _ = receive_control(self.control)
            except TimeoutError:
                raise SweepFailed(
                    f"the imports of the fork server took more than {_START_LIMIT:.0f} s"
                ) from None
        self.control.settimeout(None)
        if answer is None:
            self._stop()
            raise SweepFailed(
                f"the fork server ended while it imported its modules:\n{self._last_output()}"
            )
        for name, trace in answer["failed"].items():
            message = f"the module {name!r} cannot be imported in the processes of the trials"
            if name in self._required:
                raise SweepFailed(f"{message}:\n{trace}")
            logger.warning("%s: %s", message, trace.strip().splitlines()[-1])
        self._ready = not answer["offenders"]
        return answer["offenders"]

    def _popen(self, control: socket.socket) -> subprocess.Popen[bytes]:
        environment = {**os.environ, **_ENVIRONMENT}
        environment.setdefault("PYTHONHASHSEED", "0")
        return subprocess.Popen(
            [
                sys.executable,
                *subprocess._args_from_interpreter_flags(),  # pyright: ignore
                "-c",
                _PROGRAM,
                json.dumps(sys.path),
                str(control.fileno()),
                str(os.getpid()),
            ],
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=self._output,
            pass_fds=[control.fileno()],
            env=environment,
            start_new_session=True,  # Ctrl-C in the terminal is for the Factory alone
        )

    def _stop(self) -> None:
        """Close the socket, which ends the server; by force where that does not help."""
        if self._keeper is None:
            return
        self.control.close()
        if not self._ready and self._process is not None:
            self._process.kill()  # it has forked nothing, and hears nothing while it imports
        self._keeper.join(10)
        if self._keeper.is_alive() and self._process is not None:
            self._process.kill()
            self._keeper.join()

    def _last_output(self) -> str:
        self._output.seek(0)
        return self._output.read()[-4000:].decode(errors="replace").strip()
