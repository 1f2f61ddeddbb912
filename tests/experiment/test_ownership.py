"""Who owns a run, how it ends, and what is left of one that was killed."""

import json
import multiprocessing
import os
import pickle
import signal
import socket
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fireworks.errors import ExperimentInUse, ExperimentReadOnly, WrongValue
from fireworks.experiment import Experiment, experiments, load_experiment
from fireworks.record.index import read_index

OWNER = """
import sys
from fireworks.experiment import Experiment
experiment = Experiment("digits", root=sys.argv[1])
experiment.log(loss=0.5, step=1)
experiment.flush()
print(experiment.path, flush=True)
sys.stdin.readline()
"""


@pytest.fixture
def owned(python: Callable[..., Any], tmp_path: Path) -> tuple[Any, Path]:
    """A process that owns a run, and the run."""
    process = python(OWNER, tmp_path / "runs")
    return process, Path(process.stdout.readline().strip())


def test_a_second_owner_is_refused_with_pid_and_host(owned: tuple[Any, Path]) -> None:
    process, path = owned
    with pytest.raises(
        ExperimentInUse, match=f"process {process.pid} on host {socket.gethostname()}"
    ):
        load_experiment(path, write=True)
    assert load_experiment(path).status == "running"


def test_this_process_is_refused_as_well(experiment: Experiment) -> None:
    with pytest.raises(ExperimentInUse, match=f"process {os.getpid()}"):
        load_experiment(experiment.path, write=True)
    assert experiment.status == "running"


def test_a_run_whose_owner_was_killed_shows_as_killed(owned: tuple[Any, Path]) -> None:
    process, path = owned
    process.kill()
    process.wait()
    before = sorted(os.listdir(path))
    read = load_experiment(path)
    assert read.status == "killed"
    assert read.metrics()["value"].tolist() == [0.5]
    assert [each.id for each in experiments(path.parent, status="killed")] == [path.name]
    assert json.loads((path / "experiment.json").read_text())["status"] == "running"
    assert sorted(os.listdir(path)) == before
    with load_experiment(path, write=True) as again:
        assert load_experiment(path).status == "running"
        again.log(loss=0.25, step=2)
    assert load_experiment(path).status == "completed"
    assert load_experiment(path).metrics()["value"].tolist() == [0.5, 0.25]


def test_a_stopped_owner_still_lives(owned: tuple[Any, Path]) -> None:
    process, path = owned
    process.send_signal(signal.SIGSTOP)
    assert load_experiment(path).status == "running"


def test_on_another_host_the_heartbeat_counts(owned: tuple[Any, Path]) -> None:
    process, path = owned
    process.kill()
    process.wait()
    lock = path / "experiment.lock"
    lock.write_text(json.dumps({"pid": 1, "host": "elsewhere"}))
    assert read_index(path).status == "running"
    os.utime(lock, (time.time() - 3600, time.time() - 3600))
    assert read_index(path).status == "killed"
    lock.write_text("half")
    os.utime(lock, (time.time() - 3600, time.time() - 3600))
    assert read_index(path).status == "killed"
    lock.unlink()
    assert read_index(path).status == "killed"


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (None, "completed"),
        (ValueError("bad"), "failed"),
        (KeyboardInterrupt(), "stopped"),
        (SystemExit(0), "completed"),
        (SystemExit(3), "failed"),
    ],
)
def test_how_a_block_ends_is_the_status(
    tmp_path: Path, error: BaseException | None, status: str
) -> None:
    experiment = Experiment("digits", root=tmp_path)
    try:
        with experiment:
            experiment.log(loss=0.5)
            if error is not None:
                raise error
    except BaseException as raised:
        assert raised is error
    read = load_experiment(experiment.path)
    assert read.status == status
    assert read.metadata["status"] == status
    assert read.metadata["ended"] >= read.metadata["started"]
    assert len(read.metrics()) == 1


@pytest.mark.parametrize(
    ("ending", "status", "code"),
    [
        ("", "completed", 0),
        ("raise ValueError('bad')", "failed", 1),
        ("sys.exit(0)", "completed", 0),
        ("import os, signal; os.kill(os.getpid(), signal.SIGINT)", "stopped", -2),
    ],
)
def test_a_script_that_forgets_to_close_loses_nothing(
    python: Callable[..., Any], tmp_path: Path, ending: str, status: str, code: int
) -> None:
    script = f"""
import sys
from fireworks.experiment import Experiment
experiment = Experiment("digits", root=sys.argv[1])
for step in range(1000):
    experiment.log(loss=0.5, step=step)
{ending}
"""
    assert python(script, tmp_path).wait(30) == code
    read = load_experiment(tmp_path / "digits-0001")
    assert (read.status, len(read.metrics())) == (status, 1000)


