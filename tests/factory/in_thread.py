"""A backend that runs attempts in threads of the sweep's own process: starting one costs nothing.

A SIGKILL ends the sweep and its trials at once, so that what a crash of the parent leaves behind
can be tried hundreds of times in seconds.
"""

from __future__ import annotations

import queue
import socket
import threading
from collections.abc import Callable
from typing import Any, final

from fireworks.factory.backend import Backend, Ended, Job, Notice, Said, Started
from fireworks.factory.outcome import run_train
from fireworks.factory.trial import Trial
from fireworks.factory.wire import JSON, Pipe


@final
class InThread(Backend):
    """Runs attempts in threads; they cannot be killed.

    Args:
        train: What the attempts call, as the Factory's trials would.
    """

    def __init__(self, train: Callable[[Trial], Any]) -> None:
        self._train = train
        self._news: queue.Queue[Notice | None] = queue.Queue()
        self._pipes: dict[str, Pipe] = {}

    def submit(self, job: Job) -> None:
        ours, theirs = (Pipe(each) for each in socket.socketpair())
        self._pipes[job.id] = ours
        threading.Thread(target=self._run, args=(job, theirs), daemon=True).start()
        threading.Thread(target=self._hear, args=(job.id, ours), daemon=True).start()

    def send(self, attempt: str, message: JSON) -> None:
        self._pipes[attempt].send(message)

    def poll(self, timeout: float | None = None) -> list[Notice]:
        notice = self._news.get(timeout=timeout)
        return [] if notice is None else [notice]

    def kill(self, attempt: str, *, grace: float) -> None:
        raise NotImplementedError("a thread cannot be killed")

    def wake(self) -> None:
        self._news.put(None)

    def close(self) -> None:
        for each in self._pipes.values():
            each.close()

    def _run(self, job: Job, pipe: Pipe) -> None:
        message = run_train(lambda: self._train, Trial(job.message, pipe), job.message)
        pipe.send(message)
        pipe.close()

    def _hear(self, attempt: str, pipe: Pipe) -> None:
        self._news.put(Started(attempt, threading.get_ident() % 2**31))
        try:
            while True:
                self._news.put(Said(attempt, pipe.receive()))
        except EOFError:
            self._news.put(Ended(attempt, exit_code=0))
