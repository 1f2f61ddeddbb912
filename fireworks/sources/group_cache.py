"""Decoded row groups, kept while there is room."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future

from fireworks.message import Message


class GroupCache:
    """The row groups that were used last, as many as fit.

    Thread-safe: a group that several threads ask for at once is decoded once.

    Args:
        decode: Returns a group.
        max_bytes: What the groups may take together; the last one is kept even if it is larger.
    """

    def __init__(self, decode: Callable[[int], Message], max_bytes: int) -> None:
        self._decode = decode
        self._max_bytes = max_bytes
        self._groups: OrderedDict[int, Future[Message]] = OrderedDict()
        self._bytes: dict[int, int] = {}
        self._lock = threading.Lock()

    def get(self, group: int) -> Message:
        """Return a group, decoded now if it is not held. It is shared: copy, never write."""
        with self._lock:
            future = self._groups.get(group)
            first = future is None
            if future is None:
                self._groups[group] = future = Future()
            self._groups.move_to_end(group)
        if first:
            try:
                message = self._decode(group)
            except BaseException as error:
                with self._lock:
                    self._groups.pop(group, None)
                future.set_exception(error)
                raise
            future.set_result(message)
            self._make_room(group, message.nbytes)
        return future.result()

    def peek(self, group: int) -> Message | None:
        """Return a group if it is held."""
        with self._lock:
            future = self._groups.get(group)
        return future.result() if future is not None and future.done() else None

    def resize(self, max_bytes: int) -> None:
        """Change what the groups may take together; felt when the next one comes."""
        self._max_bytes = max_bytes

    def _make_room(self, group: int, size: int) -> None:
        with self._lock:
            self._bytes[group] = size
            held = sum(self._bytes.values())
            for oldest in list(self._groups):
                if held <= self._max_bytes or oldest == group:
                    break
                if oldest in self._bytes:  # otherwise it is being decoded
                    held -= self._bytes.pop(oldest)
                    del self._groups[oldest]
