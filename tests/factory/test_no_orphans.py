"""Nothing that a sweep started outlives it, however it ends: tried by really killing."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fireworks.factory import Factory, FactoryEvents, ForkServer, Grid, Trial

Find = Callable[[str], dict[int, str]]
Wait = Callable[[str, float], None]

# No guard around it: the processes of the trials never import the script.
SCRIPT = """
import ctypes, os, subprocess, sys, time
from pathlib import Path
from torch.utils.data import DataLoader
from fireworks.factory import Factory, Grid

here = Path(sys.argv[1])

def slow(batch):
    time.sleep(60)

def train(trial):
    (here / str(trial.number)).touch()
    kind = trial.params["kind"]
    if kind == "holds the interpreter's lock":
        ctypes.PyDLL(None).sleep(60)
    elif kind == "loads data":
        next(iter(DataLoader(list(range(8)), num_workers=2, collate_fn=slow)))
    elif kind == "left its group":
        subprocess.Popen(["sleep", "60"], start_new_session=True)
        if os.fork() == 0:
            os.setsid()
        time.sleep(60)
    elif kind == "short":
        time.sleep(0.05)
    return {"accuracy": 1.0}

kinds = sys.argv[2].split(",")
Factory(
    train, propose=Grid({"x": list(range(100)), "kind": kinds}), maximize="accuracy", workers=3,
).run(trials=100)
"""


def start(tmp_path: Path, kinds: str) -> tuple[subprocess.Popen[bytes], str]:
    """Run the script; returns its process and a marker that all its processes carry."""
    (tmp_path / "script.py").write_text(SCRIPT)
    marker = f"FIREWORKS_TEST={uuid.uuid4().hex}"
    name, value = marker.split("=")
    with (tmp_path / "stderr").open("wb") as stderr:
        process = subprocess.Popen(
            [sys.executable, "script.py", str(tmp_path), kinds],
            cwd=tmp_path,
            env={**os.environ, name: value},
            stdout=subprocess.DEVNULL,
            stderr=stderr,
        )
    return process, marker


def wait_for(path: Path, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while not path.exists():
        assert process.poll() is None, (path.parent / "stderr").read_text()
        assert time.monotonic() < deadline, f"no {path.name} within a minute"
        time.sleep(0.01)


def test_killing_the_parent_leaves_nothing(
    tmp_path: Path, find_marked: Find, wait_until_gone: Wait
) -> None:
    process, marker = start(tmp_path, "holds the interpreter's lock,loads data,left its group")
    for number in range(3):
        wait_for(tmp_path / str(number), process)
    time.sleep(0.5)  # into the sleep, with workers and grandchildren there
    assert len(find_marked(marker)) >= 2 + 3 + 2 + 2
    process.kill()
    process.wait()
    wait_until_gone(marker, 1.0)


def test_killing_the_parent_while_the_fork_server_imports_leaves_nothing(
    tmp_path: Path, find_marked: Find, wait_until_gone: Wait
) -> None:
    process, marker = start(tmp_path, "short")
    while len(find_marked(marker)) < 2:
        time.sleep(0.01)
    time.sleep(0.5)
    process.kill()
    process.wait()
    wait_until_gone(marker, 1.0)


def test_killing_the_parent_between_short_trials_leaves_nothing(
    tmp_path: Path, wait_until_gone: Wait
) -> None:
    process, marker = start(tmp_path, "short")
    wait_for(tmp_path / "17", process)
    process.kill()
    process.wait()
    wait_until_gone(marker, 1.0)


def test_what_outlived_parent_and_fork_server_ends_when_the_sweep_goes_on(
    tmp_path: Path, find_marked: Find, wait_until_gone: Wait, server: ForkServer
) -> None:
    process, marker = start(tmp_path, "left its group")
    for number in range(3):
        wait_for(tmp_path / str(number), process)
    servers = [pid for pid, name in find_marked(marker).items() if name == "fireworks-fork"]
    assert len(servers) == 1
    os.kill(servers[0], signal.SIGSTOP)  # so that nobody is left to look for them
    process.kill()
    process.wait()
    os.kill(servers[0], signal.SIGKILL)
    time.sleep(0.5)
    assert len(left := find_marked(marker)) == 2 * 3 and "sleep" in left.values()
    factory = Factory.resume(
        tmp_path / "runs" / "sweep-0001",
        lambda trial: {"accuracy": 1.0},
        propose=Grid({"x": [1]}),
        backend=server,
        force=True,
    )
    with factory:
        wait_until_gone(marker, 1.0)
        factory.run(trials=3)
    assert factory.trials["attempts"].tolist() == [2, 2, 2]


def alive(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


def test_what_leaves_an_attempts_group_ends_with_the_attempt(
    make: Callable[..., Factory], tmp_path: Path
) -> None:
    def train(trial: Trial) -> dict[str, float]:
        if trial.number == 0:  # so that there is another attempt while those of 1 are looked for
            time.sleep(1.0)
            return {"accuracy": 1.0}
        pids = [subprocess.Popen(["sleep", "60"], start_new_session=True).pid]
        pids.append(subprocess.Popen(["sleep", "60"]).pid)
        read, write = os.pipe()
        if os.fork() == 0:
            os.setsid()
            os.write(write, str(os.getpid()).encode())
            time.sleep(60)
        pids.append(int(os.read(read, 20)))
        (tmp_path / f"pids-{trial.number}").write_text(" ".join(map(str, pids)))
        return {"accuracy": 1.0}

    seen: list[int] = []

    def look(factory: Factory) -> None:
        path = tmp_path / f"pids-{factory.trial.number}"
        if path.exists():
            time.sleep(0.1)
            pids = [int(each) for each in path.read_text().split()]
            assert len(pids) == 3
            seen.extend(pid for pid in pids if alive(pid))

    factory = make(train)
    factory.add_event_handler(FactoryEvents.TRIAL_COMPLETED, look)
    factory.run(trials=2)
    factory = make(train, workers=1, experiment="alone")
    with factory:
        factory.run(trials=2)
    assert len(list(tmp_path.glob("pids-*"))) == 1 and not seen


def test_when_the_fork_server_dies_its_trials_are_queued_again(
    make: Callable[..., Factory], tmp_path: Path, wait_until_gone: Wait
) -> None:
    marker = uuid.uuid4().hex

    def train(trial: Trial) -> dict[str, float]:
        if trial.attempt == 1 and trial.number < 2:
            subprocess.Popen(["sleep", "60"], env={**os.environ, "T": marker})
            (tmp_path / str(trial.number)).write_text(str(os.getpid()))
            if trial.number == 0:
                trial.report(0, 1.0)
                ctypes.PyDLL(None).sleep(60)
            time.sleep(60)
        return {"accuracy": 1.0}

    with ForkServer() as server:
        factory = make(train, backend=server)

        @factory.on(FactoryEvents.DECIDED)
        def kill(factory: Factory) -> None:
            while not (tmp_path / "1").exists():
                time.sleep(0.01)
            assert server.server_pid is not None
            os.kill(server.server_pid, signal.SIGKILL)

        @factory.on(FactoryEvents.TRIAL_RETRIED)
        def look(factory: Factory) -> None:
            pid = int((tmp_path / str(factory.trial.number)).read_text())
            assert not alive(pid), "queued again while its first attempt was alive"

        factory.run(trials=4)
    wait_until_gone(marker, 0.1)
    assert factory.trials["state"].tolist() == ["completed"] * 4
    assert factory.trials["attempts"].tolist() == [2, 2, 1, 1]
    reasons = factory.experiment.sql("SELECT reason FROM attempts WHERE state = 'failed'")
    assert all("fork server ended (signal SIGKILL)" in each for each in reasons["reason"])


def test_a_stopped_sweep_kills_what_holds_the_interpreters_lock(
    make: Callable[..., Factory],
) -> None:
    def train(trial: Trial) -> Any:
        trial.report(0, 1.0)
        ctypes.PyDLL(None).sleep(60)

    factory = make(train, grace=0.1, workers=1)

    @factory.on(FactoryEvents.DECIDED(once=1))
    @factory.on(FactoryEvents.INTERRUPTED)
    def interrupt() -> None:
        os.kill(os.getpid(), signal.SIGINT)

    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        factory.run(trials=3)
    assert time.monotonic() - began < 5
    assert factory.trials["state"].tolist() == ["stopped"]
