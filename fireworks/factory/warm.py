"""The backend whose processes run many trials each: an attempt starts in a millisecond."""

from __future__ import annotations

import hashlib
import os
import uuid
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, TypeAlias, final

from fireworks.factory.backend import Backend, Ended, Job, Notice, Said, Started
from fireworks.factory.wire import JSON

_Key: TypeAlias = tuple[Any, ...]


@dataclass
class _Worker:
    id: str
    key: _Key
    pid: int = 0
    jobs: int = 0  # that it was given
    attempt: str | None = None  # what it runs
    ready: bool = False  # whether it has begun with that


@final
class Warm(Backend):
    """Runs attempts in processes of another backend, each of which runs many, one by one.

    A process ends with any attempt that fails, is killed, leaves a thread or a process behind, and
    after a number of attempts. Until then, what a trial leaves reaches the trials after it in the
    same process: module and class attributes, ``os.environ``, the working directory, signal
    handlers, open files, torch's defaults, cached and leaked memory, on the GPU as well. Seeds,
    threads and where printed text goes are set for each.

    Args:
        inner: Runs the processes; owned, and closed together with this.
        attempts: After how many a process ends.
    """

    def __init__(self, inner: Backend, *, attempts: int = 100) -> None:
        self._inner = inner
        self._most = attempts
        self._workers: dict[str, _Worker] = {}
        self._of: dict[str, _Worker] = {}  # by the attempt that they run
        self._news: deque[Notice] = deque()
        self._train: tuple[int, bytes] = (-1, b"")  # the last file seen, and its digest

    @property
    def waiting(self) -> list[int]:
        """Pids of the processes that wait for an attempt."""
        return [each.pid for each in self._workers.values() if each.attempt is None]

    def start(self) -> None:
        """Have the inner backend start what it can start ahead."""
        self._inner.start()

    def submit(self, job: Job) -> None:
        """Give the attempt to a process that waits, or to a new one."""
        key = self._key(job)
        for each in list(self._workers.values()):
            if each.attempt is None and each.key[0] != key[0]:
                self._inner.kill(each.id, grace=0)  # of a sweep with another train
                del self._workers[each.id]
        waiting = (each for each in self._workers.values() if not each.attempt and each.key == key)
        worker = next(waiting, None)
        begins = worker is None
        # The same beginning: what is left of a run is found by that.
        worker = worker or _Worker(job.id[:16] + uuid.uuid4().hex[:16], key)
        worker.attempt, worker.ready = job.id, False
        worker.jobs += 1
        self._workers[worker.id] = self._of[job.id] = worker
        description = {**job.description, "stay": worker.jobs < self._most}
        order = replace(job, id=worker.id, description=description)
        if begins:
            self._inner.submit(order)
        else:
            self._news.append(Started(job.id, worker.pid))
            self._inner.send(worker.id, order.message)

    def send(self, attempt: str, message: JSON) -> None:
        """Answer an attempt's process; does nothing where it is gone."""
        if attempt in self._of:
            self._inner.send(self._of[attempt].id, message)

    def poll(self, timeout: float | None = None) -> list[Notice]:
        """Wait until something happened and return it, in its order."""
        notices = list(self._news)
        self._news.clear()
        for notice in self._inner.poll(0 if notices else timeout):
            worker = self._workers.get(notice.id)
            if worker is not None:
                notices.extend(self._translated(worker, notice))
        return notices

    def kill(self, attempt: str, *, grace: float) -> None:
        """Ask the attempt's process to end, and end its group after a grace period."""
        if attempt in self._of:
            self._inner.kill(self._of[attempt].id, grace=grace)

    def wake(self) -> None:
        """Have poll return."""
        self._inner.wake()

    def close(self) -> None:
        """End every process."""
        self._inner.close()
        self._workers.clear()
        self._of.clear()

    def _translated(self, worker: _Worker, notice: Notice) -> Iterator[Notice]:
        """What a process's notice means for the attempt that it runs."""
        attempt = worker.attempt
        match notice:
            case Started(pid=pid):
                worker.pid = pid
                if attempt is not None:
                    yield Started(attempt, pid)
            case Said(message=message):
                if attempt is None:
                    return
                worker.ready = True
                yield Said(attempt, message)
                if message.get("stays"):
                    self._release(worker)
                    yield Ended(attempt, peak_memory=message["peak_memory"])
            case Ended():
                self._release(worker)
                del self._workers[worker.id]
                if attempt is not None:
                    lost = notice.lost
                    if lost is None and worker.jobs > 1 and not worker.ready:
                        lost = "its process had ended before it could begin"
                    yield replace(notice, id=attempt, lost=lost)

    def _release(self, worker: _Worker) -> None:
        if worker.attempt is not None:
            del self._of[worker.attempt]
            worker.attempt = None

    def _key(self, job: Job) -> _Key:
        """What a process must have begun with, to be fit for a job; first of all: which train."""
        train: Any = job.description["train"] and tuple(job.description["train"])
        if job.train is not None:
            inode = os.fstat(job.train).st_ino
            if inode != self._train[0]:
                content = os.pread(job.train, os.fstat(job.train).st_size, 0)
                self._train = inode, hashlib.sha256(content).digest()
            train = self._train[1]
        devices = job.description.get("devices")
        return train, devices and tuple(devices), job.description.get("memory")
