"""Writers that are really killed, at random moments, and disks that are really full."""

import random
import resource
import shutil
import signal
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from fireworks.errors import ExperimentNotFound, NotRecorded
from fireworks.experiment import Experiment, load_experiment
from fireworks.message import Message

WRITER = """
import sys, time
from fireworks.experiment import load_experiment
with load_experiment(sys.argv[1], write=True) as experiment:
    step = int(sys.argv[2])
    print("ready", flush=True)
    while True:
        experiment.log({"loss": step / 2, "accuracy": step / 4}, step=step)
        step += 1
        if step % 50 == 0:
            experiment.flush()
            print(step, flush=True)   # all below this step was committed
        time.sleep(0.0005)
"""


def test_what_was_committed_survives_kill_9_at_any_moment(
    python: Callable[..., Any], tmp_path: Path
) -> None:
    with Experiment("digits", root=tmp_path) as experiment:
        path = experiment.path
    chance = random.Random(7)
    step = 0
    for _ in range(4):
        process = python(WRITER, path, step)
        assert process.stdout.readline() == "ready\n"
        time.sleep(chance.uniform(0.05, 0.3))
        process.send_signal(signal.SIGKILL)
        committed = max([step, *(int(each) for each in process.stdout)])
        process.wait()
        read = load_experiment(path)
        assert read.status == "killed"
        assert read.sql("SELECT count(*) AS n FROM metrics")["n"][0] % 2 == 0  # pyright: ignore[reportGeneralTypeIssues]
        frame = read.metrics(wide=True)
        if committed:
            steps = frame["step"].tolist()
            assert steps == list(range(len(steps)))  # no holes
            assert len(steps) >= committed
            assert frame["loss"].tolist() == [each / 2 for each in steps]
            assert read.sql("SELECT step FROM latest")["step"].tolist() == [steps[-1]] * 2
            step = len(steps)
        copy = tmp_path / "copy"
        shutil.copytree(path, copy)
        connection = sqlite3.connect(copy / "experiment.sqlite")
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        connection.close()
        shutil.rmtree(copy)
    assert step > 0


def test_at_most_the_last_moment_is_lost(python: Callable[..., Any], tmp_path: Path) -> None:
    process = python(
        """
import sys, time
from fireworks.errors import ExperimentNotFound, NotRecorded
from fireworks.experiment import Experiment
with Experiment("digits", root=sys.argv[1]) as experiment:
    for step in range(1_000_000):
        experiment.log(time=time.time(), step=step)
        print(time.time(), flush=True)
        time.sleep(0.001)
""",
        tmp_path,
    )
    lines = [process.stdout.readline() for _ in range(700)]
    process.kill()
    last = float([*lines, *process.stdout][-1])
    process.wait()
    frame = load_experiment(tmp_path / "digits-0001").metrics()
    # A tenth of a second, on a machine that may be very busy.
    assert last - frame["value"].max() < 1.0  # pyright: ignore[reportGeneralTypeIssues]


def test_durable_loses_nothing(python: Callable[..., Any], tmp_path: Path) -> None:
    process = python(
        """
import sys, time
from fireworks.errors import ExperimentNotFound, NotRecorded
from fireworks.experiment import Experiment
with Experiment("digits", root=sys.argv[1], durable=True) as experiment:
    for step in range(1_000_000):
        experiment.log(x=1.0, step=step)
        print(step, flush=True)
""",
        tmp_path,
    )
    lines = [process.stdout.readline() for _ in range(50)]
    process.kill()
    last = int([*lines, *process.stdout][-1])
    process.wait()
    assert load_experiment(tmp_path / "digits-0001").metrics()["step"].max() >= last  # pyright: ignore[reportGeneralTypeIssues]


