"""Replacing a file so that a crash leaves either the old version or the new one."""

from __future__ import annotations

import os
import secrets
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path


def temporary_name(path: Path) -> Path:
    """A hidden name beside ``path`` that nothing else uses."""
    return path.with_name(f".{path.name[:200]}.{os.getpid()}-{secrets.token_hex(4)}.tmp")


def replace_file(path: Path, content: bytes) -> None:
    """Write ``content`` to ``path``; a reader, and a power loss, meet the old or the new file.

    Raises:
        OSError: The content could not be written; the previous version is untouched.
    """
    with replacing(path) as temporary, open(temporary, "wb") as stream:
        stream.write(content)


@contextmanager
def replacing(path: Path) -> Generator[Path]:
    """Give a temporary name to write to; at the end of the block the file takes ``path``'s place.

    Raises:
        OSError: It could not be written; the previous version is untouched. The message names
            ``path``, not the temporary name.
    """
    temporary = temporary_name(path)
    try:
        yield temporary
        # Before the rename: else a power loss may keep the new name with no content.
        with open(temporary, "rb") as stream:
            os.fsync(stream.fileno())
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        if error.filename != str(temporary):
            raise
        raise OSError(error.errno, error.strerror, str(path)) from None
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make the names in ``folder`` (a rename, a new file) survive a power loss."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
