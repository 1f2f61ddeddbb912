"""The record of a sweep: trials, attempts, reports and events, written by the sweep's parent."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, final

from fireworks.errors import ExperimentInUse, WrongValue
from fireworks.experiment.parameters import encoded
from fireworks.record.index import Index
from fireworks.record.json_values import encode
from fireworks.record.ranking import best_trial
from fireworks.record.rewinding import position, rewind
from fireworks.record.schema import NO_TRIAL
from fireworks.record.store import Store

ENDED = ("completed", "pruned", "failed", "stopped")
DIRECTIONS = ("maximize", "minimize")


@final
class SweepRecord:
    """Writes what happens to the trials of a sweep; each call is one committed transaction.

    It is ``experiment.sweep``, for the process that owns the experiment.

    Args:
        store: The experiment's database.
        index: The experiment's summary, brought up to date here.
        write_index: Called when the summary has changed.
    """

    def __init__(self, store: Store, index: Index, write_index: Callable[[], None]) -> None:
        self._store = store
        self._index = index
        self._write_index = write_index

    def add_trial(self, number: int, *, seed: int, params: Mapping[str, Any]) -> None:
        """Record a proposed trial as queued, together with its parameters.

        Raises:
            WrongValue: There is a trial of that number, or a parameter is not a JSON value.
            WrongType: A parameter is not a JSON value.
        """
        rows = encoded(number, params)
        with self._store.transaction() as connection:
            if connection.execute("SELECT 1 FROM trials WHERE number = ?", (number,)).fetchone():
                raise WrongValue(f"There is a trial {number} already.")
            connection.execute(
                "INSERT INTO trials (number, state, seed, created) VALUES (?, 'queued', ?, ?)",
                (number, seed, time.time()),
            )
            connection.executemany("INSERT INTO params VALUES (?,?,?)", rows)
        # Written with the next attempt: many trials may be added at once.
        self._index.trials["queued"] = self._index.trials.get("queued", 0) + 1

    def start_attempt(self, trial: int, *, host: str, position: int = 0) -> int:
        """Begin the next attempt at a trial and return its number, from 1.

        What earlier attempts recorded after ``position`` is deleted in the same transaction, in
        every table, so that a retry leaves no rows twice; from then on earlier attempts are
        refused.

        Args:
            trial: The trial.
            host: Where it will run.
            position: What ``Experiment.mark`` returned for the checkpoint that the attempt goes
                on from; 0 where it begins anew.

        Raises:
            WrongValue: There is no such trial, or it is running or has ended.
        """
        now = time.time()
        with self._changing() as connection:
            state, attempt = self._trial(connection, trial)
            if state not in ("queued", "paused"):
                raise WrongValue(f"Trial {trial} is {state}; only a queued one can be started.")
            rewind(connection, trial, position)
            connection.execute(
                "UPDATE trials SET state = 'running', attempt = ?, result = NULL, ended = NULL, "
                "started = coalesce(started, ?) WHERE number = ?",
                (attempt + 1, now, trial),
            )
            connection.execute(
                "INSERT INTO attempts (trial, number, state, host, started) "
                "VALUES (?, ?, 'running', ?, ?)",
                (trial, attempt + 1, host, now),
            )
        return attempt + 1

    def set_process(self, trial: int, attempt: int, pid: int) -> None:
        """Record the process that runs an attempt."""
        with self._store.transaction() as connection:
            self._running(connection, trial, attempt)
            connection.execute(
                "UPDATE attempts SET pid = ? WHERE trial = ? AND number = ?", (pid, trial, attempt)
            )

    def report(self, trial: int, attempt: int, step: int, value: float) -> None:
        """Record what a running trial reported; a repeated step replaces the earlier value."""
        with self._store.transaction() as connection:
            self._running(connection, trial, attempt)
            connection.execute(
                "INSERT OR REPLACE INTO reports (trial, attempt, step, value, time, seq) "
                "VALUES (?,?,?,?,?,?)",
                (trial, attempt, step, float(value), time.time(), position(connection) + 1),
            )

    def finish_attempt(
        self,
        trial: int,
        attempt: int,
        *,
        state: str,
        result: Mapping[str, float] | None = None,
        reason: str | None = None,
        exit_code: int | None = None,
        signal: int | None = None,
        peak_memory: int | None = None,
    ) -> None:
        """End an attempt and its trial together; rows that the attempt writes later are refused.

        Args:
            trial: The trial.
            attempt: Its current attempt.
            state: "completed", "pruned", "failed" or "stopped".
            result: What training returned.
            reason: Why, in words, where it did not complete.
            exit_code: The exit code of its process.
            signal: The signal that ended its process.
            peak_memory: In bytes.

        Raises:
            WrongValue: Another state, or no such trial.
            ExperimentInUse: The attempt is not the trial's current, running one.
        """
        if state not in ENDED:
            raise WrongValue(f"An attempt cannot end as {state!r}; only as one of {ENDED}.")
        text = None if result is None else encode(result, what=f"The result of trial {trial}")
        now = time.time()
        with self._changing() as connection:
            self._running(connection, trial, attempt)
            connection.execute(
                "UPDATE attempts SET state = ?, reason = ?, exit_code = ?, signal = ?, "
                "peak_memory = ?, ended = ? WHERE trial = ? AND number = ?",
                (state, reason, exit_code, signal, peak_memory, now, trial, attempt),
            )
            connection.execute(
                "UPDATE trials SET state = ?, result = ?, ended = ? WHERE number = ?",
                (state, text, now, trial),
            )

    def requeue(self, trial: int) -> None:
        """Put a trial that has ended, or whose process is gone, back in the queue for a retry."""
        with self._changing() as connection:
            state, attempt = self._trial(connection, trial)
            if state == "running":
                connection.execute(
                    "UPDATE attempts SET state = 'failed', ended = ?, "
                    "reason = coalesce(reason, 'given up for a new attempt') "
                    "WHERE trial = ? AND number = ?",
                    (time.time(), trial, attempt),
                )
            connection.execute(
                "UPDATE trials SET state = 'queued', result = NULL, ended = NULL WHERE number = ?",
                (trial,),
            )

    def event(
        self,
        kind: str,
        *,
        trial: int | None = None,
        attempt: int | None = None,
        data: object = None,
    ) -> None:
        """Record that something happened; ``data`` is any JSON value."""
        text = None if data is None else encode(data, what=f"The data of the event {kind!r}")
        with self._store.transaction() as connection:
            connection.execute(
                "INSERT INTO events (time, kind, trial, attempt, data) VALUES (?,?,?,?,?)",
                (time.time(), kind, NO_TRIAL if trial is None else trial, attempt or 0, text),
            )

    def set_objective(self, metrics: Sequence[tuple[str, str]]) -> None:
        """Record what the sweep seeks, most important first, so that the best can be shown first.

        Args:
            metrics: Pairs of a name in the trials' results and "maximize" or "minimize".
        """
        for name, direction in metrics:
            if direction not in DIRECTIONS:
                raise WrongValue(
                    f"The direction of {name!r} must be 'maximize' or 'minimize'; "
                    f"got {direction!r}."
                )
        objective = [[name, direction] for name, direction in metrics]
        text = encode(objective, what="The objective")
        self._index.objective = objective
        with self._changing() as connection:
            connection.execute("INSERT OR REPLACE INTO metadata VALUES ('objective', ?)", (text,))

    @contextmanager
    def _changing(self) -> Generator[sqlite3.Connection]:
        """A transaction that changes what the index says of the trials."""
        with self._store.lock:
            with self._store.transaction() as connection:
                yield connection
                states = connection.execute("SELECT state, count(*) FROM trials GROUP BY state")
                counts = dict(states.fetchall())
                best = best_trial(connection, self._index.objective)
            self._index.trials = counts
            self._index.best = best
            self._write_index()

    def _trial(self, connection: sqlite3.Connection, trial: int) -> tuple[str, int]:
        """The state and current attempt of a trial."""
        row = connection.execute(
            "SELECT state, attempt FROM trials WHERE number = ?", (trial,)
        ).fetchone()
        if row is None:
            raise WrongValue(f"There is no trial {trial!r} in this sweep.")
        return row

    def _running(self, connection: sqlite3.Connection, trial: int, attempt: int) -> None:
        self._trial(connection, trial)
        require_running(connection, trial, attempt)


def require_running(connection: sqlite3.Connection, trial: int, attempt: int) -> None:
    """Refuse a transaction of an attempt that is not its trial's current, running one.

    Raises:
        ExperimentInUse: It is not; the message says what the trial's state is.
    """
    row = connection.execute(
        "SELECT trials.state, trials.attempt, attempts.state FROM trials "
        "LEFT JOIN attempts ON attempts.trial = trials.number AND attempts.number = trials.attempt "
        "WHERE trials.number = ?",
        (trial,),
    ).fetchone()
    if row == ("running", attempt, "running"):
        return
    if row is None:
        problem = f"there is no trial {trial}"
    elif row[1] != attempt:
        problem = f"trial {trial} is {row[0]}, its current attempt is {row[1] or 'none yet'}"
    else:
        problem = f"trial {trial} is {row[0]}"
    raise ExperimentInUse(
        f"Attempt {attempt} at trial {trial} may not write: {problem}. "
        "Nothing of this was recorded."
    )
