"""What goes between the processes of a sweep: JSON objects, and file descriptors beside them."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any, TypeAlias, final

JSON: TypeAlias = dict[str, Any]

_LARGEST = 1 << 18
_READ = 1 << 16


@final
class Pipe:
    """One end of an attempt's pipe, which carries JSON objects, a line each. For one thread.

    Args:
        end: A stream socket; the pipe owns it.

    Attributes:
        closed: Whether the other end is known to be gone.
    """

    def __init__(self, end: socket.socket) -> None:
        self._socket = end
        self._unread = bytearray()
        self.closed = False

    def fileno(self) -> int:
        """The descriptor, for those who wait for it."""
        return self._socket.fileno()

    def send(self, message: JSON) -> None:
        """Send one object; OSError where the other end is gone."""
        self._socket.sendall(json.dumps(message).encode() + b"\n")

    def receive(self) -> JSON:
        """Wait for one object; EOFError where the other end is gone."""
        while (end := self._unread.find(b"\n")) < 0:
            if not self._read(0):
                raise EOFError("the other end of the pipe is gone")
        return self._take(end)

    def arrived(self) -> Iterator[JSON]:
        """The objects that are there, without waiting: also not for the rest of one."""
        with suppress(BlockingIOError):
            while self._read(socket.MSG_DONTWAIT) == _READ:
                pass
        while (end := self._unread.find(b"\n")) >= 0:
            yield self._take(end)

    def close(self) -> None:
        """Close this end."""
        self._socket.close()

    def _read(self, flags: int) -> int:
        try:
            content = self._socket.recv(_READ, flags)
        except ConnectionResetError:
            content = b""
        self._unread += content
        self.closed = not content
        return len(content)

    def _take(self, end: int) -> JSON:
        line = bytes(self._unread[:end])
        del self._unread[: end + 1]
        return json.loads(line)


def send_control(control: socket.socket, message: JSON, files: Sequence[int] = ()) -> None:
    """Send one object and copies of file descriptors over a SOCK_SEQPACKET socket."""
    socket.send_fds(control, [json.dumps(message).encode()], list(files))


def receive_control(control: socket.socket) -> tuple[JSON | None, list[int]]:
    """Wait for one object and its file descriptors; None where the other end is gone."""
    try:
        content, files, _, _ = socket.recv_fds(control, _LARGEST, 4, socket.MSG_CMSG_CLOEXEC)
    except ConnectionResetError:
        return None, []
    return (json.loads(content) if content else None), files
