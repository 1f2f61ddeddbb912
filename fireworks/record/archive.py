"""A run as one file, or as a copy elsewhere: whole, consistent, and without any trace of where."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
import zipfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from fireworks.errors import DamagedFile, ExperimentNotFound, WrongValue
from fireworks.record.atomic import replacing, sync_folder
from fireworks.record.index import Index, read_index
from fireworks.record.layout import DATABASE, INDEX, LOCK, check_name, experiment_folder
from fireworks.record.location import store_of
from fireworks.record.sqlite import SQLiteStore

_LEFT_OUT = frozenset(
    {INDEX, LOCK, DATABASE, f"{DATABASE}-wal", f"{DATABASE}-shm", f"{DATABASE}-journal"}
)


def copy_run(run: Path, target: Path) -> Path:
    """Copy a run to ``target``, which must not exist; also while others write to it.

    The copy's database is one consistent state of the original's, in one file, wherever the
    original keeps its tables.

    Raises:
        WrongValue: ``target`` exists, or the run holds a symbolic link or special file.
        OSError: The disk is full; nothing is left of the copy.
    """
    target = Path(os.path.abspath(target))
    if target.exists():
        raise WrongValue(f"{str(target)!r} is there already: a copy replaces nothing.")
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=".copy-", dir=target.parent))
    try:
        for path, name in _files(run):
            place = temporary / name
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, place)
        _copy_tables(run, temporary / DATABASE).write(temporary)
        os.rename(temporary, target)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    sync_folder(target.parent)
    return target


def archive_run(run: Path, target: Path) -> Path:
    """Write a run to one ZIP file, replacing it when all is written.

    Raises:
        WrongValue: The run holds a symbolic link or a special file, or ``target`` is a folder.
        OSError: The disk is full; the previous file stays.
    """
    target = Path(os.path.abspath(target))
    if target.is_dir():
        raise WrongValue(f"{str(target)!r} is a folder: give the archive a file's name.")
    target.parent.mkdir(parents=True, exist_ok=True)
    with (
        replacing(target) as temporary,
        tempfile.TemporaryDirectory() as folder,
        zipfile.ZipFile(temporary, "x", zipfile.ZIP_DEFLATED, strict_timestamps=False) as packed,
    ):
        database = Path(folder, DATABASE)
        index = _copy_tables(run, database)
        # The index first, so that it is found without reading on.
        packed.writestr(f"{run.name}/{INDEX}", index.to_json())
        for path, name in [*sorted(_files(run)), (database, DATABASE)]:
            packed.write(path, f"{run.name}/{name}")
    return target


def restore_run(archive: str | os.PathLike[str], root: str | os.PathLike[str]) -> Path:
    """Unpack an archive into ``root``, complete or not at all; no file leaves the run's folder.

    Returns:
        The run's folder.

    Raises:
        ExperimentNotFound: There is no such file.
        DamagedFile: It is no archive of a run, or one that was tampered with.
        WrongValue: The run is in ``root`` already, or ``root`` is no folder.
    """
    place = Path(os.path.abspath(root))
    with _opened(archive) as (packed, name, entries):
        target = place / name
        if target.exists():
            raise WrongValue(f"{str(target)!r} is there already. Restore it elsewhere with root=…")
        try:
            place.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError):
            raise WrongValue(f"root={str(root)!r} is not a folder, and not below one.") from None
        temporary = Path(tempfile.mkdtemp(prefix=".restore-", dir=place))
        try:
            for entry, parts in entries:
                path = temporary.joinpath(*parts)
                path.parent.mkdir(parents=True, exist_ok=True)
                with packed.open(entry) as stream, open(path, "xb") as copy:
                    shutil.copyfileobj(stream, copy)
            experiment_folder(temporary)
            index = read_index(temporary)
            with SQLiteStore(temporary / DATABASE).reading():
                pass
            if index.store is not None:
                raise DamagedFile(f"{str(archive)!r} says that its tables are elsewhere.")
            if index.id != name:
                raise DamagedFile(f"{str(archive)!r} says {name!r} and holds {index.id!r:.100}.")
            os.rename(temporary, target)
        except (zipfile.BadZipFile, OSError, NotImplementedError, RuntimeError) as error:
            shutil.rmtree(temporary, ignore_errors=True)
            if isinstance(error, OSError) and not isinstance(error, ExperimentNotFound):
                raise
            raise DamagedFile(f"{str(archive)!r} cannot be unpacked: {error}.") from None
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
    sync_folder(place)
    return target


@contextmanager
def _opened(
    archive: str | os.PathLike[str],
) -> Generator[tuple[zipfile.ZipFile, str, list[tuple[zipfile.ZipInfo, tuple[str, ...]]]]]:
    """An archive, the name of the run in it, and its files with the parts of their paths."""
    try:
        packed = zipfile.ZipFile(archive)
    except FileNotFoundError:
        raise ExperimentNotFound(f"There is no archive {str(archive)!r}.") from None
    except (zipfile.BadZipFile, IsADirectoryError, NotImplementedError) as error:
        raise DamagedFile(f"{str(archive)!r} is no ZIP archive: {error}.") from None
    with packed:
        entries: list[tuple[zipfile.ZipInfo, tuple[str, ...]]] = []
        seen: set[tuple[str, ...]] = set()
        for each in packed.infolist():
            parts = _safe_parts(each, archive)
            if each.is_dir():
                continue
            if len(parts) < 2 or parts in seen or parts[1] in _LEFT_OUT - {INDEX, DATABASE}:
                raise DamagedFile(f"{str(archive)!r} is no archive of a run: {each.filename!r}.")
            seen.add(parts)
            entries.append((each, parts[1:]))
        names = {parts[0] for parts in seen}
        if len(names) != 1:
            raise DamagedFile(
                f"{str(archive)!r} is no archive of a run: it holds {len(names)} runs."
            )
        try:
            name = check_name(names.pop(), what="The run's name")
        except WrongValue as error:
            raise DamagedFile(f"{str(archive)!r}: {error}") from None
        free = shutil.disk_usage(Path(archive).parent).free
        if sum(each.file_size for each, _ in entries) > max(free, 2**30):
            raise DamagedFile(f"{str(archive)!r} would fill the disk when it is unpacked.")
        yield packed, name, entries


def _safe_parts(entry: zipfile.ZipInfo, archive: object) -> tuple[str, ...]:
    name = entry.filename
    parts = PurePosixPath(name).parts
    kind = stat.S_IFMT(entry.external_attr >> 16)
    if (
        name.startswith("/")
        or "\\" in name
        or "\0" in (entry.orig_filename or "")
        or any(each in ("", ".", "..") or each.endswith(":") for each in parts)
        or kind not in (0, stat.S_IFREG, stat.S_IFDIR)
    ):
        raise DamagedFile(
            f"{str(archive)!r} is not safe to unpack: {name!r} would leave the folder, or is no "
            "plain file."
        )
    return parts


def _files(run: Path) -> list[tuple[Path, str]]:
    """The files of a run besides its database, with their names relative to it."""
    found: list[tuple[Path, str]] = []
    for folder, folders, names in os.walk(run):
        for each in [*folders, *names]:
            path = Path(folder, each)
            mode = path.lstat().st_mode
            if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
                raise WrongValue(
                    f"{str(path)!r} is a symbolic link or a special file, which cannot be copied "
                    "with the run. Replace it by what it points to, or remove it."
                )
        for each in names:
            path = Path(folder, each)
            name = path.relative_to(run).as_posix()
            half_written = each.startswith(".") and each.endswith(".tmp")
            if name not in _LEFT_OUT and not half_written:
                found.append((path, name))
    return found


def _copy_tables(run: Path, target: Path) -> Index:
    """Copy one state of a run's tables to a SQLite file, and return the index of the copy."""
    index = read_index(run)
    store_of(run, index.store).copy_to(target)
    index.store = None
    if index.status == "killed":  # which is for readers to see, of the copy too
        index.status = "running"
    return index
