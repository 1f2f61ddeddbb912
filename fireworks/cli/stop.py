"""``fireworks stop``: ask a run that is under way to end."""

from __future__ import annotations

import os
import signal
import socket
from pathlib import Path
from typing import Annotated

import typer

from fireworks.cli.runs import find_run
from fireworks.errors import WrongValue
from fireworks.record.overview import read_overview
from fireworks.record.owner import owner_lives, read_owner


def stop_run(
    run: Annotated[str, typer.Argument(help="A run's folder, or its id: runs/digits-0001.")],
    now: Annotated[
        bool, typer.Option("--now", help="Stop a sweep's running trials, too, at a checkpoint.")
    ] = False,
    root: Annotated[Path, typer.Option(help="Where to look for ids.")] = Path("runs"),
) -> None:
    """End a run tidily: a sweep when its running trials have finished, training at a checkpoint.

    Later, `fireworks resume` goes on with it.
    """
    folder = find_run(run, root)
    if not owner_lives(folder):
        raise WrongValue(f"{folder.name!r} is not running: there is nothing to stop.")
    owner = read_owner(folder)
    pid, host = owner.get("pid"), owner.get("host")
    if host != socket.gethostname() or not isinstance(pid, int):
        raise WrongValue(f"{folder.name!r} runs on the host {host!r}: stop it there.")
    is_sweep = bool(read_overview(folder).index.objective)
    asked = signal.SIGINT if is_sweep and not now else signal.SIGTERM
    try:
        os.kill(pid, asked)
    except ProcessLookupError:
        raise WrongValue(f"{folder.name!r} has just ended by itself.") from None
    what = "its running trials may finish" if asked == signal.SIGINT else "it ends at a checkpoint"
    print(f"asked process {pid} to stop: {what}")
