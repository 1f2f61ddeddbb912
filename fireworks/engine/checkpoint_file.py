"""Files of states: written whole or not at all, in the background, and read without pickle."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, final

import torch

from fireworks.errors import DamagedFile, NotRecorded
from fireworks.record.atomic import sync_folder, temporary_name


def write_state(path: Path, content: Any) -> None:
    """Write a state to a file; a reader, and a power loss, meet the old or the new one.

    Raises:
        NotRecorded: The disk is full, or failed. What was there before is untouched.
    """
    temporary = temporary_name(path)
    try:
        try:
            torch.save(content, temporary)
            descriptor = os.open(temporary, os.O_RDWR)
            try:
                # Before the rename: else a power loss may keep the new name with no content.
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            os.replace(temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        sync_folder(path.parent)
    except (OSError, RuntimeError) as error:
        raise NotRecorded(
            f"The checkpoint {str(path)!r} could not be written: {error}. Make room on the disk; "
            "the checkpoints written before are kept."
        ) from error


def read_state(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read what a checkpoint holds; nothing in it is run.

    Returns:
        ``parts`` has the states of model, optimizer and so on, by name, on the CPU.

    Raises:
        DamagedFile: It cannot be read.
    """
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever a damaged archive makes of torch
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DamagedFile(f"{os.fspath(path)!r} cannot be read: {reason}") from error


@final
class BackgroundWork:
    """One piece of work at a time, done in a thread of its own."""

    def __init__(self) -> None:
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None

    def start(self, work: Callable[[], None]) -> None:
        """Begin a piece of work; `wait` was called for the one before."""
        assert self._thread is None

        def run() -> None:
            try:
                work()
            except BaseException as error:
                self._error = error

        # Not a daemon: the interpreter waits for it when it ends.
        self._thread = threading.Thread(target=run, name="checkpoint")
        self._thread.start()

    def running(self) -> bool:
        """Whether a piece of work is being done."""
        return self._thread is not None and self._thread.is_alive()

    def finished(self) -> bool:
        """Whether a piece of work has been done that nobody waited for."""
        return self._thread is not None and not self._thread.is_alive()

    def wait(self) -> bool:
        """Return when the work is done; whether there was any.

        Raises:
            Exception: What went wrong in it.
        """
        if self._thread is None:
            return False
        self._thread.join()
        self._thread = None
        error, self._error = self._error, None
        if error is not None:
            raise error
        return True