def test_only_known_statuses_end_a_run(experiment: Experiment) -> None:
    with pytest.raises(WrongValue, match="got 'done'"):
        experiment.close("done")
    experiment.close("stopped")
    assert load_experiment(experiment.path).status == "stopped"


def test_a_reader_writes_nothing(experiment: Experiment, tmp_path: Path) -> None:
    reader = load_experiment(experiment.path)
    for refused in (
        lambda: reader.log(x=1),
        lambda: reader.log_many({"step": [1], "x": [1.0]}),
        lambda: reader.params.update(lr=1),
        lambda: setattr(reader, "tags", ["x"]),
        lambda: reader.notes.append("x"),
        lambda: reader.file("x", "w"),
        lambda: reader.file("x", "r+"),
        lambda: reader.artifact(__file__),
    ):
        with pytest.raises(ExperimentReadOnly, match="opened for reading"):
            refused()
    reader.flush()
    reader.close()
    assert experiment.status == "running"


def log_from(experiment: Experiment, name: str, steps: int) -> None:
    for step in range(steps):
        experiment.log({name: float(step)}, step=step)


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_child_process_may_log_but_does_not_own(experiment: Experiment, method: str) -> None:
    experiment.log(parent=0.0, step=0)
    context: Any = multiprocessing.get_context(method)
    child = context.Process(target=log_from, args=(experiment, "child", 500))
    child.start()
    child.join()
    assert child.exitcode == 0
    if method == "spawn":
        _stop_resource_tracker()
    experiment.log(parent=1.0, step=1)
    frame = experiment.metrics()
    assert frame["name"].value_counts().to_dict() == {"child": 500, "parent": 2}
    assert experiment.status == "running"
    assert load_experiment(experiment.path).status == "running"


def log_before_and_after(experiment: Experiment, logged: Any, closed: Any) -> None:
    experiment.log(child=1.0, step=1)
    experiment.flush()
    logged.set()
    closed.wait(30)
    experiment.log(child=2.0, step=2)


def test_a_forked_child_goes_on_after_its_parent_has_closed(experiment: Experiment) -> None:
    experiment.log(parent=0.0, step=0)
    experiment.flush()
    context = multiprocessing.get_context("fork")
    logged, closed = context.Event(), context.Event()
    child = context.Process(target=log_before_and_after, args=(experiment, logged, closed))
    child.start()
    assert logged.wait(30)
    experiment.close()
    with load_experiment(experiment.path, write=True) as again:  # another, to write in between
        again.log(parent=1.0, step=1)
    closed.set()
    child.join()
    assert child.exitcode == 0
    read = load_experiment(experiment.path)
    assert read.metrics("child")["value"].tolist() == [1.0, 2.0]
    assert read.metrics("parent")["value"].tolist() == [0.0, 1.0]
    connection = sqlite3.connect(experiment.path / "experiment.sqlite")
    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    connection.close()


def _stop_resource_tracker() -> None:
    """End the process that `spawn` leaves running for as long as its parent lives."""
    from multiprocessing import resource_tracker

    resource_tracker._resource_tracker._stop()  # pyright: ignore


def test_the_lock_ends_with_the_owner_though_a_forked_child_lives_on(
    python: Callable[..., Any], tmp_path: Path
) -> None:
    process = python(
        """
import os, sys, time
from fireworks.experiment import Experiment
experiment = Experiment("digits", root=sys.argv[1])
experiment.log(loss=0.5)
child = os.fork()
if child == 0:
    os.close(0); os.close(1); os.close(2)
    time.sleep(30)
    os._exit(0)
print(child, flush=True)
sys.stdin.readline()
""",
        tmp_path,
    )
    child = int(process.stdout.readline())
    try:
        assert read_index(tmp_path / "digits-0001").status == "running"
        process.kill()
        process.wait()
        deadline = time.monotonic() + 10  # the child may not have run yet since the fork
        while read_index(tmp_path / "digits-0001").status == "running":
            assert time.monotonic() < deadline
            time.sleep(0.01)
        os.kill(child, 0)
    finally:
        os.kill(child, signal.SIGKILL)


def test_pickled_it_goes_as_what_it_is(experiment: Experiment) -> None:
    reader = pickle.loads(pickle.dumps(load_experiment(experiment.path)))
    with pytest.raises(ExperimentReadOnly, match="opened for reading"):
        reader.log(x=1)
    with pickle.loads(pickle.dumps(experiment)) as joined:
        joined.log(x=1.0, step=0)
        with pytest.raises(ExperimentReadOnly, match="Only the process that owns"):
            joined.params["a"] = 1
    assert experiment.metrics()["value"].tolist() == [1.0]
    assert experiment.status == "running"
