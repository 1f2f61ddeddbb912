"""Where the attempts of a sweep run: the interface under the Factory."""

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
        description: What the process is told first: trial, attempt, params, seed and so on.
        train: Descriptor of a file with the pickle of ``train``; None where its name says enough.
        folder: Where ``stdout.txt`` and ``stderr.txt`` go; it exists.
    """

    id: str
    description: JSON
    train: int | None
    folder: Path


@dataclass(frozen=True)
class Started:
    """An attempt has a process now."""

    id: str
    pid: int


@dataclass(frozen=True)
class Said:
    """An attempt's process has sent a message."""

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

    @abstractmethod
    def wake(self) -> None:
        """Have :meth:`poll` return, now or when it is next called. Safe in a signal handler."""

    @abstractmethod
    def close(self) -> None:
        """End every attempt and free what is held. What runs then is not told of any more."""
