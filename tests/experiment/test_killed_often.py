"""A writer that is killed again and again, at random moments, and goes on each time."""

import contextlib
import os
import random
import signal
import sqlite3
import struct
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fireworks.experiment import Experiment, load_experiment

# One process imports and forks each writer, so that two hundred imports need not be waited for.
WRITERS = """
import os, struct, sys, time
from fireworks.experiment.opening import join, load_experiment
from pathlib import Path

load_experiment(sys.argv[1]).latest  # imports what a store needs

def write(path, step, durable):
    experiment = join(path, None, None, durable)
    told = os.open(path / "told", os.O_WRONLY | os.O_CREAT)
    while True:
        experiment.log({"loss": step / 2, "accuracy": step / 4}, step=step)
        os.pwrite(told, struct.pack("qd", step, time.time()), 0)
        step += 1
        time.sleep(0.0004)

for line in sys.stdin:
    step, durable = map(int, line.split())
    child = os.fork()
    if not child:
        write(Path(sys.argv[1]), step, bool(durable))
    print(child, flush=True)
    os.waitpid(child, 0)
    print("gone", flush=True)
"""


def committed(path: Path) -> list[tuple[str, int, float]]:
    """The name, step and value of all that is there; SQLite's file is found to be sound."""
    query = "SELECT name, step, value FROM metric ORDER BY name, step"
    if not (path / "experiment.sqlite").is_file():
        return [tuple(row) for row in load_experiment(path).sql(query).values.tolist()]
    connection = sqlite3.connect(path / "experiment.sqlite")
    try:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        return connection.execute(query).fetchall()
    finally:
        connection.close()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("store", "kills", "longest"),
    [("sqlite", 200, 0.06), ("postgresql", 60, 0.24)],  # a commit takes a server longer
    indirect=["store"],
)
def test_what_was_committed_is_there_after_each_of_many_kills(
    tmp_path: Path, python: Callable[..., Any], store: str | None, kills: int, longest: float
) -> None:
    with Experiment("digits", root=tmp_path, store=store) as experiment:
        path = experiment.path
    forking = python(WRITERS, path)
    chance = random.Random(11)
    step, missing = 0, 0
    for kill in range(kills):
        durable = kill % 4 == 0
        told = path / "told"
        told.unlink(missing_ok=True)
        forking.stdin.write(f"{step} {int(durable)}\n")
        forking.stdin.flush()
        child = int(forking.stdout.readline())
        deadline = time.monotonic() + 10
        while kill % 4 < 3 and not told.exists() and time.monotonic() < deadline:
            time.sleep(0.001)  # else it may be killed while it opens the run
        time.sleep(chance.uniform(0.0, longest) + (0.1 if kill % 10 == 0 else 0.0))
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
        assert forking.stdout.readline() == "gone\n"
        curves: dict[str, list[tuple[int, float]]] = {"accuracy": [], "loss": []}
        for name, at, value in committed(path):
            curves[name].append((at, value))
        there = len(curves["loss"])
        # No holes, whole calls only, and what a kill took is from the end.
        assert curves["loss"] == [(i, i / 2) for i in range(there)]
        assert curves["accuracy"] == [(i, i / 4) for i in range(there)]
        if told.exists() and told.stat().st_size == 16:
            last, _ = struct.unpack("qd", told.read_bytes())
            if durable:
                assert there > last  # what returned is there
            missing = max(missing, last + 1 - there)
        step = there
    forking.communicate(timeout=20)
    assert step > kills  # it went on each time
    assert missing < 600  # a tenth of a second, on a machine that may be very busy
    assert load_experiment(path).sql("SELECT max(step) AS s FROM latest")["s"][0] == step - 1  # pyright: ignore[reportGeneralTypeIssues]
