"""The parent's ends of the attempts' pipes, and one place to wait for all of them."""

from __future__ import annotations

import os
import selectors
import socket
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, final

from fireworks.factory.backend import Said
from fireworks.factory.wire import JSON, Pipe


@final
class Channels:
    """The pipes of attempts, by the attempts' ids."""

    def __init__(self) -> None:
        self._pipes: dict[str, Pipe] = {}
        self._selector = selectors.DefaultSelector()
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_read, False)
        os.set_blocking(self._wake_write, False)
        self._selector.register(self._wake_read, selectors.EVENT_READ)
        self._open = True

    def open(self, attempt: str) -> socket.socket:
        """Make a pipe; returns the attempt's end."""
        ours, theirs = socket.socketpair()
        pipe = self._pipes[attempt] = Pipe(ours)
        self._selector.register(pipe, selectors.EVENT_READ, attempt)
        return theirs

    def close(self, attempt: str) -> None:
        """Close our end."""
        pipe = self._pipes.pop(attempt)
        with suppress(KeyError):
            self._selector.unregister(pipe)
        pipe.close()

    def send(self, attempt: str, message: JSON) -> None:
        """Send an attempt's process a message; does nothing where either is gone."""
        if attempt in self._pipes:
            with suppress(OSError):
                self._pipes[attempt].send(message)

    def read(self, attempt: str) -> Iterator[Said]:
        """What an attempt's process has said, without waiting for more."""
        pipe = self._pipes.get(attempt)
        if pipe is None:
            return
        for message in pipe.arrived():
            yield Said(attempt, message)
        if pipe.closed:  # or it would be ready for ever: that the process ends is told elsewhere
            with suppress(KeyError):
                self._selector.unregister(pipe)

    def watch(self, file: Any) -> None:
        """Have `wait` return also when there is something to be read in another file."""
        self._selector.register(file, selectors.EVENT_READ)

    def unwatch(self, file: Any) -> None:
        """Wait for that file no more; before it is closed."""
        self._selector.unregister(file)

    def wait(self, timeout: float | None) -> list[str | None]:
        """Wait until something can be read.

        Args:
            timeout: Seconds; None waits for ever.

        Returns:
            The attempts that have said something, in order, and None for each watched file.
        """
        ready: list[str | None] = []
        for key, _ in self._selector.select(timeout):
            if key.fileobj == self._wake_read:
                with suppress(BlockingIOError):
                    os.read(self._wake_read, 4096)
            else:
                ready.append(key.data)
        return ready

    def wake(self) -> None:
        """Have `wait` return. Safe in signal handlers and other threads."""
        with suppress(BlockingIOError):  # so full that it will return anyway
            os.write(self._wake_write, b"\0")

    def close_all(self) -> None:
        """Close everything; may be called twice."""
        if not self._open:
            return
        self._open = False
        for attempt in list(self._pipes):
            self.close(attempt)
        self._selector.close()
        os.close(self._wake_read)
        os.close(self._wake_write)
