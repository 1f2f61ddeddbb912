"""Deleting runs, and what killed processes left half-done."""

from __future__ import annotations

import os
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import final

from fireworks.errors import ExperimentNotFound
from fireworks.record.layout import experiment_folder, experiment_names
from fireworks.record.location import stored_elsewhere
from fireworks.record.owner import Ownership, owner_lives

# Folders that are renamed to their place when they are whole, or out of it before they are deleted.
_HALF_DONE = (".new-", ".copy-", ".restore-", ".removed-")


def remove_run(path: str | os.PathLike[str]) -> None:
    """Delete a run. It disappears at once, then its files are deleted.

    Raises:
        ExperimentNotFound: There is no experiment at ``path``.
        ExperimentInUse: A process owns it.
        ExperimentReadOnly: The folder cannot be written to.
        DatabaseUnreachable: The server that keeps its tables does not answer; nothing is deleted.
    """
    folder = experiment_folder(path)
    owner = Ownership(folder)
    try:
        removed = folder.with_name(f".removed-{folder.name[:200]}-{os.getpid()}")
        os.rename(folder, removed)
        try:
            if (store := stored_elsewhere(removed)) is not None:
                store.remove()
        except BaseException:
            os.rename(removed, folder)
            raise
    finally:
        owner.release()
    shutil.rmtree(removed)


@final
@dataclass(frozen=True)
class Leftover:
    """Something that a killed process left: where, and how many bytes."""

    path: Path
    size: int


def leftovers(root: str | os.PathLike[str], older_than: float = 3600.0) -> list[Leftover]:
    """What lies under ``root`` half-done, and has not changed for ``older_than`` seconds.

    That is folders of runs that were being made, copied, restored or removed, and files that
    were being replaced in runs that nobody owns.

    Raises:
        ExperimentNotFound: There is no folder ``root``.
    """
    place = Path(os.path.abspath(root))
    if not place.is_dir():
        raise ExperimentNotFound(f"There is no folder {str(root)!r} with experiments in it.")
    before = time.time() - older_than
    found: list[Leftover] = []
    for each in sorted(place.iterdir()):
        if each.name.startswith(_HALF_DONE) and each.is_dir() and not each.is_symlink():
            newest, size = _newest_and_size(each)
            if newest <= before and not owner_lives(each):
                found.append(Leftover(each, size))
    for name in experiment_names(place):
        if owner_lives(place / name):
            continue
        for folder, _, names in os.walk(place / name):
            for file in sorted(names):
                path = Path(folder, file)
                if file.startswith(".") and file.endswith(".tmp"):
                    status = path.lstat()
                    if status.st_mtime <= before:
                        found.append(Leftover(path, status.st_size))
    return found


def remove_leftovers(found: list[Leftover]) -> None:
    """Delete what ``leftovers`` found."""
    for each in found:
        if each.path.is_dir():
            if (store := stored_elsewhere(each.path)) is not None:
                store.remove()
            shutil.rmtree(each.path, ignore_errors=True)
        else:
            each.path.unlink(missing_ok=True)


def _newest_and_size(folder: Path) -> tuple[float, int]:
    newest, size = folder.lstat().st_mtime, 0
    for place, _, names in os.walk(folder):
        for each in names:
            try:
                status = Path(place, each).lstat()
            except FileNotFoundError:
                continue
            newest, size = max(newest, status.st_mtime), size + status.st_size
    return newest, size
