"""The trials of a sweep as they were recorded, for who goes on with it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from fireworks.record import layout
from fireworks.record.index import read_index
from fireworks.record.json_values import decode
from fireworks.record.location import store_of
from fireworks.record.store import Connection

PICKLED = b"\x80"
"""Begins what Python pickles, and no JSON text."""


@dataclass(frozen=True)
class StoredTrial:
    """A trial as it was recorded.

    Attributes:
        number: From 0.
        state: One of ``queued running completed pruned paused stopped failed``.
        seed: 32 bits.
        params: What was proposed, sorted by name.
        attempts: How many were begun.
        failures: How many of them failed.
        result: What training returned; None where it did not.
        feasible: Whether the result keeps to the constraints.
        reason: Why the last attempt did not complete.
        seconds: How long the last attempt took.
        reports: What it reported, by step.
        told: It was proposed knowing the trials below this number.
        memory: What the proposer keeps with it, as JSON; None: nothing.
    """

    number: int
    state: str
    seed: int
    params: dict[str, Any]
    attempts: int
    failures: int
    result: dict[str, float] | None
    feasible: bool
    reason: str | None
    seconds: float | None
    reports: dict[int, float]
    told: int
    memory: Any


def read_sweep(path: str | os.PathLike[str]) -> tuple[list[StoredTrial], dict[str, Any]]:
    """The trials of a sweep, and what it says of itself by name; nothing is unpickled.

    Raises:
        ExperimentNotFound: There is no experiment at ``path``.
        DamagedFile: It is damaged.
    """
    folder = layout.experiment_folder(path)
    with store_of(folder, read_index(folder).store).reading() as connection:
        if "sweep_state" not in connection.tables():  # of an earlier release
            return [], {}
        rows = connection.execute("SELECT key, value FROM sweep_state").fetchall()
        state = {key: decode(value) for key, value in rows if bytes(value)[:1] != PICKLED}
        return read_trials(connection), state


def read_trials(connection: Connection) -> list[StoredTrial]:
    """All trials, by number."""
    params: dict[int, dict[str, Any]] = {}
    for trial, name, value in connection.execute(
        "SELECT trial, name, value FROM params ORDER BY trial, name"
    ):
        params.setdefault(trial, {})[name] = decode(value)
    reports = read_reports(connection)
    failures = dict(
        connection.execute(
            "SELECT trial, count(*) FROM attempts WHERE state = 'failed' GROUP BY trial"
        ).fetchall()
    )
    rows = connection.execute(
        "SELECT trials.number, trials.state, seed, attempt, result, reason, "
        "attempts.ended - attempts.started, coalesce(told, 0), memory, "
        "coalesce(infeasible, 0) FROM trials "
        "LEFT JOIN attempts ON attempts.trial = trials.number AND attempts.number = attempt "
        "LEFT JOIN sweep_trials ON sweep_trials.trial = trials.number "
        "ORDER BY trials.number"
    )
    return [
        StoredTrial(
            number=number,
            state=state,
            seed=seed,
            params=params.get(number, {}),
            attempts=attempts,
            failures=failures.get(number, 0),
            result=None if result is None else decode(result),
            feasible=not infeasible,
            reason=reason,
            seconds=seconds,
            reports=reports.get(number, {}),
            told=told,
            memory=None if memory is None else decode(memory),
        )
        for (
            number,
            state,
            seed,
            attempts,
            result,
            reason,
            seconds,
            told,
            memory,
            infeasible,
        ) in rows.fetchall()
    ]


def read_reports(connection: Connection, trial: int | None = None) -> dict[int, dict[int, float]]:
    """What trials reported, by trial and step; of a step done again, the last attempt's value."""
    only = "" if trial is None else "WHERE trial = :trial"
    found: dict[int, dict[int, float]] = {}
    for number, step, value in connection.execute(
        f"SELECT trial, step, value FROM reports {only} ORDER BY trial, attempt, time, step",
        {"trial": trial},
    ):
        found.setdefault(number, {})[step] = float("nan") if value is None else value
    return found
