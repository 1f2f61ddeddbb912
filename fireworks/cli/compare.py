"""``fireworks compare``: two runs side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from fireworks.cli import tables
from fireworks.cli.runs import find_run
from fireworks.record.comparison import MISSING, Compared, compare_runs, differences

_LONGEST = 60  # characters of a value that may be a whole command line


def compare_two(
    a: Annotated[str, typer.Argument(help="A run's folder, or its id.")],
    b: Annotated[str, typer.Argument(help="Another's.")],
    root: Annotated[Path, typer.Option(help="Where to look for ids.")] = Path("runs"),
) -> None:
    """Compare two runs: the parameters that differ, last and best metrics. Of sweeps, the best."""
    runs = compare_runs([find_run(a, root), find_run(b, root)])
    console = tables.console()
    console.print(_heading(runs))
    different = differences([each.params for each in runs])
    if different:
        console.print(_table("parameter", different, runs))
    elif any(each.params for each in runs):
        console.print("All parameters are equal.\n")
    results = {
        name: [each.result.get(name, MISSING) for each in runs]
        for name in sorted({name for each in runs for name in each.result})
    }
    if results:
        console.print(_table("result", results, runs, change=True))
    if any(each.metrics for each in runs):
        console.print(_metrics(runs))
    environment = differences([each.environment for each in runs])
    if environment:
        console.print(_table("environment", environment, runs))


def _heading(runs: list[Compared]) -> Table:
    table = tables.table("", *(each.label for each in runs))
    table.add_row("status", *(tables.status(each.index.status) for each in runs))
    table.add_row("started", *(tables.moment(each.index.created) for each in runs))
    if any(each.index.trials for each in runs):
        table.add_row(
            "best trial",
            *(
                f"{each.trial} of {sum(each.index.trials.values())}"
                if each.trial is not None
                else ("none completed" if each.index.trials else "")
                for each in runs
            ),
        )
    return table


def _table(
    heading: str, rows: dict[str, list[Any]], runs: list[Compared], *, change: bool = False
) -> Table:
    names = [each.label for each in runs]
    table = tables.table(heading, *names, *(["difference"] if change else []))
    for key, values in rows.items():
        cells = [_cell(each) for each in values]
        if change:
            cells.append(tables.text(_difference(values[0], values[1])))
        table.add_row(tables.text(key), *cells)
    return table


def _metrics(runs: list[Compared]) -> Table:
    """One row for each metric; last and best of each run, and the better best marked."""
    columns = [f"{kind} {each.label}" for kind in ("last", "best") for each in runs]
    table = tables.table("metric", *columns, "best differs by", right=tuple(columns))
    for name in sorted({name for each in runs for name in each.metrics}):
        found = [each.metrics.get(name) for each in runs]
        lower = next(each.lower_is_better for each in found if each is not None)
        last = [MISSING if each is None else each.last for each in found]
        best = [MISSING if each is None else each.best for each in found]
        numbers = [each for each in best if isinstance(each, float)]
        winner = (min(numbers) if lower else max(numbers)) if len(set(numbers)) > 1 else None
        table.add_row(
            tables.text(f"{name} {'↓' if lower else '↑'}"),
            *(_cell(each, nan=True) for each in last),
            *(_cell(each, nan=True, style="bold green" if each == winner else "") for each in best),
            tables.text(_difference(best[0], best[1])),
        )
    return table


def _difference(a: Any, b: Any) -> str:
    if isinstance(a, bool) or isinstance(b, bool):
        return ""
    if isinstance(a, int | float) and isinstance(b, int | float):
        return f"{b - a:+.4g}"
    return ""


def _cell(value: Any, *, nan: bool = False, style: str = "") -> Text:
    if value is None:
        value = "nan" if nan else "None"
    shown = tables.text(value, style)
    if len(shown) > _LONGEST:
        shown.truncate(_LONGEST, overflow="ellipsis")
    return shown
