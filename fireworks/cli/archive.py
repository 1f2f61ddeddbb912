"""``fireworks archive``, ``restore``, ``export``: runs and their tables as files."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from fireworks.cli.runs import find_run


def archive_one(
    run: Annotated[str, typer.Argument(help="A run's folder, or its id.")],
    out: Annotated[Path | None, typer.Option(help="The file; RUN.zip by default.")] = None,
    root: Annotated[Path, typer.Option(help="Where to look for ids.")] = Path("runs"),
) -> None:
    """Write a run to one ZIP file, from which `fireworks restore` makes it again anywhere."""
    from fireworks.record.archive import archive_run

    folder = find_run(run, root)
    print(os.path.relpath(archive_run(folder, out or folder.with_name(folder.name + ".zip"))))


def restore_one(
    archive: Annotated[Path, typer.Argument(help="What `fireworks archive` wrote.")],
    root: Annotated[Path, typer.Option(help="Where the run's folder is made.")] = Path("runs"),
) -> None:
    """Make a run of an archive. Nothing in it is run, and no file leaves the run's folder."""
    from fireworks.record.archive import restore_run

    print(os.path.relpath(restore_run(archive, root)))


def export_table(
    run: Annotated[str, typer.Argument(help="A run's folder, or its id.")],
    table: Annotated[str, typer.Argument(help="metrics, trials, params, or a table of its own.")],
    out: Annotated[
        Path | None, typer.Option(help=".csv or .parquet; TABLE.csv by default.")
    ] = None,
    root: Annotated[Path, typer.Option(help="Where to look for ids.")] = Path("runs"),
) -> None:
    """Write a table of a run to a CSV or Parquet file."""
    folder = find_run(run, root)

    from fireworks.experiment import load_experiment

    print(load_experiment(folder).export(table, out or Path(f"{table}.csv")))