@pytest.fixture
def small_disk() -> Any:
    """Let this process write no file beyond a megabyte, as long as the block lasts."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

    class Small:
        def __enter__(self) -> None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, before[1]))

        def __exit__(self, *_: object) -> None:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)

    yield Small()
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    signal.signal(signal.SIGXFSZ, handler)


def test_a_full_disk_is_told_and_nothing_is_lost(tmp_path: Path, small_disk: Any) -> None:
    with Experiment("digits", root=tmp_path) as experiment:
        experiment.log(x=0.0, step=0)
        experiment.flush()
        logged = 1
        with small_disk, pytest.raises(NotRecorded, match="Make room on the disk"):
            while True:
                experiment.log(x=float(logged), step=logged)
                experiment.log(again=float(logged), step=0)
                logged += 1
        steps = load_experiment(experiment.path).metrics("x")["step"].tolist()
        assert steps
        assert steps == list(range(len(steps)))
        # There is room again: what was logged is committed, and the run goes on.
        experiment.log(x=float(logged), step=logged)
    read = load_experiment(experiment.path)
    assert read.metrics("x")["value"].tolist() == [float(step) for step in range(logged + 1)]
    assert read.metrics("again")["value"].tolist() in ([logged - 1.0], [float(logged)])


@pytest.mark.parametrize("durable", [False, True])
def test_a_database_that_may_not_grow_is_told(tmp_path: Path, durable: bool) -> None:
    """SQLite's own limit stands for a disk without room: "database or disk is full"."""
    with Experiment("digits", root=tmp_path, durable=durable) as experiment:
        experiment.log(x=0.0, step=0)
        here = experiment.mark()
        limit(experiment, extra=8)
        logged = 1
        with pytest.raises(NotRecorded, match=r"is full.*Make room on the disk"):
            while True:
                experiment.log({f"{i}": 1.0 for i in range(40)}, step=logged)
                logged += 1
                experiment.flush()
        for refused in (
            lambda: experiment.log(x=1.0),
            experiment.flush,
            experiment.mark,
            lambda: experiment.notes.append("x" * 100_000),
            lambda: experiment.log(rows=Message({"x": torch.zeros(50, 1000)}), step=1),
        ):
            with pytest.raises(NotRecorded, match="is full"):
                refused()
        read = load_experiment(experiment.path)
        steps = read.metrics("0")["step"].tolist()
        assert steps == list(range(1, len(steps) + 1))
        assert len(steps) >= logged - 2  # all but the call that met the limit
        assert read.metrics("x")["step"].tolist() == [0]
        connection = sqlite3.connect(experiment.path / "experiment.sqlite")
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        connection.close()
        limit(experiment, extra=10_000)  # there is room again
        experiment.flush()
        assert read.metrics("0")["step"].tolist()[-1] >= logged - 1
        experiment.rewind(here)
        assert read.metrics()["step"].tolist() == [0]
    assert load_experiment(experiment.path).status == "completed"


def limit(experiment: Experiment, extra: int) -> None:
    with experiment._store.transaction() as connection:  # pyright: ignore[reportPrivateUsage]
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
    connection.execute(f"PRAGMA max_page_count = {pages + extra}").fetchall()


def test_what_cannot_be_made_for_want_of_room_leaves_nothing(
    tmp_path: Path, small_disk: Any
) -> None:
    parameters = {"text": "x" * 2**21}
    with small_disk, pytest.raises(NotRecorded, match="Make room on the disk"):
        Experiment("digits", root=tmp_path, parameters=parameters)
    assert list(tmp_path.iterdir()) == []
    with Experiment("digits", root=tmp_path, parameters=parameters) as experiment:
        experiment.log(x=1.0, step=0)
        experiment.flush()
        with small_disk:
            for copy in (experiment.copy, experiment.archive):
                with pytest.raises(OSError, match=r"[Tt]oo large|full|I/O"):
                    copy(tmp_path / "copy")
            with pytest.raises(NotRecorded, match=r"experiment\.json' could not be written"):
                experiment.tags = ["x"]
        assert [each.name for each in tmp_path.iterdir()] == ["digits-0001"]
        assert load_experiment(experiment.path).tags == ()
    assert load_experiment(experiment.path).metrics()["value"].tolist() == [1.0]


def test_a_folder_that_was_deleted_is_told(tmp_path: Path) -> None:
    experiment = Experiment("digits", root=tmp_path)
    shutil.rmtree(experiment.path)
    experiment.log(x=1.0, step=0)
    with pytest.raises(ExperimentNotFound, match="was deleted or moved"):
        experiment.flush()
    with pytest.raises(ExperimentNotFound, match="was deleted or moved"):
        experiment.close()
