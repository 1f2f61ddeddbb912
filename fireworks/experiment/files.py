"""Files of an experiment: replaced only when complete, copied with their checksums."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Self, final

from fireworks.errors import WrongValue
from fireworks.record.atomic import replace_file, sync_folder, temporary_name
from fireworks.record.rewinding import position
from fireworks.record.schema import NO_TRIAL
from fireworks.record.store import Connection, Store

if TYPE_CHECKING:
    import sqlalchemy

    from fireworks.source import Graph

_MODES = frozenset(
    base + plus + kind for base in "rwax" for plus in ("", "+") for kind in ("", "b", "t")
) | frozenset(base + kind + "+" for base in "rwax" for kind in ("b", "t"))


def open_file(path: Path, mode: str) -> IO[Any]:
    """Open a file as ``open`` does, text as UTF-8; "w" and "wb" replace it when they are closed.

    Raises:
        WrongValue: The mode is none of ``open``'s.
        OSError: As from ``open``.
    """
    if mode not in _MODES:
        raise WrongValue(f"mode must be one of open()'s, such as 'w', 'rb' or 'a'; got {mode!r}.")
    if "r" not in mode:
        path.parent.mkdir(parents=True, exist_ok=True)
    if "w" in mode and "+" not in mode:
        raw = _Replacement(path)
        return raw if "b" in mode else _ReplacementText(raw)
    return open(path, mode, encoding=None if "b" in mode else "utf-8")


@final
class _Replacement(io.BufferedWriter):
    """A binary file written under a temporary name, which takes the place of ``path`` at last."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._temporary = temporary_name(path)
        super().__init__(io.FileIO(self._temporary, "x"))

    @property
    def name(self) -> str:
        return str(self._path)

    def close(self) -> None:
        if self.closed:
            return
        try:
            self.flush()
            os.fsync(self.fileno())
        except BaseException:
            self.discard()
            raise
        super().close()
        os.replace(self._temporary, self._path)
        sync_folder(self._path.parent)

    def discard(self) -> None:
        """Close it and leave the previous version in place."""
        try:
            self.raw.close()
            super().close()
        except (OSError, ValueError):  # what is still buffered has nowhere to go, as it should
            pass
        finally:
            self._temporary.unlink(missing_ok=True)

    def __exit__(self, kind: object, error: BaseException | None, *_: object) -> None:
        self.close() if error is None else self.discard()


@final
class _ReplacementText(io.TextIOWrapper):
    """The same for text."""

    def __init__(self, raw: _Replacement) -> None:
        self._replacement = raw
        super().__init__(raw, encoding="utf-8")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, *_: object) -> None:
        if error is not None:
            self._replacement.discard()
            with contextlib.suppress(ValueError):  # text still buffered has nowhere to go
                self.close()
        else:
            self.close()


@final
@dataclass(frozen=True)
class Copied:
    """A file that was copied: where it lies, its size in bytes and its checksum."""

    path: Path
    size: int
    sha256: str


def copy_into(source: Path, target: Path) -> list[Copied]:
    """Copy a file or a folder to ``target``; each file is there complete or not at all.

    Raises:
        FileNotFoundError: There is no ``source``.
        WrongValue: A folder that holds symbolic links or special files, which may lead anywhere.
    """
    if source.is_dir():
        copied: list[Copied] = []
        for folder, folders, names in os.walk(source):
            for each in sorted(folders + names):
                path = Path(folder, each)
                if path.is_symlink() or not (path.is_file() or path.is_dir()):
                    raise WrongValue(
                        f"{str(path)!r} is a symbolic link or a special file: an artifact is made "
                        "of plain files. Add what it points to by itself."
                    )
        for folder, _, names in os.walk(source):
            for each in sorted(names):
                path = Path(folder, each)
                copied += copy_into(path, target / path.relative_to(source))
        return copied
    digest = hashlib.sha256()
    size = 0
    with open(source, "rb") as stream, open_file(target, "wb") as copy:
        while block := stream.read(1 << 20):
            digest.update(block)
            size += len(block)
            copy.write(block)
    return [Copied(target, size, digest.hexdigest())]


def record(
    connection: Connection,
    folder: Path,
    copied: list[Copied],
    trial: int | None,
    attempt: int | None,
) -> None:
    """Write copied files to the table of artifacts, with paths relative to the run's folder."""
    owner = (NO_TRIAL if trial is None else trial, attempt or 0)
    now, seq = time.time(), position(connection) + 1  # what is committed next will have this seq
    connection.executemany(
        "INSERT INTO artifacts (path, trial, attempt, size, sha256, time, seq) "
        "VALUES (?,?,?,?,?,?,?) ON CONFLICT (path) DO UPDATE SET trial = excluded.trial, "
        "attempt = excluded.attempt, size = excluded.size, sha256 = excluded.sha256, "
        "time = excluded.time, seq = excluded.seq",
        [
            (each.path.relative_to(folder).as_posix(), *owner, each.size, each.sha256, now, seq)
            for each in copied
        ],
    )


def database_engine(
    store: Store, *, writable: bool, mark_as: tuple[int, int] | None = None
) -> sqlalchemy.Engine:
    """A SQLAlchemy engine on a store; it keeps no connection open between uses.

    Args:
        store: The store.
        writable: Whether it may write.
        mark_as: The trial and attempt whose rows are inserted through it.
    """
    import sqlalchemy
    from sqlalchemy.pool import NullPool

    def connect() -> Any:
        return store.connect(writable=writable, mark_as=mark_as)

    return sqlalchemy.create_engine(store.url, creator=connect, poolclass=NullPool)


def save_graph(path: Path, graph: Graph) -> Path:
    """Write what there is to know of a graph of sources, as JSON; see ``Experiment.save_graph``."""
    content = {
        "fingerprint": graph.fingerprint,
        "nodes": [
            {
                "name": name,
                "kind": type(source).__name__,
                "indexed": source.indexed,
                "reads": source.statistics.reads,
                "rows": source.statistics.rows,
                "seconds": source.statistics.seconds,
                "waiting": source.statistics.waiting,
            }
            for name, source in graph.nodes.items()
        ],
        "edges": [list(edge) for edge in graph.edges],
        "mermaid": graph.mermaid(),
    }
    replace_file(path, json.dumps(content, indent=1).encode() + b"\n")
    return path
