"""What a prune decision may see of other trials, also after a resume."""

from __future__ import annotations

from pathlib import Path

import optuna

from fireworks.factory.goal import as_goal
from fireworks.factory.pruning import Pruning
from fireworks.factory.records import TrialRecord


def test_after_a_resume_a_decision_sees_no_rung_of_trials_it_may_not_know() -> None:
    pruner = optuna.pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=2)
    goal = as_goal("accuracy", None)
    reports = {0: 0.1, 1: 0.9}
    ends = [
        TrialRecord(
            number,
            {},
            0,
            Path(),
            state="completed",
            result={"accuracy": value},
            values=(value,),
            reports={1: value},
        )
        for number, value in reports.items()
    ]

    undisturbed = Pruning(pruner, goal)
    for number, told in enumerate((0, 0, 1)):  # the last one knows the first one only
        undisturbed.begin_trial(number, told)
    for number, value in reports.items():
        undisturbed.decide(number, 1, value)
    rungs = [undisturbed.tell(each) for each in ends]
    assert all(rungs)
    decided = undisturbed.decide(2, 1, 0.5)

    resumed = Pruning(pruner, goal)
    for number, (told, noted) in enumerate(zip((0, 0, 1), [*rungs, None], strict=True)):
        resumed.begin_trial(number, told, noted)
    for each in ends:
        resumed.tell(each)
    assert resumed.decide(2, 1, 0.5) is decided is False
