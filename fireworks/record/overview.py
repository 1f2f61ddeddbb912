"""A run at a glance: its trials best first, its metrics' last and best values."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, final

from fireworks.record.index import Index, read_index
from fireworks.record.json_values import decode
from fireworks.record.layout import experiment_folder
from fireworks.record.location import store_of
from fireworks.record.metadata import read_metadata
from fireworks.record.ranking import lower_is_better, rank, read_params
from fireworks.record.schema import NO_TRIAL
from fireworks.record.store import Connection

_ORDER = ("completed", "running", "paused", "queued", "pruned", "stopped", "failed", "killed")


@final
@dataclass(frozen=True)
class MetricSummary:
    """One series: its last value (at the highest step) and its best; None is NaN, or no number.

    ``mean`` is that of the values that are numbers, worked out where it was asked for.
    """

    name: str
    last: float | None
    last_step: int
    best: float | None
    best_step: int | None
    lower_is_better: bool
    mean: float | None = None


@final
@dataclass(frozen=True)
class TrialSummary:
    """A trial and its current attempt."""

    number: int
    state: str
    attempt: int
    params: dict[str, Any]
    result: dict[str, Any]
    reported: float | None
    reason: str | None
    exit_code: int | None
    signal: int | None
    started: float | None
    ended: float | None


@final
@dataclass(frozen=True)
class Overview:
    """What ``fireworks show`` says of a run.

    ``metrics`` are those of the run itself, or those of the best trial where it is a sweep that
    logged nothing of its own; ``metrics_of`` says which trial that is.
    """

    path: Path
    index: Index
    metadata: dict[str, Any]
    params: dict[str, Any]
    trials: list[TrialSummary] = field(default_factory=list[TrialSummary])
    metrics: list[MetricSummary] = field(default_factory=list[MetricSummary])
    metrics_of: int | None = None
    notes: list[str] = field(default_factory=list[str])


def read_overview(path: str | os.PathLike[str]) -> Overview:
    """Read what there is to know of a run at a glance.

    Raises:
        ExperimentNotFound: There is no experiment at ``path``.
        DamagedFile: It is damaged, or was written by a newer release.
    """
    folder = experiment_folder(path)
    index = read_index(folder)
    with store_of(folder, index.store).reading() as connection:
        trials = read_trials(connection, index.objective)
        if index.status == "killed":  # their processes ended with it
            trials = [
                replace(each, state="killed") if each.state == "running" else each
                for each in trials
            ]
        metrics_of = None
        metrics = summarise(connection, NO_TRIAL, index.objective)
        if not metrics and (best := best_of(trials, index.objective)) is not None:
            metrics_of = best.number
            metrics = summarise(connection, best.number, index.objective)
        return Overview(
            path=folder,
            index=index,
            metadata=read_metadata(connection),
            params=read_params(connection, NO_TRIAL),
            trials=trials,
            metrics=metrics,
            metrics_of=metrics_of,
            notes=[text for (text,) in connection.execute("SELECT text FROM notes ORDER BY id")],
        )


def read_trials(connection: Connection, objective: list[list[str]]) -> list[TrialSummary]:
    """The trials, best first: completed ones by the objective, then the others by state."""
    params: dict[int, dict[str, Any]] = {}
    for trial, name, text in connection.execute("SELECT trial, name, value FROM params"):
        params.setdefault(trial, {})[name] = decode(text)
    reported: dict[int, float | None] = dict(
        connection.execute("SELECT trial, value FROM reports ORDER BY step").fetchall()
    )
    rows = connection.execute(
        "SELECT trials.number, trials.state, trials.attempt, trials.result, attempts.reason, "
        "attempts.exit_code, attempts.signal, trials.started, trials.ended "
        "FROM trials LEFT JOIN attempts "
        "ON attempts.trial = trials.number AND attempts.number = trials.attempt"
    )
    trials = [
        TrialSummary(
            number=number,
            state=state,
            attempt=attempt,
            params=params.get(number, {}),
            result=decode(result) if result else {},
            reported=reported.get(number),
            reason=reason,
            exit_code=exit_code,
            signal=signal,
            started=started,
            ended=ended,
        )
        for number, state, attempt, result, reason, exit_code, signal, started, ended in rows
    ]
    return sorted(
        trials,
        key=lambda each: (
            (*_ORDER, each.state).index(each.state),
            rank(each.result, objective),
            each.number,
        ),
    )


def best_of(trials: list[TrialSummary], objective: list[list[str]]) -> TrialSummary | None:
    """The best completed trial of a list that is sorted best first; None without an objective."""
    if not objective or not trials or trials[0].state != "completed":
        return None
    return trials[0]


def summarise(
    connection: Connection, trial: int, objective: list[list[str]], *, mean: bool = False
) -> list[MetricSummary]:
    """The last and best value of each metric of a trial, or of the run itself (-1)."""
    rows = connection.execute(
        "SELECT series.id, series.name, latest.step, latest.value "
        "FROM series JOIN latest ON latest.series = series.id WHERE trial = ? ORDER BY name",
        (trial,),
    ).fetchall()
    found: list[MetricSummary] = []
    for series, name, last_step, last in rows:
        lower = lower_is_better(name, objective)
        best = connection.execute(
            "SELECT value, step FROM metrics WHERE series = ? AND value IS NOT NULL "
            f"ORDER BY value {'ASC' if lower else 'DESC'}, step LIMIT 1",
            (series,),
        ).fetchone()
        value, step = best or (None, None)
        average = None
        if mean:
            (average,) = connection.execute(
                "SELECT avg(value) FROM metrics WHERE series = ?", (series,)
            ).fetchone()
        found.append(MetricSummary(name, last, last_step, value, step, lower, average))
    return found
