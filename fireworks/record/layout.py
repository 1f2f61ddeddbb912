"""Where things lie in an experiment's folder, and how such a folder comes to be.

runs/digits-0007/
  experiment.json      the index: a small summary, replaced atomically
  experiment.sqlite    the tables (see schema.py)
  experiment.lock      held by the process that owns the run; its time is the heartbeat
  files/               what file() and artifact() wrote
  tensorboard/         event files, one subfolder per trial
  trials/12/attempt-1/ stdout.txt and stderr.txt of each attempt
  graph.json           the source graph: fingerprint, drawing and statistics
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from fireworks.errors import ExperimentNotFound, ExperimentReadOnly, WrongType, WrongValue, suggest

INDEX = "experiment.json"
DATABASE = "experiment.sqlite"
LOCK = "experiment.lock"
FILES = "files"
TENSORBOARD = "tensorboard"
TRIALS = "trials"
GRAPH = "graph.json"

FAILED_BATCH = "failed-batch.arrow"
"""In ``files/``: the batch on which training failed."""

RESUME_VARIABLE = "FIREWORKS_RESUME"
"""An environment variable: the run that the next experiment of its name goes on with."""

FORCE_VARIABLE = "FIREWORKS_RESUME_FORCE"
"""An environment variable: the sweep that is gone on with may have changed."""

_NUMBERED = re.compile(r"(?P<name>.+)-(?P<number>\d{4,})", re.DOTALL)
_LONGEST_NAME = 200  # bytes; file systems allow 255, and the number and temporary names come on top


def run_id(name: str, number: int) -> str:
    """The name of a run's folder: ``run_id("digits", 7) == "digits-0007"``."""
    return f"{name}-{number:04d}"


def trial_name(trial: int) -> str:
    """The name of a trial's own subfolder: ``trial_name(12) == "trial-0012"``."""
    return f"trial-{trial:04d}"


def tensorboard_folder(run: Path, trial: int | None) -> Path:
    """Where TensorBoard's event files of a run lie, or those of a trial."""
    folder = run / TENSORBOARD
    return folder if trial is None else folder / trial_name(trial)


def check_name(name: object, *, what: str) -> str:
    """Return ``name`` if it can be part of a file's name on its own.

    Raises:
        WrongType: It is not a string.
        WrongValue: It is empty, too long, a path, hidden, or holds control characters.
    """
    if not isinstance(name, str):
        raise WrongType(f"{what} must be a string; got {type(name).__name__}: {name!r}.")
    problem = None
    if not name.strip():
        problem = "is empty"
    elif "/" in name or "\\" in name:
        problem = "holds a path separator"
    elif name[0] in ".-":
        problem = f"begins with {name[0]!r}"
    elif not name.isprintable():
        problem = "holds characters that cannot be printed"
    elif len(name.encode(errors="replace")) > _LONGEST_NAME:
        problem = f"is longer than {_LONGEST_NAME} bytes"
    if problem:
        shown = name if len(name) <= 60 else name[:60] + "…"
        raise WrongValue(f"{what} {problem}: {shown!r}. Choose a plain name such as 'digits'.")
    return name


def new_folder(root: str | os.PathLike[str], name: str, build: Callable[[Path, int], None]) -> Path:
    """Make the folder of a new run, complete or not at all, with the next free number.

    The folder is built under a hidden temporary name and then renamed, so that no other process
    ever sees half of it; the rename fails where another process was faster, and the next number
    is tried.

    Args:
        root: The folder of all runs; made where it does not exist.
        name: The run's name, checked with ``check_name``.
        build: Called with the temporary folder and the number, again for each number that is
            tried, to write what depends on the number.

    Raises:
        WrongValue: ``root`` is, or lies under, something that is not a folder.
        ExperimentReadOnly: ``root`` cannot be written to.
    """
    place = Path(os.path.abspath(root))
    try:
        place.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".new-{name}-", dir=place))
    except (FileExistsError, NotADirectoryError):
        raise WrongValue(
            f"root={str(root)!r} is not a folder, and not below one. "
            "Give a folder, or a path where one can be made."
        ) from None
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise
        raise ExperimentReadOnly(
            f"No experiment can be made in root={str(root)!r}: {error.strerror}. "
            "Choose a folder that you may write to with root=…"
        ) from None
    try:
        while True:  # mkdtemp made the folder private (mode 0700)
            number = 1 + max((each for each in _numbers(place, name)), default=0)
            build(temporary, number)
            target = place / run_id(name, number)
            try:
                os.rename(temporary, target)
            except OSError as error:
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
                    raise
                continue
            return target
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def _numbers(root: Path, name: str) -> list[int]:
    found: list[int] = []
    for each in os.listdir(root):
        match = _NUMBERED.fullmatch(each)
        if match and match["name"] == name:
            found.append(int(match["number"]))
    return found


def experiment_folder(path: str | os.PathLike[str]) -> Path:
    """Return ``path`` as an absolute path, after checking that it holds an experiment.

    Raises:
        ExperimentNotFound: There is no such folder, or it holds no experiment; the nearest name
            in the same place is offered.
    """
    folder = Path(os.path.abspath(path))
    if (folder / INDEX).is_file() or (folder / DATABASE).is_file():
        return folder
    if folder.is_dir():
        inside = experiment_names(folder)
        raise ExperimentNotFound(
            f"{str(path)!r} is a folder, but not that of an experiment: it has no {INDEX}."
            + (suggest(folder.name, (str(Path(path) / each) for each in inside)) if inside else "")
        )
    beside = experiment_names(folder.parent)
    raise ExperimentNotFound(
        f"There is no experiment at {str(path)!r}."
        + suggest(path, (str(Path(path).parent / each) for each in beside))
    )


def experiment_names(root: str | os.PathLike[str]) -> list[str]:
    """The names of the folders under ``root`` that hold an experiment, sorted.

    Empty where ``root`` does not exist or is not a folder.
    """
    try:
        with os.scandir(root) as entries:
            names = [each.name for each in entries if not each.name.startswith(".")]
    except (FileNotFoundError, NotADirectoryError):
        return []
    return sorted(each for each in names if os.path.isfile(os.path.join(root, each, INDEX)))


def inside(run: Path, folder: str, name: object) -> Path:
    """Return the path of ``name`` in a folder of a run, which it can never leave.

    Args:
        run: The run's folder, an absolute path.
        folder: The folder in it, such as ``"files/trial-0012"``; empty for the run's own.
        name: A relative path with ``/`` as the separator.

    Raises:
        WrongType: ``name`` is neither a string nor a path.
        WrongValue: It is empty, absolute, climbs with ``..``, holds control characters, or goes
            through a symbolic link that leads out of the folder.
    """
    if not isinstance(name, str | os.PathLike):
        raise WrongType(f"A file's name must be a string; got {type(name).__name__}: {name!r}.")
    text = os.fspath(name)
    parts = text.split("/") if isinstance(text, str) else []
    if not text or not parts or any(part in ("", ".", "..") for part in parts):
        problem = "must be a relative path without '..'"
    elif not all(part.isprintable() for part in parts):
        problem = "holds characters that cannot be printed"
    else:
        path = (run / folder).joinpath(*parts)
        # The folder is part of what must not be a link: somebody else may have prepared the run.
        if path.resolve().is_relative_to(run.resolve() / folder):
            return path
        problem = "leads out of the folder through a symbolic link"
    raise WrongValue(f"The file name {text!r} {problem}. Files stay inside the run.")
