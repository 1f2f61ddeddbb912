"""Many processes that write to one experiment at once."""

import multiprocessing
import time
from pathlib import Path
from typing import Any

import pytest

from fireworks.experiment import Experiment, load_experiment, open_attempt

WRITERS = 16


def write(path: Path, trial: int, attempt: int, steps: int, gate: Any) -> None:
    with open_attempt(path, trial, attempt) as experiment:
        gate.wait()
        for step in range(steps):
            experiment.log({"loss": float(step), "trial": float(trial)}, step=step)
            experiment.flush()  # a transaction for each step


@pytest.mark.parametrize(
    ("store", "steps"),
    [
        ("sqlite", 150),
        ("postgresql", 50),
        pytest.param("sqlite", 6_250, marks=pytest.mark.slow),
    ],
    indirect=["store"],
)
def test_sixteen_writers_lose_no_row_and_keep_their_order(
    tmp_path: Path, store: str | None, steps: int
) -> None:
    context = multiprocessing.get_context("fork")
    with Experiment("digits", root=tmp_path, store=store) as experiment:
        gate: Any = context.Barrier(WRITERS)
        children: list[Any] = []
        for trial in range(WRITERS):
            experiment.sweep.add_trial(trial, seed=trial, params={"n": trial})
            attempt = experiment.sweep.start_attempt(trial, host="here")
            arguments = (experiment.path, trial, attempt, steps, gate)
            children.append(context.Process(target=write, args=arguments))
        for each in children:
            each.start()
        while any(each.is_alive() for each in children):
            experiment.log(parent=1.0)
            experiment.sweep.event("tick")
            load_experiment(experiment.path).sql("SELECT count(*) FROM metric")
            time.sleep(0.02)
        for each in children:
            each.join()
        assert [each.exitcode for each in children] == [0] * WRITERS
        frame = experiment.metrics(names=["loss", "trial"])
        assert len(frame) == WRITERS * steps * 2
        rows = experiment.sql(
            "SELECT trial, step, seq FROM metrics JOIN series ON series.id = series "
            "WHERE name = 'loss' ORDER BY trial, seq"
        )
        for trial in range(WRITERS):
            assert rows[rows["trial"] == trial]["step"].tolist() == list(range(steps))
        assert not rows["seq"].duplicated().any()


def create(root: Path, count: int) -> None:
    for _ in range(count):
        Experiment("digits", root=root).close()


def test_processes_that_create_at_once_get_numbers_of_their_own(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    children = [context.Process(target=create, args=(tmp_path, 4)) for _ in range(6)]
    for each in children:
        each.start()
    for each in children:
        each.join()
    names = sorted(each.name for each in tmp_path.iterdir())
    assert names == [f"digits-{i:04d}" for i in range(1, 25)]
    assert {load_experiment(tmp_path / each).id for each in names} == set(names)
