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
from fireworks.record.layout import FORCE_VARIABLE, RESUME_VARIABLE
from fireworks.record.overview import read_overview
from fireworks.record.owner import owner_lives, read_owner


def resume_run(
    run: Annotated[str, typer.Argument(help="A run's folder, or its id: runs/digits-0001.")],
    root: Annotated[Path, typer.Option(help="Where to look for ids.")] = Path("runs"),
    trials: Annotated[
        int | None, typer.Option(min=1, help="Of a sweep: how many it is to have in all.")
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Of a sweep: also with another space or other code.")
    ] = False,
) -> None:
    """Go on with a run that was stopped: its command again, in its folder of then.

    The script's Experiment opens this run instead of a new one; its resume(trainer, experiment)
    takes up the last checkpoint, its Factory the trials that are there.
    """
    folder = find_run(run, root)
    overview = read_overview(folder)
    metadata: dict[str, Any] = overview.metadata
    command: list[str] = metadata.get("command") or []
    if owner_lives(folder):
        raise ExperimentInUse(
            f"{folder.name!r} is running: process {read_owner(folder).get('pid', '?')}."
        )
    sweep = bool(overview.index.trials)
    if (trials or force) and not sweep:
        raise WrongValue(f"{folder.name!r} is no sweep: --trials and --force are for sweeps.")
    if overview.index.status == "completed" and not trials:
        hint = " More trials: --trials." if sweep else ""
        raise WrongValue(f"{folder.name!r} is complete: there is nothing to go on with.{hint}")
    if trials:
        if "fireworks" not in [os.path.basename(each) for each in command[:2]]:
            raise WrongValue(
                f"--trials is for what `fireworks sweep` began; {folder.name!r} was begun by "
                f"{' '.join(command)}: Factory.resume(path, …).run(trials={trials})"
            )
        command = [*command, "--trials", str(trials)]
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
    environment = {**os.environ, RESUME_VARIABLE: str(folder)}
    if force:
        environment[FORCE_VARIABLE] = "1"
    os.execvpe(command[0], command, environment)
