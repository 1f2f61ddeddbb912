"""Where the attempts of a sweep run: the interface under the Factory.

Four methods make a backend: submit, send, poll and kill. One that has something to prepare, to wake
or to free has also start, wake and close. All pass the tests in ``tests/factory/test_backends.py``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from fireworks.factory.wire import JSON


@dataclass(frozen=True)
class Job:
    """One attempt to be run.

    Attributes:
        id: A token of 32 characters that no other attempt has.
        description: What the process is told: ``trial, attempt, params, seed, experiment`` (its
            folder), ``train`` (its import name, or None), ``objective``, and what it is to keep to:
            ``threads``, ``devices``, ``memory`` (bytes above what it begins with) and ``progress``
            (seconds between its signs of life); the last three may be None or missing.
        train: Descriptor of a file with the pickle of ``train``; None where its name says enough.
        folder: Where ``stdout.txt`` and ``stderr.txt`` go; it exists.
    """

    id: str
    description: JSON
    train: int | None
    folder: Path

    @property
    def message(self) -> JSON:
        """What the attempt's process is sent first."""
        return {**self.description, "folder": str(self.folder)}


@dataclass(frozen=True)
class Started:
    """An attempt has a process now."""

    id: str
    pid: int


@dataclass(frozen=True)
class Said:
    """An attempt's process has sent a message.

    ``{"ready": bytes}`` comes first: ``train`` is about to be called, and the process has so much
    memory of its own. ``{"report": [step, value]}`` waits for an answer, ``{"progress": true}`` is
    a sign of life, and ``{"end": …}`` says what came of it.
    """

    id: str
    message: JSON


@dataclass(frozen=True)
class Ended:
    """An attempt's processes are gone, and all that they said was handed out before.

    Attributes:
        id: The attempt.
        exit_code: Of its first process; None where a signal ended it or nothing is known.
        signal: Number of the signal that ended it, or None.
        peak_memory: Its largest resident set in bytes, or None where nothing is known.
        lost: Why the attempt ended through no doing of its own; None for any other end.
    """

    id: str
    exit_code: int | None = None
    signal: int | None = None
    peak_memory: int | None = None
    lost: str | None = None


Notice: TypeAlias = Started | Said | Ended


class Backend(ABC):
    """Runs attempts in processes and tells what becomes of them.

    It serves one Factory at a time, from one thread.
    """

    @abstractmethod
    def submit(self, job: Job) -> None:
        """Start an attempt. What becomes of it is told by :meth:`poll`.

        Raises:
            SweepFailed: No process can be started at all.
        """

    @abstractmethod
    def send(self, attempt: str, message: JSON) -> None:
        """Answer an attempt's process; does nothing where it is gone."""

    @abstractmethod
    def poll(self, timeout: float | None = None) -> list[Notice]:
        """Wait until something happened and return it, in its order.

        Args:
            timeout: Seconds to wait at the most; None waits for ever.
        """

    @abstractmethod
    def kill(self, attempt: str, *, grace: float) -> None:
        """Ask an attempt's process to end (SIGTERM), and end its whole group after a while.

        Args:
            attempt: Its id; one that has ended is left alone.
            grace: Seconds between the two; 0 kills at once.
        """

    def start(self) -> None:  # noqa: B027 - one that has nothing to do is a backend, too
        """Prepare what can be prepared; called before each run of a sweep. Here: nothing.

        Raises:
            SweepFailed: No process can be started at all.
        """

    def wake(self) -> None:  # noqa: B027
        """Have :meth:`poll` return, now or when it is next called. Safe in a signal handler.

        Here it does nothing, so that Ctrl-C is answered when something has happened.
        """

    def close(self) -> None:  # noqa: B027
        """End every attempt and free what is held. What runs then is not told of any more."""
