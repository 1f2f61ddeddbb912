"""Two hundred trials, one in ten of which ends badly, in every way there is; the others do not."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import time
import uuid
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from fireworks.experiment import Experiment
from fireworks.factory import Factory, Trial
from fireworks.factory.linux import anonymous_memory

TRIALS = 200
MB = 1_000_000
KINDS = ["raises", "exits", "segfaults", "is killed", "hangs", "is silent", "allocates", "floods",
         "is not a number", "leaves processes"]  # fmt: skip


def kinds() -> list[str]:
    """What becomes of each trial: every tenth goes wrong, in each way twice."""
    return [KINDS[n // 10 % len(KINDS)] if n % 10 == 3 else "" for n in range(TRIALS)]


def train(trial: Trial) -> dict[str, float]:
    kind = trial.params["kind"]
    if kind == "raises":
        raise ValueError(f"bad luck {trial.number}")
    if kind == "exits":
        os._exit(trial.number % 200)
    if kind == "segfaults":
        ctypes.string_at(0)
    if kind == "is killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if kind == "hangs":
        while True:
            trial.experiment.log(alive=1.0)
            time.sleep(0.05)
    if kind == "is silent":
        ctypes.PyDLL(None).sleep(60)  # and holds the interpreter's lock
    if kind == "allocates":
        kept = [b"x" * (20 * MB) for _ in range(20)]
        assert kept
    if kind == "floods":
        line = b"x" * 99_999 + b"\n"
        for _ in range(1000):
            os.write(1, line)
    if kind == "leaves processes":
        marker = {**os.environ, "LEFT": trial.params["marker"]}
        subprocess.Popen(["sleep", "60"], start_new_session=True, env=marker)
        subprocess.Popen(["sleep", "60"], env=marker)
    trial.report(0, trial.number)
    trial.experiment.log(number=float(trial.number))
    return {"accuracy": float("nan") if kind == "is not a number" else trial.number**2}


@pytest.mark.slow
def test_two_hundred_trials_of_all_kinds(
    make: Callable[..., Factory],
    experiment: Experiment,
    find_marked: Callable[[str], dict[int, str]],
) -> None:
    planned, marker = kinds(), uuid.uuid4().hex
    assert Counter(planned) == {"": 180, **dict.fromkeys(KINDS, 2)}
    sizes: list[int] = []

    def propose(params: Any, metrics: Any) -> dict[str, Any]:
        sizes.append(anonymous_memory(os.getpid()))
        return {"kind": planned[len(sizes) - 1], "marker": marker}

    factory = make(
        train,
        propose=propose,
        workers=4,
        ordered=TRIALS,
        time_limit=8.0,
        progress_limit=5.0,
        memory_limit=200 * MB,
        grace=0.2,
    )
    before = len(os.listdir("/proc/self/fd"))
    factory.run(trials=TRIALS)
    assert not find_marked(f"LEFT={marker}")
    assert len(os.listdir("/proc/self/fd")) <= before + 2
    assert max(sizes) - sizes[20] < 30 * MB, [each // MB for each in sizes[::20]]

    expected = {
        "raises": lambda n: f"ValueError: bad luck {n}",
        "exits": lambda n: f"its process ended with exit code {n % 200} before train returned",
        "segfaults": lambda n: "killed by signal 11 (SIGSEGV) before train returned",
        "is killed": lambda n: (
            "killed by signal 9 (SIGKILL) (out of memory, or killed by hand) before train returned"
        ),
        "hangs": lambda n: "over its time limit of 8 s",
        "is silent": lambda n: "no progress for 5 s (no iteration, log or report)",
        "allocates": lambda n: "over its memory limit of 200 MB: MemoryError",
        "is not a number": lambda n: "'accuracy' is nan, which is not finite",
    }
    wrong = [
        (record.number, planned[record.number], record.state, record.reason)
        for record, kind in zip(factory.records, planned, strict=True)
        if (record.state, record.reason)
        != (("failed", expected[kind](record.number)) if kind in expected else ("completed", None))
    ]
    assert not wrong
    for record, kind in zip(factory.records, planned, strict=True):
        if kind not in expected:
            assert record.result == {"accuracy": record.number**2}
    logged = experiment.sql("SELECT trial, value FROM metric WHERE name = 'number'")
    logs = {n for n, kind in enumerate(planned) if kind not in expected or "number" in kind}
    assert set(logged["trial"]) == logs
    assert logged["trial"].tolist() == logged["value"].tolist()
    for number in [n for n, kind in enumerate(planned) if kind == "floods"]:
        path = experiment.path / "trials" / str(number) / "attempt-1" / "stdout.txt"
        assert path.stat().st_size == 100 * MB
        path.unlink()
    states = experiment.sql("SELECT state, signal, exit_code FROM attempts")
    assert Counter(states["state"]) == Counter(record.state for record in factory.records)
