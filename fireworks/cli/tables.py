"""How values, times and tables look on a terminal, and in a pipe."""

from __future__ import annotations

import time
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

_STYLES = {
    "completed": "green",
    "running": "cyan",
    "queued": "dim",
    "paused": "yellow",
    "pruned": "yellow",
    "stopped": "yellow",
    "failed": "red",
    "killed": "red",
}


def console() -> Console:
    """Where commands print: as wide as the terminal; in a pipe nothing is cut off."""
    made = Console(highlight=False, markup=False, emoji=False)
    if not made.is_terminal:
        made = Console(highlight=False, markup=False, emoji=False, width=10_000)
    return made


def table(*columns: str, right: tuple[str, ...] = (), title: str | None = None) -> Table:
    """A table with the given headings, those in ``right`` aligned to the right."""
    made = Table(box=box.SIMPLE_HEAD, title=title, title_justify="left", pad_edge=False)
    for column in columns:
        made.add_column(
            text(column), justify="right" if column in right else "left", overflow="fold"
        )
    return made


def text(value: Any, style: str = "") -> Text:
    """A value as it was recorded, without the control characters that could steer a terminal."""
    if value is None:
        shown = ""
    elif isinstance(value, float):
        shown = number(value)
    else:
        shown = str(value)
    clean = "".join(
        each if each.isprintable() or each == "\n" else "\N{REPLACEMENT CHARACTER}"
        for each in shown
    )
    return Text(clean, style=style)


def status(name: str) -> Text:
    """A state or status in its colour."""
    return text(name, _STYLES.get(name, ""))


def number(value: float) -> str:
    """Four to five digits that matter: ``0.96389``, ``1.2e-05``, ``1797``."""
    return f"{value:.5g}"


def moment(seconds: float | None) -> str:
    """A time in the local time zone: ``2026-11-22 23:05:10``."""
    if seconds is None:
        return ""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))


def duration(start: float | None, end: float | None) -> str:
    """The time between two moments, or until now: ``5.2 s``, ``12 min 5 s``, ``3 h 20 min``."""
    if start is None:
        return ""
    seconds = max(0.0, (time.time() if end is None else end) - start)
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min"
    return f"{hours // 24} d {hours % 24} h"
