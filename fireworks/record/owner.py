"""Who owns a run, and whether the owner still lives.

The owner holds a lock on ``experiment.lock`` for as long as it lives: the system releases it
however the process ends. The file says who the owner is, and its time is the heartbeat, for
readers on other hosts, where the lock is not seen.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import time
from pathlib import Path
from typing import Any, final

from fireworks.errors import ExperimentInUse, ExperimentReadOnly
from fireworks.record.layout import LOCK

HEARTBEAT_SECONDS = 10.0
SILENT_SECONDS = 6 * HEARTBEAT_SECONDS  # after which an owner on another host counts as gone


@final
class Ownership:
    """The lock of the process that owns the run in ``folder``.

    Raises:
        ExperimentInUse: Another process owns it, or this one already does; the message names
            its pid and host.
        ExperimentReadOnly: The folder cannot be written to.
    """

    def __init__(self, folder: Path) -> None:
        try:
            self._descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise ExperimentReadOnly(
                f"{str(folder)!r} cannot be written to: {error.strerror}. "
                "Without write=True it can be read."
            ) from None
        try:
            self._take(folder)
            content = json.dumps({"pid": os.getpid(), "host": socket.gethostname()})
            os.truncate(self._descriptor, 0)
            os.pwrite(self._descriptor, content.encode(), 0)
        except BaseException:
            os.close(self._descriptor)
            raise

    def _take(self, folder: Path) -> None:
        # A reader that asks whether the owner lives holds a shared lock for some microseconds,
        # so that one refusal says nothing yet.
        deadline = time.monotonic() + 0.2
        while True:
            try:
                fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                if time.monotonic() < deadline:
                    time.sleep(0.005)
                    continue
            owner = read_owner(folder)
            raise ExperimentInUse(
                f"{folder.name!r} is in use by process {owner.get('pid', '?')} on host "
                f"{owner.get('host', '?')}. Wait until it ends, or stop it; reading is possible "
                f"meanwhile: load_experiment({str(folder)!r})"
            ) from None

    def heartbeat(self) -> None:
        """Show readers on other hosts that the owner lives."""
        os.utime(self._descriptor)

    def release(self) -> None:
        """Give the run up. In a forked child: close its copy, so that the lock is the parent's."""
        if self._descriptor >= 0:
            descriptor, self._descriptor = self._descriptor, -1
            os.close(descriptor)


def read_owner(folder: Path) -> dict[str, Any]:
    """The pid and host of the last owner, empty where they cannot be read."""
    try:
        owner = json.loads((folder / LOCK).read_bytes())
    except (OSError, ValueError):
        return {}
    return owner if isinstance(owner, dict) else {}


def owner_lives(folder: Path) -> bool:
    """Whether the process that owns the run in ``folder`` still lives, as far as can be seen.

    On the owner's host its lock tells; elsewhere, a heartbeat in the last minute.
    """
    try:
        descriptor = os.open(folder / LOCK, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        if read_owner(folder).get("host") == socket.gethostname():
            return False
        return time.time() - os.fstat(descriptor).st_mtime < SILENT_SECONDS
    finally:
        os.close(descriptor)
