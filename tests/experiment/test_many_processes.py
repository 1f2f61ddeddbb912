"""Many processes that write to one experiment at once."""

import multiprocessing
import time
from pathlib import Path
from typing import Any

import pytest

from fireworks.experiment import Experiment, load_experiment, open_attempt
from tests.experiment.conftest import Python

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


READER = """
import sys, time
from fireworks.experiment import load_experiment
read = load_experiment(sys.argv[1])
while True:
    seen = len(read.metrics()), len(read.overview())
    print(seen[0], flush=True)
    time.sleep(0.05)
"""


def test_a_reader_every_50_ms_never_locks_the_writer(
    tmp_path: Path, python: Python, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A writer that waits for no lock: had the reader one that is in its way, log would raise.
    monkeypatch.setattr("fireworks.record.sqlite.BUSY_SECONDS", 0.0)
    with Experiment("digits", root=tmp_path) as experiment:
        experiment.log(loss=0.0, step=0)
        experiment.flush()
        reader: Any = python(READER, experiment.path)
        assert int(reader.stdout.readline()) == 1
        log = experiment.path / "experiment.sqlite-wal"
        step, largest = 1, 0
        while step < 30_000:
            for _ in range(50):
                experiment.log({"loss": float(step), "accuracy": step / 2}, step=step)
                step += 1
            experiment.flush()
            largest = max(largest, log.stat().st_size)
            time.sleep(0.002)  # or all would be written before the reader has looked twice
        reader.kill()
        seen = [int(each) for each in reader.stdout]
        assert seen == sorted(seen)
        assert len(seen) > 3
        assert any(1 < each < 60_001 for each in seen)  # it did read meanwhile
        # SQLite's log is begun anew about every 4 MB, unless readers keep it from being so.
        assert largest < 16 * 2**20
        assert len(experiment.metrics()) == 60_001


def test_a_reader_in_the_middle_of_a_read_lets_everybody_write(experiment: Experiment) -> None:
    experiment.log(loss=0.0, step=0)
    experiment.flush()
    read = load_experiment(experiment.path)
    with read._reading() as connection:  # pyright: ignore[reportPrivateUsage]
        count = "SELECT count(*) FROM metrics"
        assert connection.execute(count).fetchone() == (1,)
        for step in range(1, 100):
            experiment.log(loss=0.0, step=step)
            experiment.flush()
        assert connection.execute(count).fetchone() == (1,)  # one state for all that it reads
    assert read.sql(count + " AS n").iloc[0, 0] == 100


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
