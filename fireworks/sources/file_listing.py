"""Which files a source reads, and whether they are still the ones it found."""

from __future__ import annotations

import glob
import hashlib
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from fireworks.errors import FileChanged, FilesNotFound, WrongType, WrongValue
from fireworks.source import OnError, failures

T = TypeVar("T")

Paths = str | os.PathLike[str] | Iterable[str | os.PathLike[str]]
"""A file, a glob, a folder, or a list of these."""


@dataclass(frozen=True)
class DataFile:
    """A file as it was found.

    Attributes:
        path: Where it is, absolute.
        size: Bytes.
        mtime_ns: When it was last written, in nanoseconds.
    """

    path: str
    size: int
    mtime_ns: int

    def __str__(self) -> str:
        return self.path

    def check(self) -> None:
        """Raise if the file is no longer the one that was found.

        Raises:
            FileChanged: It has vanished, or has another size or time of writing.
        """
        try:
            now = os.stat(self.path)
        except FileNotFoundError:
            raise FileChanged(
                f"{self} has vanished since its source was made. Put it back, or make the source "
                "anew."
            ) from None
        if (now.st_size, now.st_mtime_ns) != (self.size, self.mtime_ns):
            raise FileChanged(
                f"{self} was written to since its source was made ({self.size} bytes then, "
                f"{now.st_size} now). Its rows cannot be told apart from the old ones: make the "
                "source anew."
            )


def find_files(paths: Paths, suffixes: Sequence[str]) -> tuple[DataFile, ...]:
    """Find the files that are meant.

    A glob (``**`` descends) gives its matches and a folder the files in it, at any depth, that end
    in one of ``suffixes`` and whose names do not begin with ``.`` or ``_``; both sorted by path.
    The entries of a list stay in their order.

    Raises:
        FilesNotFound: A file does not exist, or a glob or folder gives none.
        WrongValue: A file is named twice, or the list is empty.
        WrongType: Something that is no path.
    """
    if isinstance(paths, str | os.PathLike):
        entries = [paths]
    elif isinstance(paths, Iterable):
        entries = list(paths)
    else:
        raise WrongType(f"Files are named by a path, a glob, a folder or a list, not {paths!r}.")
    found: list[str] = []
    for entry in entries:
        if not isinstance(entry, str | os.PathLike):
            raise WrongType(f"A path is a str or a Path, not {entry!r}.")
        found.extend(_expanded(os.path.abspath(os.path.expanduser(entry)), suffixes))
    if not found:
        raise WrongValue("The list of files is empty.")
    if len(set(found)) < len(found):
        twice = next(path for path in found if found.count(path) > 1)
        raise WrongValue(f"{twice} is named twice. To read rows again, use RepeaterSource.")
    return tuple(_stamped(path) for path in found)


def _expanded(path: str, suffixes: Sequence[str]) -> list[str]:
    if os.path.isdir(path):
        files = sorted(str(each) for each in Path(path).rglob("*") if _is_data(each, path))
        if chosen := [each for each in files if each.lower().endswith(tuple(suffixes))]:
            return chosen
        there = ", ".join(os.path.basename(each) for each in files[:5]) or "nothing"
        raise FilesNotFound(
            f"The folder {path} has no file that ends in {' or '.join(suffixes)}; there is: "
            f"{there}. Name the files by a glob or a list."
        )
    if glob.has_magic(path) and not os.path.exists(path):
        matches = sorted(each for each in glob.glob(path, recursive=True) if os.path.isfile(each))
        if not matches:
            raise FilesNotFound(f"No file matches {path}.")
        return matches
    return [path]


def _is_data(path: Path, folder: str) -> bool:
    parts = path.relative_to(folder).parts
    return path.is_file() and not any(part.startswith((".", "_")) for part in parts)


def _stamped(path: str) -> DataFile:
    try:
        found = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        raise FilesNotFound(f"There is no file {path}.") from None
    return DataFile(path, found.st_size, found.st_mtime_ns)


def described(files: Sequence[DataFile]) -> dict[str, Any]:
    """Return what tells these files from others, wherever they lie: names and sizes."""
    digest = hashlib.sha256()
    for file in files:
        digest.update(f"{os.path.basename(file.path)}\0{file.size}\0".encode())
    first = os.path.basename(files[0].path)
    return {"files": len(files), "first": first, "digest": digest.hexdigest()[:16]}


def retried(on_error: OnError, action: Callable[[], T]) -> T:
    """Return what an action returns, tried again as ``on_error`` says where the system fails.

    Only failures of the system (``OSError``) may pass; a damaged or changed file stays so.
    """
    return failures.retried(on_error, action, OSError, unless=(FilesNotFound,))


def is_of_the_system(error: Exception) -> bool:
    """Whether the system failed (a disk, a network), not the content of a file.

    Arrow and Pillow raise OSError for bad content too, without an error number.
    """
    return isinstance(error, OSError) and error.errno is not None
