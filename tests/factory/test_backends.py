"""What every backend does, tried on each: one suite for all of them."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from fireworks.factory.backend import Backend, Ended, Job, Notice, Said, Started
from fireworks.factory.fork_server import ForkServer
from fireworks.factory.spawn import Spawn
from fireworks.factory.transport import Transport
from fireworks.factory.trial import Trial
from fireworks.factory.warm import Warm

BACKENDS: dict[str, Callable[[], Backend]] = {
    "fork-server": ForkServer,
    "warm": lambda: Warm(ForkServer(), attempts=5),
    "spawn": Spawn,
}


@pytest.fixture(scope="module", params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> Iterator[Backend]:
    backend = BACKENDS[request.param]()
    backend.start()
    try:
        yield backend
    finally:
        backend.close()


class Runner:
    """Submits functions to a backend and gathers what it tells of each."""

    def __init__(self, backend: Backend, folder: Path) -> None:
        self.backend = backend
        self.notices: dict[str, list[Notice]] = {}
        self._folder = folder
        self._count = 0

    def submit(self, train: Callable[[Trial], Any], **description: Any) -> str:
        attempt = uuid.uuid4().hex
        folder = self._folder / str(self._count)
        folder.mkdir()
        with Transport(train).file() as file:
            described = {
                "trial": self._count,
                "attempt": 1,
                "seed": 1,
                "params": {"x": 0.5},
                "experiment": str(self._folder),
                "threads": 1,
                "train": None,
                "objective": "a",
                **description,
            }
            self.notices[attempt] = []
            self.backend.submit(Job(attempt, described, file, folder))
            self._count += 1
            self.until(attempt, "ready")  # the file closes
        return attempt

    def folder(self, attempt: str) -> Path:
        return self._folder / str(list(self.notices).index(attempt))

    def poll(self, timeout: float | None = None) -> None:
        for notice in self.backend.poll(timeout):
            self.notices[notice.id].append(notice)

    def said(self, attempt: str) -> list[dict[str, Any]]:
        return [each.message for each in self.notices[attempt] if isinstance(each, Said)]

    def until(self, attempt: str, key: str) -> Any:
        deadline = time.monotonic() + 60
        while True:
            for message in self.said(attempt):
                if key in message:
                    return message[key]
            if any(isinstance(each, Ended) for each in self.notices[attempt]):
                return None
            assert time.monotonic() < deadline
            self.poll(5.0)

    def end(self, attempt: str) -> Ended:
        deadline = time.monotonic() + 60
        while not isinstance((self.notices[attempt] or [None])[-1], Ended):
            assert time.monotonic() < deadline
            self.poll(5.0)
        ended = self.notices[attempt][-1]
        assert isinstance(ended, Ended)
        return ended


@pytest.fixture
def runner(backend: Backend, tmp_path: Path) -> Iterator[Runner]:
    runner = Runner(backend, tmp_path)
    yield runner
    while isinstance(backend, Warm) and backend.waiting:
        for pid in backend.waiting:
            with suppress(ProcessLookupError):  # its end is not told of yet
                os.kill(pid, signal.SIGKILL)
        backend.poll(5.0)


def alive(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


def dead(pid: int, within: float = 2.0) -> bool:
    deadline = time.monotonic() + within
    while alive(pid) and time.monotonic() < deadline:
        time.sleep(0.005)
    return not alive(pid)


def test_an_attempt_is_started_ready_and_ends(runner: Runner) -> None:
    def train(trial: Trial) -> dict[str, float]:
        print("on stdout")
        print("on stderr", file=sys.stderr)
        os.system("echo from a program")
        return {"a": trial.params["x"], "pid": os.getpid()}

    # The second may find what the first has left.
    for _ in range(2 if isinstance(runner.backend, Warm) else 1):
        attempt = runner.submit(train)
        ended = runner.end(attempt)
        notices = runner.notices[attempt]
        assert [type(each).__name__ for each in notices] == ["Started", "Said", "Said", "Ended"]
        assert ended.lost is None and ended.signal is None and ended.exit_code in (0, None)
        assert ended.peak_memory is not None and ended.peak_memory > 10e6
        ready, end = runner.said(attempt)
        assert ready["ready"] > 1e6
        assert end["end"] == "completed" and end["result"]["a"] == 0.5
        assert isinstance(notices[0], Started) and notices[0].pid == end["result"]["pid"]
        folder = runner.folder(attempt)
        assert (folder / "stdout.txt").read_text() == "on stdout\nfrom a program\n"
        assert (folder / "stderr.txt").read_text() == "on stderr\n"


def test_what_was_said_is_heard_before_the_end_is_told(runner: Runner) -> None:
    """The process is long gone when we look: its end is ready to be read before its words."""

    def train(trial: Trial) -> dict[str, float]:
        time.sleep(0.2)
        return {"a": 1.0}

    attempt = runner.submit(train)
    notices = runner.notices[attempt]
    while not any(isinstance(each, Started) for each in notices):
        runner.poll(5.0)
    time.sleep(0.7)
    assert runner.end(attempt).lost is None
    assert [type(each).__name__ for each in notices] == ["Started", "Said", "Said", "Ended"]
    assert runner.said(attempt)[-1]["end"] == "completed"


def test_words_and_answers_go_both_ways(runner: Runner) -> None:
    def train(trial: Trial) -> dict[str, float]:
        for step in range(3):
            trial.report(step, 0.5)
        return {"a": 1.0}

    first, second = runner.submit(train), runner.submit(train)
    answered = {first: 0, second: 0}
    while any(count < 2 for count in answered.values()):
        runner.poll(5.0)
        for attempt, count in answered.items():
            reports = [each for each in runner.said(attempt) if "report" in each]
            if len(reports) > count:
                answered[attempt] += 1
                prune = attempt == second and len(reports) == 2
                runner.backend.send(attempt, {"prune": prune})
    runner.end(second)
    assert runner.said(second)[-1]["end"] == "pruned"
    while len([each for each in runner.said(first) if "report" in each]) < 3:
        runner.poll(5.0)
    runner.backend.send(first, {"prune": False})
    runner.end(first)
    assert runner.said(first)[-1]["end"] == "completed"
    runner.backend.send(first, {"prune": False})  # to nobody


def test_large_messages_pass_and_half_ones_block_nobody(runner: Runner) -> None:
    def train(trial: Trial) -> dict[str, float]:
        return {"a": 1.0} | {f"metric-{number:06}": 0.5 for number in range(50_000)}

    attempt = runner.submit(train)
    while not [each for each in runner.said(attempt) if "end" in each]:
        runner.poll(5.0)
    assert len(runner.said(attempt)[-1]["result"]) == 50_001
    runner.end(attempt)

    def stops(trial: Trial) -> None:
        trial._pipe._socket.sendall(b'{"half a mess')  # pyright: ignore[reportPrivateUsage]
        os.kill(os.getpid(), signal.SIGSTOP)

    attempt = runner.submit(stops)
    began = time.monotonic()
    runner.poll(0.3)
    runner.poll(0.3)
    assert time.monotonic() - began < 5
    runner.backend.kill(attempt, grace=0)
    assert runner.end(attempt).signal == signal.SIGKILL


def test_a_death_is_told_as_it_was_and_soon(runner: Runner) -> None:
    ends: list[tuple[Callable[[], Any], int | None, int | None]] = [
        (lambda: os._exit(3), 3, None),
        (lambda: os.kill(os.getpid(), signal.SIGKILL), None, signal.SIGKILL),
        (lambda: ctypes.string_at(0), None, signal.SIGSEGV),
    ]

    def train(trial: Trial) -> None:
        time.sleep(0.3 * (trial.number + 1))
        Path(trial._experiment_path, f"died-{trial.number}").write_text(repr(time.time()))  # pyright: ignore
        ends[trial.number][0]()

    attempts = [runner.submit(train) for _ in ends]
    delays: list[float] = []
    for number, attempt in enumerate(attempts):
        ended = runner.end(attempt)
        died = (runner.folder(attempt).parent / f"died-{number}").read_text()
        delays.append(time.time() - float(died))
        assert (ended.exit_code, ended.signal, ended.lost) == (*ends[number][1:], None)
    assert min(delays) < 0.5  # 50 ms on a quiet machine: see the benchmark


def test_a_failure_is_told_and_the_next_attempt_runs(runner: Runner) -> None:
    def train(trial: Trial) -> None:
        raise KeyError("no such thing")

    attempt = runner.submit(train)
    assert runner.end(attempt).lost is None
    assert runner.said(attempt)[-1] | {"stays": 0, "peak_memory": 0} == {
        "end": "failed",
        "reason": "KeyError: 'no such thing'",
        "misnamed": False,
        "stays": 0,
        "peak_memory": 0,
    }
    attempt = runner.submit(lambda trial: {"a": 1})
    runner.end(attempt)
    assert runner.said(attempt)[-1]["end"] == "completed"


def test_kill_asks_first_and_ends_the_group_after_a_while(runner: Runner, tmp_path: Path) -> None:
    def obeys(trial: Trial) -> dict[str, float]:
        asked = threading.Event()
        signal.signal(signal.SIGTERM, lambda *_: asked.set())
        child = os.fork()
        if child == 0:
            time.sleep(60)
        (tmp_path / "obeys").write_text(str(child))
        while not asked.is_set():
            time.sleep(0.01)
        os.kill(child, 0)  # the signal was for us alone
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        return {"a": 1.0}

    def ignores(trial: Trial) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        child = os.fork()
        (tmp_path / "ignores").touch()
        if child == 0:
            (tmp_path / "child").write_text(str(os.getpid()))
        time.sleep(60)

    obedient, stubborn = runner.submit(obeys), runner.submit(ignores)
    for name in ("obeys", "ignores", "child"):
        while not (tmp_path / name).exists():
            time.sleep(0.01)
    time.sleep(0.1)
    began = time.monotonic()
    runner.backend.kill(obedient, grace=30)
    runner.backend.kill(stubborn, grace=0.5)
    ended = runner.end(obedient)
    assert (ended.exit_code or 0, ended.signal) == (0, None)
    assert runner.said(obedient)[-1]["end"] == "completed"
    assert runner.end(stubborn).signal == signal.SIGKILL
    assert 0.4 < time.monotonic() - began < 15
    assert dead(int((tmp_path / "child").read_text()))
    runner.backend.kill(stubborn, grace=0)  # one that has ended is left alone


def test_what_an_attempt_started_ends_with_it(runner: Runner, tmp_path: Path) -> None:
    def leaves(trial: Trial) -> dict[str, float]:
        pids = [subprocess.Popen(["sleep", "60"], start_new_session=True).pid]
        pids.append(subprocess.Popen(["sleep", "60"]).pid)
        read, write = os.pipe()
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                os.write(write, str(os.getpid()).encode())
                time.sleep(60)
            os._exit(0)
        pids.append(int(os.read(read, 20)))
        (tmp_path / "pids").write_text(" ".join(map(str, pids)))
        if trial.params["x"] == 1:
            os._exit(1)
        return {"a": 1.0}

    for x in (0, 1):
        runner.end(runner.submit(leaves, params={"x": x}))
        pids = [int(each) for each in (tmp_path / "pids").read_text().split()]
        assert len(pids) == 3 and all(dead(pid) for pid in pids)


def test_a_process_is_set_up_before_train_is_called(runner: Runner) -> None:
    def train(trial: Trial) -> dict[str, float]:
        import random

        import torch

        return {
            "a": 1.0,
            "threads": torch.get_num_threads(),
            "devices": int(os.environ["CUDA_VISIBLE_DEVICES"].replace(",", "")),
            "random": random.random(),
            "omp": int(os.environ["OMP_NUM_THREADS"]),
        }

    results: list[dict[str, float]] = []
    for _ in range(2):
        attempt = runner.submit(train, devices=["2", "5"], threads=3, seed=7)
        runner.end(attempt)
        results.append(runner.said(attempt)[-1]["result"])
    assert results[0] == results[1] | {"random": results[0]["random"]}
    assert results[0]["random"] == results[1]["random"]
    assert (results[0]["threads"], results[0]["omp"], results[0]["devices"]) == (3, 3, 25)


def test_memory_beyond_the_limit_is_refused(runner: Runner) -> None:
    def train(trial: Trial) -> dict[str, float]:
        import numpy as np
        import torch

        size = int(trial.params["x"])
        return {"a": float(np.ones(size, np.uint8)[-1] + torch.ones(size, dtype=torch.uint8)[-1])}

    fits = runner.submit(train, params={"x": 30e6}, memory=100_000_000)
    large = runner.submit(train, params={"x": 200e6}, memory=100_000_000)
    runner.end(fits)
    runner.end(large)
    assert runner.said(fits)[-1]["end"] == "completed"
    assert "over its memory limit of 100 MB" in runner.said(large)[-1]["reason"]


def test_poll_returns_when_woken(runner: Runner) -> None:
    timer = threading.Timer(0.2, runner.backend.wake)
    timer.start()
    began = time.monotonic()
    assert runner.backend.poll(30) == []
    assert time.monotonic() - began < 10
    timer.join()
    assert runner.backend.poll(0) == []


@pytest.mark.parametrize("name", ["fork-server", "spawn"])
def test_closing_ends_what_runs(name: str, tmp_path: Path) -> None:
    runner = Runner(BACKENDS[name](), tmp_path)

    def train(trial: Trial) -> None:
        (tmp_path / "pid").write_text(str(os.getpid()))
        ctypes.PyDLL(None).sleep(60)

    runner.submit(train)
    while not (tmp_path / "pid").exists():
        time.sleep(0.01)
    time.sleep(0.1)
    runner.backend.close()
    assert dead(int((tmp_path / "pid").read_text()))
    runner.backend.close()


def results(runner: Runner, train: Callable[[Trial], Any], count: int) -> list[dict[str, float]]:
    found: list[dict[str, float]] = []
    for _ in range(count):
        attempt = runner.submit(train)
        runner.end(attempt)
        found.append(runner.said(attempt)[-1].get("result", {}))
    return found


@pytest.mark.parametrize("inner", [ForkServer, Spawn])
def test_a_warm_process_serves_many_attempts_and_ends_after_a_number(
    tmp_path: Path, inner: Callable[[], Backend]
) -> None:
    backend = Warm(inner(), attempts=3)
    try:
        runner = Runner(backend, tmp_path)
        found = results(runner, lambda trial: {"a": 1, "pid": os.getpid()}, 5)
        pids = [each["pid"] for each in found]
        assert len(set(pids[:3])) == len(set(pids[3:])) == 1 and len(set(pids)) == 2
        assert backend.waiting == [pids[-1]]
    finally:
        backend.close()


def test_a_warm_process_is_for_one_function_alone(tmp_path: Path) -> None:
    with ForkServer() as server:
        runner = Runner(Warm(server), tmp_path)
        first = results(runner, lambda trial: {"a": 1, "pid": os.getpid()}, 1)
        second = results(runner, lambda trial: {"a": 2, "pid": os.getpid()}, 1)
        assert first[0]["a"] == 1 and second[0]["a"] == 2
        assert dead(int(first[0]["pid"])) and alive(int(second[0]["pid"]))


@pytest.mark.parametrize("leaving", ["thread", "process", "failure"])
def test_a_warm_process_ends_with_an_attempt_that_leaves_something(
    tmp_path: Path, leaving: str
) -> None:
    def train(trial: Trial) -> dict[str, float]:
        if leaving == "thread":
            threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
        elif leaving == "process":
            subprocess.Popen(["sleep", "60"])
        else:
            trial.params["missing"]
        return {"a": 1, "pid": os.getpid()}

    with ForkServer() as server:
        runner = Runner(Warm(server), tmp_path)
        pids: set[int] = set()
        for _ in range(2):
            attempt = runner.submit(train)
            runner.end(attempt)
            pids.update(each.pid for each in runner.notices[attempt] if isinstance(each, Started))
        assert len(pids) == 2


def test_a_warm_process_that_died_while_it_waited_costs_no_attempt(tmp_path: Path) -> None:
    with ForkServer() as server:
        runner = Runner(Warm(server), tmp_path)

        def train(trial: Trial) -> dict[str, float]:
            return {"a": 1, "pid": os.getpid()}

        pid = int(results(runner, train, 1)[0]["pid"])
        os.kill(pid, signal.SIGKILL)
        assert dead(pid)
        attempt = runner.submit(train)
        ended = runner.end(attempt)
        assert ended.lost == "its process had ended before it could begin"
