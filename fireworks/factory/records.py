"""What the Factory knows of its trials, and how that is shown."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from fireworks.errors import WrongValue
from fireworks.factory.goal import Goal

if TYPE_CHECKING:
    import pandas as pd
    from rich.table import Table
    from rich.text import Text

State: TypeAlias = Literal[
    "queued", "running", "completed", "pruned", "paused", "stopped", "failed"
]
FINISHED = ("completed", "pruned", "stopped", "failed")
_ORDER = (*FINISHED, "paused", "running", "queued")


@dataclass
class TrialRecord:
    """A trial as the Factory sees it.

    Attributes:
        number: 0 for the first one.
        params: What was proposed.
        seed: 32 bits.
        path: The trial's folder, with one folder per attempt for what it printed.
        state: One of ``queued, running, completed, pruned, paused, stopped, failed``.
        result: What ``train`` returned, where it completed.
        values: The objectives in the result, in their order.
        feasible: Whether the result keeps to the sweep's constraints.
        reason: Why it failed or was stopped, in one line.
        attempts: How many were begun.
        failures: How many of them failed by their own doing.
        reports: What it has reported by step, up to the checkpoint that an attempt went on from,
            and since.
        seconds: How long the last attempt took.
        told: It was proposed knowing the results of the trials below this number.
        loader: Loads its model.
    """

    number: int
    params: dict[str, Any]
    seed: int
    path: Path
    state: State = "queued"
    result: dict[str, float] | None = None
    values: tuple[float, ...] | None = None
    feasible: bool = True
    reason: str | None = None
    attempts: int = 0
    failures: int = 0
    reports: dict[int, float] = field(default_factory=dict[int, float])
    seconds: float | None = None
    told: int = 0
    loader: Callable[[TrialRecord], Any] | None = field(default=None, repr=False, compare=False)

    @property
    def value(self) -> float | None:
        """The first objective in the result; None where the trial did not complete."""
        return None if self.values is None else self.values[0]

    @property
    def finished(self) -> bool:
        """Whether nothing more will become of it."""
        return self.state in FINISHED

    @property
    def stderr(self) -> Path:
        """Where the last attempt's errors were printed."""
        return self.path / f"attempt-{self.attempts}" / "stderr.txt"

    def load_model(self) -> Any:
        """Make its model again, with the weights of its last checkpoint, in evaluation mode.

        ``train`` is called with its parameters, here and now, until it attaches its trainer.

        Returns:
            The model; a dict of them by name where the trainer has several.

        Raises:
            WrongValue: The trial wrote no checkpoint, or ``train`` does not attach a trainer.
        """
        if self.loader is None:
            raise WrongValue("this record belongs to no Factory that could make its model")
        return self.loader(self)

    def row(self) -> dict[str, Any]:
        """It as one row of a table: number, state, result, parameters, and the rest."""
        return {
            "trial": self.number,
            "state": self.state,
            **(self.result or {}),
            **{k: v for k, v in self.params.items() if k not in (self.result or {})},
            "seconds": self.seconds,
            "attempts": self.attempts,
            "reason": self.reason,
        }


@dataclass(frozen=True)
class EarlierTrial:
    """A finished trial of another sweep.

    Attributes:
        params: What was tried.
        state: How it ended.
        result: What ``train`` returned; None where it did not.
        distributions: Optuna's distributions of the parameters as JSON, where Optuna proposed them.
    """

    params: dict[str, Any]
    state: State
    result: dict[str, float] | None
    distributions: dict[str, str]


def ranked(records: Sequence[TrialRecord], goal: Goal) -> list[TrialRecord]:
    """The records, best first; those without a value last, grouped by their states."""

    def key(record: TrialRecord) -> tuple[int, bool, tuple[float, ...], int]:
        values = () if record.values is None else goal.best_first(record.values)
        return _ORDER.index(record.state), not record.feasible, values, record.number

    return sorted(records, key=key)


def best_of(records: Iterable[TrialRecord], goal: Goal) -> TrialRecord | None:
    """The best record that completed and keeps to the constraints; None where there is none."""
    candidates = [each for each in records if each.values is not None and each.feasible]
    return min(
        candidates,
        key=lambda each: (goal.best_first(each.values or ()), each.number),
        default=None,
    )


def pareto_front(records: Iterable[TrialRecord], goal: Goal) -> list[TrialRecord]:
    """The feasible records that no other one dominates, by number."""
    front: list[TrialRecord] = []
    for record in records:
        if record.values is None or not record.feasible:
            continue
        values = record.values
        if any(goal.dominates(other.values or (), values) for other in front):
            continue
        front = [each for each in front if not goal.dominates(values, each.values or ())]
        front.append(record)
    return front


def to_frame(records: Sequence[TrialRecord]) -> pd.DataFrame:
    """One row per trial: its number, state, metrics, parameters, seconds, attempts, reason."""
    import pandas as pd

    metrics = _names(record.result or {} for record in records)
    params = [each for each in _names(record.params for record in records) if each not in metrics]
    columns = ["trial", "state", *metrics, *params, "seconds", "attempts", "reason"]
    return pd.DataFrame([record.row() for record in records], columns=columns)


def to_table(records: Sequence[TrialRecord], goal: Goal, rows: int | None) -> Table:
    """A table for the terminal, best trial first."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    params = _names(record.params for record in records)
    others = [
        each for each in _names(record.result or {} for record in records) if each not in params
    ]
    sought = goal.metrics
    metrics = [*sought, *(each for each in others if each not in sought)]
    table = Table(
        title=f"{len(records)} trials, {goal}",
        box=SIMPLE_HEAD,
        pad_edge=False,
        collapse_padding=True,  # many columns, and terminals of 80
        caption=_first_failure(records),
        caption_justify="left",
    )
    table.add_column("trial", justify="right", no_wrap=True)
    table.add_column("state", no_wrap=True)
    for name in (*metrics, *params, "time"):
        table.add_column(name, justify="right", no_wrap=True)
    for record in ranked(records, goal)[:rows]:
        cells = [str(record.number), record.state]
        cells += [_cell((record.result or {}).get(name)) for name in metrics]
        cells += [_cell(record.params.get(name)) for name in params]
        cells.append("" if record.seconds is None else f"{record.seconds:.1f} s")
        style = {"completed": "", "failed": "red", "stopped": "yellow"}.get(record.state, "dim")
        if not record.feasible:
            cells[1], style = "infeasible", "yellow"
        # Text: a value may hold square brackets, which rich would take for markup.
        table.add_row(*(Text(cell) for cell in cells), style=style)
    return table


def _first_failure(records: Sequence[TrialRecord]) -> Text | None:
    from rich.text import Text

    failed = [record for record in records if record.state == "failed"]
    if not failed:
        return None
    reason = textwrap.shorten(failed[0].reason or "", 200, placeholder=" …")
    return Text(f"{len(failed)} failed; the first, trial {failed[0].number}: {reason}")


def _names(mappings: Any) -> list[str]:
    names: dict[str, None] = {}
    for each in mappings:
        mapping: Mapping[str, Any] = each
        names.update(dict.fromkeys(mapping))
    return list(names)


def _cell(value: object) -> str:
    if value is None:
        return ""
    return f"{value:.4g}" if isinstance(value, float) else str(value)
