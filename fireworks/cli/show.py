"""``fireworks show``: one run at a glance."""

from __future__ import annotations

from pathlib import Path
from signal import Signals
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from fireworks.cli import tables
from fireworks.cli.runs import find_run
from fireworks.record.overview import MetricSummary, Overview, TrialSummary, read_overview


def show_run(
    run: Annotated[str, typer.Argument(help="A run's folder, or its id: runs/digits-0001.")],
    root: Annotated[Path, typer.Option(help="Where to look for ids.")] = Path("runs"),
) -> None:
    """Show a run: status, times, parameters, trials best first, last and best metrics."""
    overview = read_overview(find_run(run, root))
    console = tables.console()
    console.print(_heading(overview))
    if overview.params:
        table = tables.table("parameter", "value")
        for name, value in overview.params.items():
            table.add_row(tables.text(name), tables.text(value))
        console.print(table)
    if overview.trials:
        console.print(_trials(overview))
    if overview.metrics:
        title = None
        if overview.metrics_of is not None:
            title = f"Metrics of the best trial, {overview.metrics_of}"
        console.print(_metrics(overview.metrics, title))
    for note in overview.notes:
        console.print(Text("note: ") + tables.text(note))


def _heading(overview: Overview) -> Table:
    index, metadata = overview.index, overview.metadata
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim")
    grid.add_column(overflow="fold")
    grid.add_row("run", tables.text(index.id, "bold"))
    if index.description:
        grid.add_row("description", tables.text(index.description))
    status = tables.status(index.status)
    if index.status == "killed":
        status.append(" (recorded as running, but the process that owned it is gone)")
    grid.add_row("status", status)
    grid.add_row("started", tables.moment(index.created))
    if index.ended is not None:
        took = tables.duration(index.created, index.ended)
        grid.add_row("ended", f"{tables.moment(index.ended)}, after {took}")
    elif index.status == "running":
        grid.add_row("running for", tables.duration(index.created, None))
    if index.tags:
        grid.add_row("tags", tables.text(", ".join(index.tags)))
    if metadata.get("command"):
        grid.add_row("command", tables.text(" ".join(metadata["command"])))
    if git := metadata.get("git"):
        dirty = " (with uncommitted changes)" if git["dirty"] else ""
        grid.add_row("commit", tables.text(f"{(git['commit'] or 'none')[:12]}{dirty}"))
    grid.add_row("host", tables.text(metadata.get("host")))
    grid.add_row("folder", tables.text(overview.path))
    return grid


def _trials(overview: Overview) -> Table:
    """Trials best first; the columns of parameters and results that any of them has."""
    trials, objective = overview.trials, overview.index.objective
    params = sorted({name for each in trials for name in each.params})
    directions = {name: direction for name, direction in objective}
    sought = list(directions)
    others = sorted({name for each in trials for name in each.result} - set(sought))
    with_reports = any(not each.result and each.reported is not None for each in trials)
    reports = ["last report"] if with_reports else []
    with_reasons = any(_reason(each) for each in trials)
    retried = any(each.attempt > 1 for each in trials)
    columns = [
        "trial", "state", *params, *(_arrow(name, directions) for name in sought),
        *others, *reports, "time", *(["attempts"] if retried else []),
        *(["reason"] if with_reasons else []),
    ]  # fmt: skip
    numbers = tuple(column for column in columns if column not in ("state", "reason"))
    table = tables.table(*columns, right=numbers, title=_counts(trials))
    for each in trials:
        ended = each.ended
        table.add_row(
            str(each.number),
            tables.status(each.state),
            *(tables.text(each.params.get(name)) for name in params),
            *(tables.text(each.result.get(name)) for name in [*sought, *others]),
            *(tables.text(None if each.result else each.reported) for _ in reports),
            "" if each.state == "queued" else tables.duration(each.started, ended),
            *([str(each.attempt)] if retried else []),
            *([tables.text(_reason(each))] if with_reasons else []),
        )
    return table


def _counts(trials: list[TrialSummary]) -> str:
    counts: dict[str, int] = {}
    for each in trials:
        counts[each.state] = counts.get(each.state, 0) + 1
    parts = ", ".join(f"{count} {state}" for state, count in counts.items())
    return f"{len(trials)} trials: {parts}"


def _arrow(name: str, objective: dict[str, str]) -> str:
    return f"{name} {'↓' if objective[name] == 'minimize' else '↑'}"


def _reason(trial: TrialSummary) -> str:
    """Why a trial did not complete: the signal or exit code, and the words recorded for it."""
    if trial.state == "completed":
        return ""
    parts: list[str] = []
    if trial.signal is not None:
        parts.append(_signal_name(trial.signal))
    elif trial.exit_code:
        parts.append(f"exit code {trial.exit_code}")
    reason = " ".join((trial.reason or "").split())
    if reason:
        parts = [] if parts and parts[0] in reason else parts
        parts.append(reason)
    return ": ".join(parts)


def _signal_name(number: int) -> str:
    try:
        return Signals(number).name
    except ValueError:
        return f"signal {number}"


def _metrics(metrics: list[MetricSummary], title: str | None) -> Table:
    table = tables.table(
        "metric", "last", "step", "best", "at step",
        right=("last", "step", "best", "at step"), title=title,
    )  # fmt: skip
    for each in metrics:
        arrow = "↓" if each.lower_is_better else "↑"
        table.add_row(
            tables.text(each.name),
            _value(each.last),
            str(each.last_step),
            _value(each.best) + f" {arrow}",
            tables.text(each.best_step),
        )
    return table


def _value(value: Any) -> str:
    return "nan" if value is None else tables.number(value)
