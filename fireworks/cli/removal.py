"""``fireworks rm`` and ``gc``: deleting runs, and what killed processes left."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from fireworks.cli.runs import find_run


def remove(
    runs: Annotated[list[str], typer.Argument(help="Folders of runs, or their ids.")],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    root: Annotated[Path, typer.Option(help="Where to look for ids.")] = Path("runs"),
) -> None:
    """Delete runs, for good. Asks first; refuses one that a process owns."""
    from fireworks.record.removal import remove_run

    # All are found before any is deleted.
    folders = dict.fromkeys(find_run(each, root) for each in runs)
    for folder in folders:
        shown = os.path.relpath(folder)
        if not yes and not typer.confirm(f"Delete {shown} and everything in it?"):
            print(f"kept {shown}")
            continue
        remove_run(folder)
        print(f"deleted {shown}")


def collect(
    root: Annotated[Path, typer.Argument(help="The folder of the runs.")] = Path("runs"),
    hours: Annotated[
        float, typer.Option(min=0, help="Only what has not changed for so many hours.")
    ] = 1.0,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would go.")] = False,
) -> None:
    """Delete what killed processes left half-done: never a run, or a file of one."""
    from fireworks.record.removal import leftovers, remove_leftovers

    found = leftovers(root, older_than=hours * 3600)
    for each in found:
        print(f"{each.size:>12,} bytes  {os.path.relpath(each.path)}")
    if not found:
        print("nothing is left over")
    elif dry_run:
        print(f"would delete {len(found)}")
    else:
        remove_leftovers(found)
        print(f"deleted {len(found)}")
