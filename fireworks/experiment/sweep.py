"""The record of a sweep: trials, attempts, reports and events, written by the sweep's parent."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, final

from fireworks.errors import ExperimentInUse, WrongValue
from fireworks.experiment.parameters import encoded
from fireworks.experiment.stored_trials import PICKLED, StoredTrial, read_reports, read_trials
from fireworks.record.index import Index
from fireworks.record.json_values import decode, encode
from fireworks.record.metadata import write_metadata
from fireworks.record.ranking import best_trial, rank, read_params
from fireworks.record.rewinding import position, rewind
from fireworks.record.schema import NO_TRIAL
from fireworks.record.store import Connection, Store

ENDED = ("completed", "pruned", "failed", "stopped")
DIRECTIONS = ("maximize", "minimize")

_WRITE_STATE = (
    "INSERT INTO sweep_state (key, value) VALUES (?,?) "
    "ON CONFLICT (key) DO UPDATE SET value = excluded.value"
)
_INDEX_SECONDS = 0.5  # how far experiment.json may be behind, so that no trial waits for the disk


@final
class SweepRecord:
    """Writes what happens to the trials of a sweep; each call is one committed transaction.

    It is ``experiment.sweep``, for the process that owns the experiment. The calls take the same
    time however many trials there are.

    Args:
        store: The experiment's database.
        index: The experiment's summary. It is brought up to date here, and written at most twice
            a second; the rest is written by ``write_index`` and at the experiment's end.
        write_index: Writes it.

    Attributes:
        ended_early: Whether the sweep was asked to end before it had all its trials: a run that
            then ends well is recorded as stopped, so that `fireworks resume` goes on with it.
    """

    def __init__(self, store: Store, index: Index, write_index: Callable[[], None]) -> None:
        self._store = store
        self._index = index
        self._write_index = write_index
        self._index_written = 0.0
        self.ended_early = False
        # Who writes trials is this object alone, so it need not ask for what it has written.
        self._states: dict[int, str] = {}
        self._attempts: dict[int, int] = {}
        self._counts: dict[str, int] = {}
        self._best: tuple[tuple[float, ...], int] | None = None
        with store.transaction() as connection:
            for number, state, attempt in connection.execute(
                "SELECT number, state, attempt FROM trials"
            ):
                self._states[number], self._attempts[number] = state, attempt
                self._counts[state] = self._counts.get(state, 0) + 1
            self._find_best(connection)

    def add_trial(
        self,
        number: int,
        *,
        seed: int,
        params: Mapping[str, Any],
        told: int = 0,
        state: Mapping[str, Any] | None = None,
        memory: Mapping[int, Any] | None = None,
    ) -> None:
        """Record a proposed trial as queued, together with all that the next proposal needs.

        Args:
            number: Its number.
            seed: 32 bits.
            params: JSON values by name.
            told: It was proposed knowing the trials below this number.
            state: What changed of the sweep's state; see ``set_state``.
            memory: What the proposer keeps with this and with earlier trials: JSON by number.

        Raises:
            WrongValue: There is a trial of that number, or a parameter is not a JSON value.
            WrongType: A parameter is not a JSON value.
        """
        if number in self._states:
            raise WrongValue(f"There is a trial {number} already.")
        rows = encoded(number, params)
        values = _encoded_state(state or {})
        memories = [
            (encode(each, what=f"What is kept with trial {trial}"), trial)
            for trial, each in (memory or {}).items()
        ]
        with self._store.transaction() as connection:
            connection.execute(
                "INSERT INTO trials (number, state, seed, created) VALUES (?, 'queued', ?, ?)",
                (number, seed, time.time()),
            )
            connection.executemany("INSERT INTO params VALUES (?,?,?)", rows)
            connection.execute(
                "INSERT INTO sweep_trials (trial, told) VALUES (?, ?)", (number, told)
            )
            connection.executemany("UPDATE sweep_trials SET memory = ? WHERE trial = ?", memories)
            connection.executemany(_WRITE_STATE, values)
        self._move(number, "queued")
        self._attempts[number] = 0

    def set_state(self, values: Mapping[str, Any]) -> None:
        """Record parts of the sweep's state by name: JSON values, or bytes."""
        rows = _encoded_state(values)
        with self._store.transaction() as connection:
            connection.executemany(_WRITE_STATE, rows)

    def state(self) -> dict[str, Any]:
        """The sweep's state by name, as ``set_state`` and ``add_trial`` wrote it."""
        with self._store.transaction() as connection:
            return {
                key: value if value[:1] == PICKLED else decode(value)
                for key, value in connection.execute("SELECT key, value FROM sweep_state")
            }

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
        state, attempt = self._known(trial), self._attempts[trial] + 1
        if state not in ("queued", "paused"):
            raise WrongValue(f"Trial {trial} is {state}; only a queued one can be started.")
        with self._store.transaction() as connection:
            if attempt > 1:
                rewind(connection, trial, position)
            connection.execute(
                "UPDATE trials SET state = 'running', attempt = ?, result = NULL, ended = NULL, "
                "started = coalesce(started, ?) WHERE number = ?",
                (attempt, now, trial),
            )
            connection.execute(
                "INSERT INTO attempts (trial, number, state, host, started) "
                "VALUES (?, ?, 'running', ?, ?)",
                (trial, attempt, host, now),
            )
        self._attempts[trial] = attempt
        self._move(trial, "running")
        return attempt

    def set_process(self, trial: int, attempt: int, pid: int) -> None:
        """Record the process that runs an attempt."""
        self._require_running(trial, attempt)
        with self._store.transaction() as connection:
            connection.execute(
                "UPDATE attempts SET pid = ? WHERE trial = ? AND number = ?", (pid, trial, attempt)
            )

    def report(self, trial: int, attempt: int, step: int, value: float) -> None:
        """Record what a running trial reported; a repeated step replaces the earlier value."""
        self._require_running(trial, attempt)
        with self._store.transaction() as connection:
            connection.execute(
                "INSERT INTO reports (trial, attempt, step, value, time, seq) "
                "VALUES (?,?,?,?,?,?) ON CONFLICT (trial, attempt, step) DO UPDATE SET "
                "value = excluded.value, time = excluded.time, seq = excluded.seq",
                (trial, attempt, step, float(value), time.time(), position(connection) + 1),
            )

    def reports(self, trial: int) -> dict[int, float]:
        """What a trial reported, by step; of a step that was done again, the last attempt's."""
        with self._store.transaction() as connection:
            return read_reports(connection, trial).get(trial, {})

    def finish_attempt(
        self,
        trial: int,
        attempt: int,
        *,
        state: str,
        result: Mapping[str, float] | None = None,
        feasible: bool = True,
        reason: str | None = None,
        exit_code: int | None = None,
        signal: int | None = None,
        peak_memory: int | None = None,
        retry: bool = False,
    ) -> None:
        """End an attempt and its trial together; rows that the attempt writes later are refused.

        Args:
            trial: The trial.
            attempt: Its current attempt.
            state: "completed", "pruned", "failed" or "stopped"; or "paused", from which the trial
                may be started again.
            result: What training returned.
            feasible: Whether the result keeps to the sweep's constraints.
            reason: Why, in words, where it did not complete.
            exit_code: The exit code of its process.
            signal: The signal that ended its process.
            peak_memory: In bytes.
            retry: Whether the trial is put back in the queue for another attempt.

        Raises:
            WrongValue: Another state, or no such trial.
            ExperimentInUse: The attempt is not the trial's current, running one.
        """
        if state not in (*ENDED, "paused"):
            raise WrongValue(f"An attempt cannot end as {state!r}; only as one of {ENDED}.")
        text = None if result is None else encode(result, what=f"The result of trial {trial}")
        self._require_running(trial, attempt)
        now = time.time()
        with self._store.transaction() as connection:
            connection.execute(
                "UPDATE attempts SET state = ?, reason = ?, exit_code = ?, signal = ?, "
                "peak_memory = ?, ended = ? WHERE trial = ? AND number = ?",
                (state, reason, exit_code, signal, peak_memory, now, trial, attempt),
            )
            connection.execute(
                "UPDATE trials SET state = ?, result = ?, ended = ? WHERE number = ?",
                ("queued", None, None, trial) if retry else (state, text, now, trial),
            )
            if not feasible:
                connection.execute(
                    "UPDATE sweep_trials SET infeasible = 1 WHERE trial = ?", (trial,)
                )
            if state == "completed" and result is not None and feasible:
                self._consider(connection, trial, result)
        self._move(trial, "queued" if retry else state)

    def decide(
        self, pruned: Sequence[int], promoted: Sequence[int], known: Mapping[str, Any]
    ) -> None:
        """Record what becomes of paused trials, in one transaction.

        Args:
            pruned: Those that end.
            promoted: Those that are put in the queue, to be gone on with.
            known: What changed of the sweep's state with it; see ``set_state``.

        Raises:
            WrongValue: One of them is not paused.
        """
        states = {**dict.fromkeys(pruned, "pruned"), **dict.fromkeys(promoted, "queued")}
        for trial in states:
            if self._known(trial) != "paused":
                raise WrongValue(f"Trial {trial} is {self._states[trial]}, not paused.")
        rows = _encoded_state(known)
        now = time.time()
        with self._store.transaction() as connection:
            connection.executemany(
                "UPDATE trials SET state = ?, ended = ? WHERE number = ?",
                [
                    (state, now if state == "pruned" else None, trial)
                    for trial, state in states.items()
                ],
            )
            connection.executemany(_WRITE_STATE, rows)
        for trial, state in states.items():
            self._move(trial, state)

    def requeue(
        self, trial: int, *, state: str = "failed", reason: str = "given up for a new attempt"
    ) -> None:
        """Put a trial that has ended, or whose process is gone, back in the queue for a retry.

        Args:
            trial: The trial.
            state: What an attempt that is recorded as running ends as.
            reason: Why it does.
        """
        was = self._known(trial)
        with self._store.transaction() as connection:
            if was == "running":
                connection.execute(
                    "UPDATE attempts SET state = ?, ended = ?, "
                    "reason = coalesce(reason, ?) WHERE trial = ? AND number = ?",
                    (state, time.time(), reason, trial, self._attempts[trial]),
                )
            connection.execute(
                "UPDATE trials SET state = 'queued', result = NULL, ended = NULL WHERE number = ?",
                (trial,),
            )
            if was == "completed":
                self._find_best(connection)
        self._move(trial, "queued")

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
        self._index.objective = objective
        with self._store.transaction() as connection:
            write_metadata(connection, {"objective": objective})
            self._find_best(connection)
        self.write_index()

    def trials(self) -> list[StoredTrial]:
        """All trials by number, as they were recorded."""
        with self._store.transaction() as connection:
            return read_trials(connection)

    def write_index(self) -> None:
        """Bring ``experiment.json`` up to date now."""
        self._index_written = time.monotonic()
        self._write_index()

    def _move(self, trial: int, state: str) -> None:
        """Note a trial's new state, which is committed, in the summary."""
        before = self._states.get(trial)
        if before is not None:
            self._counts[before] -= 1
        self._states[trial] = state
        self._counts[state] = self._counts.get(state, 0) + 1
        self._index.trials = {name: count for name, count in self._counts.items() if count}
        if time.monotonic() - self._index_written >= _INDEX_SECONDS:
            self.write_index()

    def _find_best(self, connection: Connection) -> None:
        self._index.best = best_trial(connection, self._index.objective)
        self._best = None
        if self._index.best is not None:
            key = rank(self._index.best["result"], self._index.objective)
            self._best = key, self._index.best["trial"]

    def _consider(self, connection: Connection, trial: int, result: Mapping[str, float]) -> None:
        if not self._index.objective:
            return
        candidate = rank(result, self._index.objective), trial
        if self._best is None or candidate < self._best:
            self._best = candidate
            params = read_params(connection, trial)
            self._index.best = {"trial": trial, "params": params, "result": dict(result)}

    def _known(self, trial: int) -> str:
        """The state of a trial."""
        if trial not in self._states:
            raise WrongValue(f"There is no trial {trial!r} in this sweep.")
        return self._states[trial]

    def _require_running(self, trial: int, attempt: int) -> None:
        if self._known(trial) != "running" or self._attempts[trial] != attempt:
            with self._store.transaction() as connection:
                require_running(connection, trial, attempt)


def _encoded_state(values: Mapping[str, Any]) -> list[tuple[str, bytes]]:
    return [
        (key, each if isinstance(each, bytes) else encode(each, what=f"The sweep's {key}").encode())
        for key, each in values.items()
    ]


def require_running(connection: Connection, trial: int, attempt: int) -> None:
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
