"""The backend that forks each attempt from a server which has imported everything already."""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import final

from fireworks.factory.backend import Backend, Ended, Job, Notice, Said, Started
from fireworks.factory.channels import Channels
from fireworks.factory.grace import Grace
from fireworks.factory.linux import kill_marked
from fireworks.factory.platforms import require_linux
from fireworks.factory.server_process import ServerProcess
from fireworks.factory.wire import JSON, receive_control, send_control


@dataclass
class _Attempt:
    process: int | None = None  # a pidfd; None until the server has told
    signals: list[signal.Signals] = field(default_factory=list[signal.Signals])  # until then


@final
class ForkServer(Backend):
    """Runs each attempt in a fresh process, forked in milliseconds. Linux only.

    The server is started by the first attempt. Where it dies, all that it had forked is killed
    first and told as lost; the next attempt starts another server.

    Args:
        modules: What to import before forking, besides torch, Ignite and Fireworks.
        optional: The same, but one that cannot be imported is only warned of.

    Raises:
        SweepFailed: This is not Linux.
    """

    def __init__(self, modules: Iterable[str] = (), optional: Iterable[str] = ()) -> None:
        require_linux("isolation='fork-server'")
        required = list(modules)
        self._required = frozenset(required)
        self._modules = list(dict.fromkeys([*required, *optional]))
        self._server: ServerProcess | None = None
        self._attempts: dict[str, _Attempt] = {}
        self._channels = Channels()
        self._grace = Grace()

    def __enter__(self) -> ForkServer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def server_pid(self) -> int | None:
        """Pid of the server; None while there is none."""
        return self._server.pid if self._server else None

    def start(self) -> None:
        """Start the server now; otherwise the first attempt does.

        Where nothing runs, and ``sys.path`` or a file of the user's that the server has imported
        was changed, it is started anew.

        Raises:
            SweepFailed: A module cannot be imported there, or the server ends; with the traceback.
        """
        if self._server is not None and not self._attempts and self._server.outdated:
            self._end_server()
        if self._server is None:
            self._server = ServerProcess(self._modules, self._required)
            self._channels.watch(self._server.control)

    def submit(self, job: Job) -> None:
        """Fork a process and send it its job."""
        if self._server is None:
            self.start()
        assert self._server is not None
        self._attempts[job.id] = _Attempt()
        order = {"order": "fork", "attempt": job.id, "folder": str(job.folder)}
        # A server that has just died is seen by the next poll, which tells the attempt as lost.
        with self._channels.open(job.id) as theirs, suppress(OSError):
            files = [theirs.fileno()] if job.train is None else [theirs.fileno(), job.train]
            send_control(self._server.control, order, files)
        self.send(job.id, job.message)

    def send(self, attempt: str, message: JSON) -> None:
        """Answer an attempt's process; does nothing where it is gone."""
        self._channels.send(attempt, message)

    def poll(self, timeout: float | None = None) -> list[Notice]:
        """Wait until something happened and return it, in its order."""
        notices: list[Notice] = []
        for attempt in self._channels.wait(self._grace.shorten(timeout)):
            if attempt is not None:
                notices.extend(self._channels.read(attempt))
            elif self._server is not None:
                notices.extend(self._hear(self._server))
        for attempt in self._grace.expired():
            self._kill_group(attempt)
        return notices

    def kill(self, attempt: str, *, grace: float) -> None:
        """Ask an attempt's process to end, and end its group after a grace period."""
        running = self._attempts.get(attempt)
        if running is None:
            return
        if grace > 0:
            self._grace.give(attempt, grace)
            running.signals.append(signal.SIGTERM)
            _deliver(running)
        else:
            self._grace.drop(attempt)
            self._kill_group(attempt)

    def wake(self) -> None:
        """Have poll return."""
        self._channels.wake()

    def close(self) -> None:
        """End every attempt, then the server."""
        self._end_server()
        for attempt in list(self._attempts):
            self._forget(attempt)
        self._channels.close_all()

    def _end_server(self) -> str:
        """End the server and, with it, all that it forked; returns how it ended."""
        if self._server is None:
            return ""
        self._channels.unwatch(self._server.control)
        how = self._server.close()
        self._server = None
        return how

    def _hear(self, server: ServerProcess) -> Iterator[Notice]:
        """What the server has to tell."""
        message, files = receive_control(server.control)
        if message is None:
            yield from self._lose()
        elif "started" in message:
            running = self._attempts[message["started"]]
            running.process = files[0]
            _deliver(running)
            yield Started(message["started"], message["pid"])
        elif "refused" in message:
            self._forget(message["refused"])
            yield Ended(message["refused"], lost=message["reason"])
        else:
            attempt = message["ended"]
            yield from self._last_words(attempt)
            yield Ended(attempt, message["exit_code"], message["signal"], message["peak_memory"])

    def _last_words(self, attempt: str) -> Iterator[Said]:
        """What an ended attempt has still said: it must be heard before its end is judged."""
        yield from self._channels.read(attempt)
        self._forget(attempt)

    def _lose(self) -> Iterator[Notice]:
        """The server is gone: kill what it has forked, make sure, and only then tell."""
        reason = self._end_server()
        for running in self._attempts.values():
            # The kernel kills each leader together with the server.
            if running.process is not None:
                with suppress(ProcessLookupError):
                    signal.pidfd_send_signal(running.process, signal.SIGKILL)
        for attempt, running in list(self._attempts.items()):
            if running.process is not None:
                select.select([running.process], [], [], 5.0)
            kill_marked(attempt)  # what the leader had started: the server can no longer do it
            yield from self._last_words(attempt)
            yield Ended(attempt, lost=reason)

    def _forget(self, attempt: str) -> None:
        running = self._attempts.pop(attempt)
        self._grace.drop(attempt)
        self._channels.close(attempt)
        if running.process is not None:
            os.close(running.process)

    def _kill_group(self, attempt: str) -> None:
        if self._server is not None and attempt in self._attempts:
            with suppress(OSError):  # the server has just died, and its children with it
                send_control(self._server.control, {"order": "kill", "attempt": attempt})


def _deliver(running: _Attempt) -> None:
    if running.process is not None:
        for each in running.signals:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(running.process, each)
        running.signals.clear()
