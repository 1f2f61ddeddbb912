"""The progress display and the final table."""

from __future__ import annotations

import io
import logging
import re
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from fireworks.factory.display import Display
from fireworks.factory.goal import as_goal
from fireworks.factory.records import TrialRecord, ranked, to_frame, to_table
from fireworks.factory.trials import Trials

MINIMIZE = as_goal(None, "loss")


def record(number: int, state: Any, loss: float | None = None, **more: Any) -> TrialRecord:
    result = None if loss is None else {"loss": loss, "size": 3.0}
    values = None if loss is None else (loss,)
    params = {"lr": 0.1 * number, "kind": "[red]"}
    return TrialRecord(number, params, 1, Path(), state, result, values, seconds=1.5, **more)


RECORDS = [
    record(0, "completed", 0.5),
    record(1, "failed", reason="ValueError: [bold]boom[/bold]"),
    record(2, "completed", 0.25),
    record(3, "pruned"),
    record(4, "running"),
]


def drawn(item: Any, width: int = 120) -> str:
    console = Console(file=io.StringIO(), width=width)
    console.print(item)
    return console.file.getvalue()  # pyright: ignore[reportAttributeAccessIssue]


def test_the_best_come_first() -> None:
    assert [each.number for each in ranked(RECORDS, MINIMIZE)] == [2, 0, 3, 1, 4]
    assert [each.number for each in ranked(RECORDS, as_goal("loss", None))][:2] == [0, 2]


def test_the_table_shows_everything_as_it_is() -> None:
    text = drawn(to_table(RECORDS, MINIMIZE, None))
    assert "5 trials, minimize loss" in text
    caption = "1 failed; the first, trial 1: ValueError: [bold]boom[/bold]"
    assert caption in " ".join(text.split())
    assert "[red]" in text
    assert text.index("0.25") < text.index("0.5 ")
    assert drawn(to_table(RECORDS, MINIMIZE, 2)).count("completed") == 2
    assert "failed" not in drawn(to_table(RECORDS[:1], MINIMIZE, None))


def test_the_frame_has_a_row_per_trial() -> None:
    frame = to_frame(RECORDS)
    expected = ["trial", "state", "loss", "size", "lr", "kind", "seconds", "attempts", "reason"]
    assert list(frame.columns) == expected and len(frame) == 5
    assert list(to_frame([]).columns) == ["trial", "state", "seconds", "attempts", "reason"]


def trials(records: list[TrialRecord]) -> Trials:
    found = Trials(MINIMIZE)
    for each in records:
        found.add(each)
    return found


def test_the_line_counts_and_names_the_best() -> None:
    line = Display(trials(RECORDS), 10).line().plain
    expected = "sweep: 4/10 trials, 1 running, 1 pruned, 1 failed, best loss 0.25 (trial 2)"
    assert line == expected
    records = trials(RECORDS[:1])
    display = Display(records, 10)
    records.add(RECORDS[1])
    display.finished(RECORDS[1])  # in 1.5 s: what was imported before does not count
    assert display.line().plain.endswith("12 s left")


def test_a_terminal_gets_a_live_line_and_log_records(monkeypatch: pytest.MonkeyPatch) -> None:
    # As in a script, where logging was not set up.
    monkeypatch.setattr(logging.getLogger("fireworks.factory"), "propagate", False)
    console = Console(file=io.StringIO(), force_terminal=True, width=100)
    with Display(trials(RECORDS), 10, console) as display:
        display.finished(RECORDS[1])
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", getattr(console.file, "getvalue")())  # noqa: B009
    assert "4/10 trials" in text and "trial 1 failed" in text and "[bold]boom" in text
    assert not logging.getLogger("fireworks.factory").handlers


def test_elsewhere_each_trial_is_a_line_on_stderr(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(logging.getLogger("fireworks.factory"), "propagate", False)
    with Display(trials(RECORDS), 10, Console(file=io.StringIO())) as display:
        display.finished(RECORDS[2])
    captured = capsys.readouterr()
    assert captured.out == "" and len(captured.err.splitlines()) == 1
    assert "trial 2 completed in 1.5 s: loss 0.25  [lr=0.2, kind=[red]]" in captured.err
