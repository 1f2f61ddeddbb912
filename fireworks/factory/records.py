"""What the Factory knows of its trials, and how that is shown."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

if TYPE_CHECKING:
    import pandas as pd
    from rich.table import Table
    from rich.text import Text

State: TypeAlias = Literal["queued", "running", "completed", "pruned", "stopped", "failed"]
FINISHED = ("completed", "pruned", "stopped", "failed")
_ORDER = (*FINISHED, "running", "queued")


@dataclass(frozen=True)
class Objective:
    """What a sweep is after.

    Attributes:
        metric: Its name in what ``train`` returns.
        direction: Whether a good trial has much of it.
    """

    metric: str
    direction: Literal["maximize", "minimize"]

    def best_first(self, value: float) -> float:
        """A key that sorts the best value first."""
        return -value if self.direction == "maximize" else value


@dataclass
class TrialRecord:
    """A trial as the Factory sees it.

    Attributes:
        number: 0 for the first one.
        params: What was proposed.
        seed: 32 bits.
        path: The trial's folder, with one folder per attempt for what it printed.
        state: One of ``queued, running, completed, pruned, stopped, failed``.
        result: What ``train`` returned, where it completed.
        value: The objective in the result.
        reason: Why it failed or was stopped, in one line.
        attempts: How many were begun.
        reports: What the current attempt has reported, by step.
        seconds: How long the last attempt took.
    """

    number: int
    params: dict[str, Any]
    seed: int
    path: Path
    state: State = "queued"
    result: dict[str, float] | None = None
    value: float | None = None
    reason: str | None = None
    attempts: int = 0
    reports: dict[int, float] = field(default_factory=dict[int, float])
    seconds: float | None = None

    @property
    def finished(self) -> bool:
        """Whether nothing more will become of it."""
        return self.state in FINISHED

    @property
    def stderr(self) -> Path:
        """Where the last attempt's errors were printed."""
        return self.path / f"attempt-{self.attempts}" / "stderr.txt"

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


def ranked(records: Sequence[TrialRecord], objective: Objective) -> list[TrialRecord]:
    """The records, best first; those without a value last, grouped by their states."""

    def key(record: TrialRecord) -> tuple[int, float, int]:
        value = 0.0 if record.value is None else objective.best_first(record.value)
        return _ORDER.index(record.state), value, record.number

    return sorted(records, key=key)


def to_frame(records: Sequence[TrialRecord]) -> pd.DataFrame:
    """One row per trial: its number, state, metrics, parameters, seconds, attempts, reason."""
    import pandas as pd

    metrics = _names(record.result or {} for record in records)
    params = [each for each in _names(record.params for record in records) if each not in metrics]
    columns = ["trial", "state", *metrics, *params, "seconds", "attempts", "reason"]
    return pd.DataFrame([record.row() for record in records], columns=columns)


def to_table(records: Sequence[TrialRecord], objective: Objective, rows: int | None) -> Table:
    """A table for the terminal, best trial first."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    params = _names(record.params for record in records)
    others = [
        each for each in _names(record.result or {} for record in records) if each not in params
    ]
    metrics = [objective.metric, *(each for each in others if each != objective.metric)]
    table = Table(
        title=f"{len(records)} trials, {objective.direction} {objective.metric}",
        box=SIMPLE_HEAD,
        pad_edge=False,
        caption=_first_failure(records),
        caption_justify="left",
    )
    table.add_column("trial", justify="right", no_wrap=True)
    table.add_column("state", no_wrap=True)
    for name in (*metrics, *params, "time"):
        table.add_column(name, justify="right", no_wrap=True)
    for record in ranked(records, objective)[:rows]:
        cells = [str(record.number), record.state]
        cells += [_cell((record.result or {}).get(name)) for name in metrics]
        cells += [_cell(record.params.get(name)) for name in params]
        cells.append("" if record.seconds is None else f"{record.seconds:.1f} s")
        style = {"completed": "", "failed": "red", "stopped": "yellow"}.get(record.state, "dim")
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
