"""Which checkpoints an experiment has: a small JSON file beside each, written after it.

checkpoints/                        of a run; a trial's: trials/12/attempt-1/checkpoints/
  step-0000500.pt                   the state, as torch saves it
  step-0000500.json                 what it is: only a file with this beside it is a checkpoint
  start.json                        the position of the record when training began
  emergency-0000730.pt              what an exception left: for inspection, never gone on from
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from fireworks.errors import DamagedFile
from fireworks.record.atomic import replace_file
from fireworks.record.layout import TRIALS

CHECKPOINTS = "checkpoints"
_START = "start.json"
_BYTES_READ = 1 << 20


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint on disk.

    Attributes:
        path: The file with the state.
        iteration: Iterations that were done.
        epoch: Whole epochs that were done.
        position: The position of the experiment's record: what came after it is done again.
        sha256: Of the file.
        size: In bytes.
        time: When it was taken, in seconds since 1970.
        score: The metric that the best are kept by; None where it was not just measured.
    """

    path: Path
    iteration: int
    epoch: int
    position: int
    sha256: str
    size: int
    time: float
    score: float | None = field(default=None)

    def write(self) -> None:
        """Make the file a checkpoint."""
        content = {**asdict(self), "path": self.path.name}
        replace_file(self.path.with_suffix(".json"), json.dumps(content).encode())

    def verify(self) -> None:
        """Check that the file is whole.

        Raises:
            DamagedFile: It is missing or not what was written.
        """
        try:
            size = self.path.stat().st_size
            found = sha256(self.path) if size == self.size else None
        except OSError as error:
            raise DamagedFile(f"{str(self.path)!r} cannot be read: {error.strerror}.") from None
        if size != self.size:
            raise DamagedFile(f"{str(self.path)!r} has {size} bytes; {self.size} were written.")
        if found != self.sha256:
            raise DamagedFile(f"{str(self.path)!r} does not have the checksum that was recorded.")

    def remove(self) -> None:
        """Delete it; what a crash leaves of it is no checkpoint."""
        self.path.with_suffix(".json").unlink(missing_ok=True)
        self.path.unlink(missing_ok=True)


def checkpoints_folder(run: Path, trial: int | None = None, attempt: int | None = None) -> Path:
    """Return where a run's own checkpoints lie, or those of an attempt at a trial."""
    if trial is None:
        return run / CHECKPOINTS
    return run / TRIALS / str(trial) / f"attempt-{attempt}" / CHECKPOINTS


def earlier_folders(run: Path, trial: int | None, attempt: int | None) -> Iterator[Path]:
    """Yield where to look for a checkpoint to go on from: a trial's earlier attempts too."""
    if trial is None or attempt is None:
        yield checkpoints_folder(run)
        return
    for number in range(attempt, 0, -1):
        yield checkpoints_folder(run, trial, number)


def list_checkpoints(folder: Path) -> list[Checkpoint]:
    """Return the checkpoints in a folder, the newest first; unreadable ones are left out."""
    found: list[Checkpoint] = []
    for each in folder.glob("step-*.json"):
        try:
            content: dict[str, Any] = json.loads(each.read_bytes())
            content["path"] = folder / str(content["path"])
            found.append(Checkpoint(**content))
        except (OSError, ValueError, TypeError, KeyError):
            continue
    return sorted(found, key=lambda each: each.iteration, reverse=True)


def position_to_go_on_from(run: Path, trial: int, attempt: int) -> int:
    """Return the record's position at the newest checkpoint of a trial up to an attempt; or 0."""
    for folder in earlier_folders(run, trial, attempt):
        if found := list_checkpoints(folder):
            return found[0].position
    return 0


def write_start(folder: Path, position: int) -> None:
    """Record the position at which training began."""
    replace_file(folder / _START, json.dumps({"position": position}).encode())


def read_start(folder: Path) -> int | None:
    """Return the position at which training began; None where it is not known."""
    try:
        return int(json.loads((folder / _START).read_bytes())["position"])
    except (OSError, ValueError, TypeError, KeyError):
        return None


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file."""
    digest = hashlib.sha256()
    with open(path, "rb") as stream:
        while block := stream.read(_BYTES_READ):
            digest.update(block)
    return digest.hexdigest()


def remove_leftovers(folder: Path) -> None:
    """Delete what a process that was killed while it wrote has left."""
    for each in folder.glob(".*.tmp"):
        each.unlink(missing_ok=True)
    for each in folder.glob("step-*.pt"):
        if not each.with_suffix(".json").exists():
            each.unlink(missing_ok=True)


def make_folder(folder: Path) -> None:
    """Make a folder for checkpoints, for its owner alone."""
    folder.mkdir(parents=True, exist_ok=True)
    os.chmod(folder, 0o700)
