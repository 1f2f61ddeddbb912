"""What goes between the processes of a sweep: JSON objects, and file descriptors beside them."""

from __future__ import annotations

import json
import socket
from collections.abc import Sequence
from multiprocessing.connection import Connection
from typing import Any, TypeAlias

JSON: TypeAlias = dict[str, Any]

_LARGEST = 1 << 18


def send(connection: Connection, message: JSON) -> None:
    """Send one object to the other end of an attempt's pipe."""
    connection.send_bytes(json.dumps(message).encode())


def receive(connection: Connection) -> JSON:
    """Wait for one object; EOFError where the other end is gone."""
    return json.loads(connection.recv_bytes())


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
