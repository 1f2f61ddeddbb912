"""``fireworks list``: the runs under a folder."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

from fireworks.cli import tables
from fireworks.errors import DamagedFile, ExperimentNotFound, WrongValue, suggest
from fireworks.record.filters import check_statuses, condition, mentions
from fireworks.record.index import Index, read_indexes

_MOST_METRICS = 4
_PARTS: dict[str, Callable[[Index], dict[str, Any]]] = {
    "params": lambda index: index.parameters,
    "parameters": lambda index: index.parameters,
    "metrics": lambda index: index.metrics,
    "trials": lambda index: index.trials,
    "best": lambda index: (index.best or {}).get("result", {}),
}


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
    search: Annotated[
        str | None, typer.Option(help="Only runs with these words in name, description or tags.")
    ] = None,
    sort: Annotated[
        str | None,
        typer.Option(
            help="Sort by this, smallest first: name, created, params.lr, metrics.loss, "
            "best.accuracy; with - in front, largest first. Newest first by default.",
        ),
    ] = None,
    column: Annotated[
        list[str] | None,
        typer.Option(help="Show this in place of metrics and tags; may be given several times."),
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Show at most so many.")] = None,
) -> None:
    """List the runs, newest first: status, time, trials, the best or last metrics, tags."""
    if not root.is_dir():
        raise ExperimentNotFound(
            f"There is no folder {os.fspath(root)!r}. "
            "Give the folder of the runs: fireworks list ROOT"
        )
    holds = condition(where) if where is not None else None
    statuses = check_statuses(status or ())
    found: list[Index] = []
    for path, index in read_indexes(root):
        if isinstance(index, DamagedFile):
            print(f"warning: {path.name} is left out: {index}", file=sys.stderr)
        elif (
            (not statuses or index.status in statuses)
            and set(tag or ()) <= set(index.tags)
            and (holds is None or holds(index))
            and (search is None or mentions(index, search))
        ):
            found.append(index)
    console = tables.console()
    if not found:
        chosen = " that fit" if status or tag or where or search else ""
        console.print(f"No experiments{chosen} in {os.fspath(root)}.", soft_wrap=True)
        return
    shown = _sorted(found, sort)[:limit]
    fields = [(each, _field(each)) for each in column or ()]
    last = [each for each, _ in fields] if fields else ["metrics", "tags"]
    table = tables.table("run", "status", "started", "time", "trials", *last)
    for index in shown:
        end = index.ended if index.status != "running" else None
        values = [read(index) for _, read in fields]
        table.add_row(
            tables.text(index.id),
            tables.status(index.status),
            tables.text(tables.moment(index.created)),
            "" if index.status == "killed" else tables.duration(index.created, end),
            _trials(index),
            *(map(tables.text, values) if fields else _usual(index)),
        )
    console.print(table)
    if len(found) > len(shown):
        console.print(f"… and {len(found) - len(shown)} more", highlight=False)


def _usual(index: Index) -> list[Text]:
    return [tables.text(_metrics(index)), tables.text(", ".join(index.tags))]


def _field(path: str) -> Callable[[Index], Any]:
    """Reads ``name``, ``params.lr``, ``metrics.valid/loss`` or ``best.accuracy`` of a run."""
    part, _, name = path.partition(".")
    fields = [each for each in vars(Index("", 0, "")) if each not in _PARTS]
    if name and part in _PARTS:
        return lambda index: _PARTS[part](index).get(name)
    if not name and part in fields:
        return lambda index: getattr(index, part)
    known = [*fields, *(f"{each}.NAME" for each in _PARTS)]
    raise WrongValue(f"No run has {path!r}.{suggest(path, known)}")


def _sorted(found: list[Index], by: str | None) -> list[Index]:
    """The runs in an order; those that do not have what is sorted by come last."""
    if by is None:
        return sorted(found, key=lambda each: each.created, reverse=True)
    read = _field(by.removeprefix("-"))
    there = [each for each in found if _comparable(read(each)) is not None]
    rest = [each for each in found if _comparable(read(each)) is None]
    there.sort(key=lambda each: _comparable(read(each)) or (0, 0), reverse=by.startswith("-"))
    return there + rest


def _comparable(value: Any) -> tuple[int, Any] | None:
    if value is None or value != value:  # NaN
        return None
    return (0, value) if isinstance(value, int | float) else (1, str(value))


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
