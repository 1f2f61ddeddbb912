"""``experiment.json``: the small summary of a run by which it is listed without its database."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, final

from fireworks.errors import DamagedFile, NotRecorded
from fireworks.record.atomic import replace_file
from fireworks.record.layout import INDEX, experiment_folder
from fireworks.record.owner import owner_lives

FORMAT = "fireworks-experiment"
VERSION = 1
_BYTES_READ = 1 << 16

_KINDS: dict[str, tuple[type, ...]] = {
    **dict.fromkeys(("name", "id", "status", "description"), (str,)),
    **dict.fromkeys(("tags", "objective"), (list,)),
    **dict.fromkeys(("parameters", "metrics", "trials"), (dict,)),
    "number": (int,),
    "created": (int, float),
    "ended": (int, float, type(None)),
    "best": (dict, type(None)),
    "store": (dict, type(None)),
    "tensorboard": (bool,),
}


_ADDED: dict[str, Any] = {"store": None, "tensorboard": False}  # not in those of an earlier release

# What the lists and dicts must hold: a folder may come from anybody.
_PARTS: dict[str, Callable[[Any], bool]] = {
    "tags": lambda tags: all(isinstance(each, str) for each in tags),
    "trials": lambda trials: all(isinstance(each, int) for each in trials.values()),
    "metrics": lambda metrics: all(
        each is None or isinstance(each, int | float) for each in metrics.values()
    ),
    "objective": lambda pairs: all(
        isinstance(each, list) and len(each) == 2 and all(isinstance(word, str) for word in each)
        for each in pairs
    ),
    "store": lambda store: (
        store is None
        or (
            set(store) == {"url", "schema"}
            and all(isinstance(each, str) for each in store.values())
        )
    ),
    "best": lambda best: (
        best is None
        or (
            isinstance(best.get("trial"), int)
            and isinstance(best.get("params"), dict)
            and isinstance(best.get("result"), dict)
        )
    ),
}


@final
@dataclass
class Index:
    """What ``experiment.json`` holds.

    Times are seconds since 1970. ``metrics`` are the last values of what the run itself logged,
    None for NaN. ``objective`` is what a sweep seeks, as [name, "maximize" | "minimize"] pairs;
    ``trials`` counts its trials by state and ``best`` is the best one: its number, parameters
    and result. ``store`` is where the tables are, if not in the folder: the ``url`` of a database
    and a ``schema`` in it. ``tensorboard`` says whether what is logged is also written as events.
    """

    name: str
    number: int
    id: str
    status: str = "running"
    description: str = ""
    tags: list[str] = field(default_factory=list[str])
    created: float = 0.0
    ended: float | None = None
    parameters: dict[str, Any] = field(default_factory=dict[str, Any])
    metrics: dict[str, float | None] = field(default_factory=dict[str, float | None])
    objective: list[list[str]] = field(default_factory=list[list[str]])
    trials: dict[str, int] = field(default_factory=dict[str, int])
    best: dict[str, Any] | None = None
    store: dict[str, str] | None = None
    tensorboard: bool = False

    def to_json(self) -> bytes:
        """What ``experiment.json`` holds."""
        content = {"format": FORMAT, "version": VERSION, **asdict(self)}
        return json.dumps(content, indent=1).encode() + b"\n"

    def write(self, folder: Path) -> None:
        """Replace ``experiment.json`` in ``folder``, atomically.

        Raises:
            NotRecorded: The disk is full or failed; the previous version is untouched.
        """
        try:
            replace_file(folder / INDEX, self.to_json())
        except OSError as error:
            raise NotRecorded(
                f"{str(folder / INDEX)!r} could not be written: {error.strerror}. Make room on the "
                "disk, or repair it; what was recorded before is kept."
            ) from error


def read_index(path: str | os.PathLike[str]) -> Index:
    """Read ``experiment.json`` of the run at ``path``.

    ``status`` is "killed" for a run that is recorded as running and whose owner is gone.

    Raises:
        ExperimentNotFound: There is no experiment at ``path``.
        DamagedFile: The file is damaged, missing, newer, or not an experiment's.
    """
    folder = str(experiment_folder(path))
    try:
        return _parsed(folder, _content(folder))
    except FileNotFoundError:
        raise DamagedFile(f"{folder!r} is incomplete: it has no {INDEX}.") from None


def read_indexes(root: str | os.PathLike[str]) -> Iterator[tuple[Path, Index | DamagedFile]]:
    """Read the index of every experiment under ``root``, in the order of their names.

    One that is damaged is given as the error that says so, and hides no other.
    """
    place = os.path.abspath(root)
    for name in sorted(os.listdir(place)):
        if name.startswith("."):
            continue
        folder = os.path.join(place, name)
        try:
            index = _parsed(folder, _content(folder))
        except (FileNotFoundError, NotADirectoryError):  # no experiment, or removed just now
            continue
        except DamagedFile as error:
            index = error
        yield Path(folder), index


def _content(folder: str) -> bytes:
    """The bytes of the index, read by as few calls as can be: there may be thousands."""
    try:
        descriptor = os.open(f"{folder}/{INDEX}", os.O_RDONLY | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        raise
    except OSError as error:
        raise DamagedFile(f"{folder!r} cannot be read: {error.strerror}.") from None
    try:
        content = b""
        while part := os.read(descriptor, _BYTES_READ):
            content += part
            if len(part) < _BYTES_READ:
                break
        return content
    except IsADirectoryError:
        raise FileNotFoundError from None
    finally:
        os.close(descriptor)


def _parsed(folder: str, text: bytes) -> Index:
    file = os.path.join(folder, INDEX)
    try:
        content = json.loads(text.decode())
    except (ValueError, RecursionError) as error:
        raise DamagedFile(f"{file!r} is damaged: {error}.") from None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise DamagedFile(f"{file!r} does not describe an experiment.")
    if not isinstance(content.get("version"), int) or content["version"] > VERSION:
        raise DamagedFile(
            f"{file!r} was written by a newer release of Fireworks (version "
            f"{content.get('version')!r}; this one reads up to {VERSION}). "
            "Upgrade: pip install --upgrade fireworks-ml"
        )
    content = _ADDED | content
    for name, kind in _KINDS.items():
        if name not in content:
            raise DamagedFile(f"{file!r} is damaged: it lacks {name!r}.")
        value = content[name]
        if not isinstance(value, kind) or (name in _PARTS and not _PARTS[name](value)):
            raise DamagedFile(f"{file!r} is damaged: {name!r} is {value!r:.60}.")
    index = Index(**{name: content[name] for name in _KINDS})
    if index.status == "running" and not owner_lives(Path(folder)):
        index.status = "killed"
    return index
