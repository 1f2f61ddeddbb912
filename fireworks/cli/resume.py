"""``fireworks resume``: run what made a run again, to go on with it."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from fireworks.cli.runs import find_run
from fireworks.errors import ExperimentInUse, WrongValue
from fireworks.record.capture import MASK
from fireworks.record.layout import RESUME_VARIABLE
from fireworks.record.overview import read_overview
from fireworks.record.owner import owner_lives, read_owner


def resume_run(
    run: Annotated[str, typer.Argument(help="A run's folder, or its id: runs/digits-0001.")],
    root: Annotated[Path, typer.Option(help="Where to look for ids.")] = Path("runs"),
) -> None:
    """Go on with a run that was stopped: its command again, in its folder of then.

    The script's Experiment opens this run instead of a new one; its resume(trainer, experiment)
    takes up the last checkpoint.
    """
    folder = find_run(run, root)
    overview = read_overview(folder)
    metadata: dict[str, Any] = overview.metadata
    command: list[str] = metadata.get("command") or []
    if owner_lives(folder):
        raise ExperimentInUse(
            f"{folder.name!r} is running: process {read_owner(folder).get('pid', '?')}."
        )
    if overview.index.status == "completed":
        raise WrongValue(f"{folder.name!r} is complete: there is nothing to go on with.")
    if overview.index.trials:
        raise WrongValue(
            f"{folder.name!r} is a sweep, and this command goes on with single runs only."
        )
    if not command or any(MASK in each for each in command):
        raise WrongValue(
            f"The command of {folder.name!r} is not recorded whole (secrets are left out): "
            f"{' '.join(command)}. Run it yourself with {RESUME_VARIABLE}={str(folder)!r} set."
        )
    if os.path.basename(command[0]).startswith("python"):
        command = [sys.executable, *command[1:]]
    sys.stdout.flush()
    sys.stderr.flush()
    os.chdir(metadata.get("folder") or ".")
    os.execvpe(command[0], command, {**os.environ, RESUME_VARIABLE: str(folder)})
