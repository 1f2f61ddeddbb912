"""``fireworks list``: the runs under a folder."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from fireworks.cli import tables
from fireworks.errors import DamagedFile, ExperimentNotFound
from fireworks.record.filters import condition
from fireworks.record.index import Index, read_indexes

_MOST_METRICS = 4


def list_runs(
    root: Annotated[Path, typer.Argument(help="The folder of the runs.")] = Path("runs"),
    status: Annotated[
        list[str] | None,
        typer.Option(help="Only runs of this status; may be given several times."),
    ] = None,
    tag: Annotated[
        list[str] | None, typer.Option(help="Only runs with this tag; may be given several times.")
    ] = None,
    where: Annotated[
        str | None, typer.Option(help="Only runs that fulfil this: 'params.lr < 0.1'.")
    ] = None,
) -> None:
    """List the runs, newest first: status, time, trials, the best or last metrics, tags."""
    if not root.is_dir():
        raise ExperimentNotFound(
            f"There is no folder {os.fspath(root)!r}. "
            "Give the folder of the runs: fireworks list ROOT"
        )
    holds = condition(where) if where is not None else None
    found: list[Index] = []
    for path, index in read_indexes(root):
        if isinstance(index, DamagedFile):
            print(f"warning: {path.name} is left out: {index}", file=sys.stderr)
        elif (
            (not status or index.status in status)
            and set(tag or ()) <= set(index.tags)
            and (holds is None or holds(index))
        ):
            found.append(index)
    console = tables.console()
    if not found:
        chosen = " that fit" if status or tag or where else ""
        console.print(f"No experiments{chosen} in {os.fspath(root)}.", soft_wrap=True)
        return
    table = tables.table("run", "status", "started", "time", "trials", "metrics", "tags")
    for index in sorted(found, key=lambda each: each.created, reverse=True):
        end = index.ended if index.status != "running" else None
        table.add_row(
            tables.text(index.id),
            tables.status(index.status),
            tables.text(tables.moment(index.created)),
            "" if index.status == "killed" else tables.duration(index.created, end),
            _trials(index),
            tables.text(_metrics(index)),
            tables.text(", ".join(index.tags)),
        )
    console.print(table)


def _trials(index: Index) -> str:
    total = sum(index.trials.values())
    if not total:
        return ""
    counts = [f"{count} {state}" for state, count in sorted(index.trials.items())]
    return counts[0] if len(counts) == 1 else f"{total}: {', '.join(counts)}"


def _metrics(index: Index) -> str:
    """The best trial's objective, else the last values of the run's own metrics."""
    if index.best is not None:
        result: dict[str, Any] = index.best["result"]
        sought = [name for name, _ in index.objective if name in result]
        values = ", ".join(f"{name} {_shown(result[name])}" for name in sought)
        return f"best {values} (trial {index.best['trial']})"
    shown = [f"{name} {_shown(value)}" for name, value in index.metrics.items()]
    more = f", … {len(shown) - _MOST_METRICS} more" if len(shown) > _MOST_METRICS else ""
    return ", ".join(shown[:_MOST_METRICS]) + more


def _shown(value: float | None) -> str:
    return "nan" if value is None else tables.number(value)
