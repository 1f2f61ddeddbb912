"""Files of states: written whole or not at all, in the background, and read without pickle."""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Generic, TypeVar, final

import torch

from fireworks.errors import DamagedFile, NotRecorded
from fireworks.record.atomic import sync_folder, temporary_name

VERSION = 1
"""Of what a checkpoint holds."""

Result = TypeVar("Result")


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
        except BaseException as error:
            _let_go(error)
            temporary.unlink(missing_ok=True)
            raise
        sync_folder(path.parent)
    except (OSError, RuntimeError) as error:
        raise NotRecorded(
            f"The checkpoint {str(path)!r} could not be written: {error}. Make room on the disk; "
            "the checkpoints written before are kept."
        ) from error


def _let_go(error: BaseException | None) -> None:
    """Empty the frames of an error: torch's writer, in one, keeps its file open, the disk full."""
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error = error.__context__


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
class BackgroundWork(Generic[Result]):
    """One piece of work at a time, done by a thread.

    The thread is kept from one to the next: to start one makes the caller wait until it runs, which
    takes milliseconds where the cores are busy. Until `close`, the interpreter waits for the work
    when it ends.
    """

    def __init__(self) -> None:
        self._thread: ThreadPoolExecutor | None = None
        self._work: Future[Result] | None = None

    def open(self) -> None:
        """Start the thread."""
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
            self._thread.submit(int)  # it starts with the first work

    def start(self, work: Callable[[], Result]) -> None:
        """Begin a piece of work; `wait` was called for the one before."""
        assert self._work is None
        self.open()
        assert self._thread is not None
        self._work = self._thread.submit(work)

    def running(self) -> bool:
        """Whether a piece of work is being done."""
        return self._work is not None and not self._work.done()

    def finished(self) -> bool:
        """Whether a piece of work has been done that nobody waited for."""
        return self._work is not None and self._work.done()

    def wait(self) -> Result | None:
        """Return the result of the work when it is done; None where there was none.

        Raises:
            Exception: What went wrong in it.
        """
        work, self._work = self._work, None
        return None if work is None else work.result()

    def close(self) -> None:
        """End the thread; `start` begins another one."""
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.shutdown()
