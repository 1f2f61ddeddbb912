"""``fireworks logs``: what a trial of a sweep has printed."""

from __future__ import annotations

import sys
import time
from enum import StrEnum
from pathlib import Path
from typing import IO, Annotated

import typer

from fireworks.cli.runs import find_run
from fireworks.errors import WrongValue, suggest
from fireworks.record.layout import TRIALS
from fireworks.record.owner import owner_lives

_BLOCK = 1 << 16
_LOOK_SECONDS = 0.2


class Stream(StrEnum):
    """Which of a process's two outputs."""

    stdout = "stdout"
    stderr = "stderr"


def show_logs(
    run: Annotated[str, typer.Argument(help="A run's folder, or its id: runs/digits-0001.")],
    trial: Annotated[int, typer.Argument(min=0, help="The trial's number.")],
    attempt: Annotated[int | None, typer.Option(min=1, help="The last one if left out.")] = None,
    stream: Annotated[Stream | None, typer.Option(help="Only this; both if left out.")] = None,
    lines: Annotated[int | None, typer.Option(min=1, help="Only so many of the last.")] = None,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on until the sweep ends or Ctrl-C.")
    ] = False,
    root: Annotated[Path, typer.Option(help="Where to look for ids.")] = Path("runs"),
) -> None:
    """Print what a trial has printed: its output to stdout, its errors to stderr."""
    folder = find_run(run, root)
    path = _attempt_folder(folder, trial, attempt)
    wanted = [stream] if stream is not None else list(Stream)
    targets = {Stream.stdout: sys.stdout.buffer, Stream.stderr: sys.stderr.buffer}
    opened = [
        ((path / f"{each.value}.txt").open("rb"), targets[each])
        for each in wanted
        if (path / f"{each.value}.txt").exists()
    ]
    try:
        if lines is not None:
            for source, _ in opened:
                _seek_last_lines(source, lines)
        while True:
            running = follow and owner_lives(folder)
            for source, target in opened:
                while block := source.read(_BLOCK):
                    target.write(block)
                target.flush()
            if not running:
                return
            time.sleep(_LOOK_SECONDS)
    except KeyboardInterrupt:
        return
    finally:
        for source, _ in opened:
            source.close()


def _attempt_folder(folder: Path, trial: int, attempt: int | None) -> Path:
    """Where the output of an attempt is kept.

    Raises:
        WrongValue: There is no such trial or attempt.
    """
    trials = sorted(int(each.name) for each in (folder / TRIALS).glob("*") if each.name.isdigit())
    if not trials:
        raise WrongValue(f"{folder.name!r} has no trials: it is no sweep, or began none.")
    if trial not in trials:
        raise WrongValue(
            f"{folder.name!r} has no trial {trial} that began; the last is {trials[-1]}."
        )
    attempts = sorted(
        int(each.name.removeprefix("attempt-"))
        for each in (folder / TRIALS / str(trial)).glob("attempt-*")
    )
    if attempt is None and attempts:
        attempt = attempts[-1]
    if attempt not in attempts:
        raise WrongValue(f"Trial {trial} has no attempt {attempt}.{suggest(attempt, attempts)}")
    return folder / TRIALS / str(trial) / f"attempt-{attempt}"


def _seek_last_lines(file: IO[bytes], lines: int) -> None:
    """Go to where the last so many lines begin, reading from the end: a file may be huge."""
    position = file.seek(0, 2)
    seen = 0
    while position > 0:
        size = min(_BLOCK, position)
        file.seek(position - size)
        block = file.read(size)
        end = len(block)
        while (end := block.rfind(b"\n", 0, end)) >= 0:
            at = position - size + end + 1
            if at < file.seek(0, 2):  # the newline at the very end ends the last line
                seen += 1
                if seen == lines:
                    file.seek(at)
                    return
        position -= size
    file.seek(0)
