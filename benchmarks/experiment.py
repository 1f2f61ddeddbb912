"""What logging to an Experiment costs the training loop, and how fast its record is read.

    python benchmarks/experiment.py

Peers: TensorBoard's SummaryWriter for the caller's time, plain ``sqlite3.executemany`` for the
rate, ``pandas.read_sql`` for reading; MLflow and Trackio where the environment variable
TRACKERS_PYTHON names an interpreter that has them (see trackers/others.py). Each is measured
REPEATS times, interleaved; the minimum and the median are printed.

A step is 2 ms of PyTorch's arithmetic on one thread, which empties the caches and gives up the GIL
as training does; a sleeping and a tight loop are measured as well. What the clock and an empty call
cost after such a step is printed beside: it is part of every other figure.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas
import torch
from timing import options
from torch.utils.tensorboard import SummaryWriter

from fireworks.experiment import Experiment, experiments, load_experiment, open_attempt

REPEATS = 5
METRICS = {f"train/metric_{i}": 0.1 * i + 0.037 for i in range(10)}
WEIGHTS = torch.randn(256, 256)
POINTS = 1_000_000


Log = Callable[..., None]  # as Experiment.log: values by name, and the step


def experiment_log(folder: Path) -> tuple[Log, Callable[[], None]]:
    experiment = Experiment("speed", root=folder)
    return experiment.log, experiment.close


def tensorboard_log(folder: Path) -> tuple[Log, Callable[[], None]]:
    writer = SummaryWriter(str(folder / "tensorboard"))

    def log(values: dict[str, float], step: int) -> None:
        for name, value in values.items():
            writer.add_scalar(name, value, step)

    return log, writer.close


def nothing(folder: Path) -> tuple[Log, Callable[[], None]]:
    return lambda values, step: None, lambda: None


def compute() -> None:
    """A training step: 2 ms of processor time in PyTorch."""
    end = time.thread_time() + 0.002
    while time.thread_time() < end:
        torch.mm(WEIGHTS, WEIGHTS)


def calls(log: Log, count: int, between: Callable[[], None]) -> list[float]:
    """The microseconds that each of `count` calls took its caller."""
    times: list[float] = []
    for step in range(count):
        start = time.perf_counter_ns()
        log(METRICS, step=step)
        times.append((time.perf_counter_ns() - start) / 1000)
        between()
    return sorted(times)


def callers_time(folder: Path) -> None:
    kinds = {
        "tight loop": (5000, lambda: None),
        "a 2 ms step that computes": (500, compute),
        "a 2 ms step that sleeps": (500, lambda: time.sleep(0.002)),
    }
    ways = {
        "Experiment": experiment_log,
        "TensorBoard": tensorboard_log,
        "the clock and an empty call": nothing,
    }
    for kind, (count, between) in kinds.items():
        found: dict[str, list[list[float]]] = {name: [] for name in ways}
        for repeat in range(REPEATS):
            for name, make in ways.items():
                log, close = make(folder / f"{name}-{kind}-{repeat}")
                found[name].append(calls(log, count, between))
                close()
        for name, rounds in found.items():
            for part, place in (("p50", count // 2), ("p99", count * 99 // 100)):
                values = [each[place] for each in rounds]
                report(f"log of 10 floats, {kind}: {name} {part}", values, "µs")


def other_trackers(calls: int = 300) -> None:
    """The caller's time of MLflow and Trackio at a step that sleeps, each in its own process."""
    python = os.environ.get("TRACKERS_PYTHON")
    if python is None:
        print("MLflow and Trackio: not measured (TRACKERS_PYTHON is not set)")
        return
    script = Path(__file__).with_name("trackers") / "others.py"
    for tracker in ("mlflow", "trackio"):
        found: list[dict[str, Any]] = []
        for _ in range(REPEATS):
            command = [python, str(script), tracker, str(calls)]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
            if done.returncode == 0:
                found.append(json.loads(done.stdout))
        if not found:
            print(f"{tracker}: could not be measured")
            continue
        what = f"log of 10 floats, a 2 ms step that sleeps: {found[0]['name']}"
        report(f"{what} p50", [each["p50"] for each in found], "µs")
        report(f"{what} p99", [each["p99"] for each in found], "µs")
        report(f"bytes per point: {found[0]['name']}", [each["bytes"] for each in found], "")


def rate(folder: Path) -> Path:
    ours, plain, path = [], [], folder
    for repeat in range(REPEATS):
        start = time.perf_counter()
        with Experiment("rate", root=folder / "rate") as experiment:
            for step in range(POINTS // 10):
                experiment.log(METRICS, step=step)
        ours.append(POINTS / (time.perf_counter() - start))
        path = experiment.path
        plain.append(POINTS / executemany(folder / f"plain-{repeat}.sqlite"))
    report("durable points per second: Experiment", ours, "/s")
    report("durable points per second: executemany of 100", plain, "/s")
    size = (path / "experiment.sqlite").stat().st_size
    print(f"bytes per point on disk, indexed: {size / POINTS:.1f}")
    return path


def executemany(path: Path) -> float:
    """The seconds that the same rows take in batches of 100, already numbered, by hand."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute(
        "CREATE TABLE metrics (series INTEGER, step INTEGER, value REAL, time REAL, "
        "PRIMARY KEY (series, step)) WITHOUT ROWID"
    )
    start = time.perf_counter()
    for first in range(0, POINTS // 10, 10):
        now = time.time()
        rows = [
            (series, step, value, now)
            for step in range(first, first + 10)
            for series, value in enumerate(METRICS.values())
        ]
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany("INSERT OR REPLACE INTO metrics VALUES (?,?,?,?)", rows)
        connection.execute("COMMIT")
    seconds = time.perf_counter() - start
    connection.close()
    return seconds


def reading(path: Path) -> None:
    ours, pandas_own = [], []
    for _ in range(REPEATS):
        start = time.perf_counter()
        count = len(load_experiment(path).metrics())
        ours.append(time.perf_counter() - start)
        connection = sqlite3.connect(path / "experiment.sqlite")
        start = time.perf_counter()
        frame = pandas.read_sql("SELECT trial, name, step, value, time FROM metric", connection)
        pandas_own.append(time.perf_counter() - start)
        connection.close()
        assert len(frame) == count == POINTS
    report(f"{POINTS:,} points to a DataFrame: Experiment.metrics", ours, "s")
    report(f"{POINTS:,} points to a DataFrame: pandas.read_sql", pandas_own, "s")


def interleaved(folder: Path, trials: int = 20, steps: int = 500) -> None:
    """Ten metrics of each of 20 trials, turn by turn, each trial through an object of its own."""
    rates = []
    for repeat in range(REPEATS):
        with Experiment("sweep", root=folder / f"interleaved-{repeat}") as experiment:
            attempts = []
            for trial in range(trials):
                experiment.sweep.add_trial(trial, seed=trial, params={})
                attempt = experiment.sweep.start_attempt(trial, host="here")
                attempts.append(open_attempt(experiment.path, trial, attempt))
            start = time.perf_counter()
            for step in range(steps):
                for each in attempts:
                    each.log(METRICS, step=step)
            for each in attempts:
                each.close()
            rates.append(trials * steps * len(METRICS) / (time.perf_counter() - start))
    report(f"durable points per second: {trials} trials interleaved", rates, "/s")


def overview(folder: Path, trials: int = 1000, metrics: int = 50, points: int = 200) -> None:
    """The last values of 10M points, against a scan that works them out."""
    with Experiment("wide", root=folder / "overview") as experiment:
        for trial in range(trials):
            experiment.sweep.add_trial(trial, seed=trial, params={})
        connection = sqlite3.connect(experiment.path / "experiment.sqlite", isolation_level=None)
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany(
            "INSERT INTO series VALUES (?,?,?)",
            (
                (trial * metrics + i, trial, f"metric_{i:02d}")
                for trial in range(trials)
                for i in range(metrics)
            ),
        )
        now = time.time()
        connection.executemany(
            "INSERT INTO metrics VALUES (?,?,?,?,?,?)",
            (
                (series, step, step, 0, step / 7, now)
                for series in range(trials * metrics)
                for step in range(points)
            ),
        )
        connection.execute(
            "INSERT INTO latest SELECT series, max(step), value FROM metrics GROUP BY series"
        )
        connection.execute("COMMIT")
        scan = (
            "SELECT trial, name, value, max(step) FROM metrics JOIN series ON series.id = series "
            "GROUP BY series"
        )
        ours, scanned = [], []
        for _ in range(REPEATS):
            start = time.perf_counter()
            frame = experiment.overview()
            ours.append(time.perf_counter() - start)
            start = time.perf_counter()
            rows = connection.execute(scan).fetchall()
            scanned.append(time.perf_counter() - start)
            assert frame.shape == (trials, metrics + 1)
            assert len(rows) == trials * metrics
        connection.close()
    what = f"overview of {trials} trials x {metrics} metrics, {trials * metrics * points:,} points"
    report(f"{what}: Experiment.overview", ours, "s")
    report(f"{what}: a scan", scanned, "s")


def tensors(folder: Path) -> None:
    """Ten zero-dimensional tensors in one call, which are read at once on the CPU."""
    values = {name: torch.tensor(value, requires_grad=True) for name, value in METRICS.items()}
    medians, tails = [], []
    for _ in range(REPEATS):
        with Experiment("tensors", root=folder / "tensors") as experiment:
            times = calls(lambda _, step: experiment.log(values, step=step), 5000, lambda: None)
        medians.append(times[2500])
        tails.append(times[4950])
    report("log of 10 zero-dimensional tensors, tight loop: p50", medians, "µs")
    report("log of 10 zero-dimensional tensors, tight loop: p99", tails, "µs")


def overhead(folder: Path, steps: int = 1000) -> None:
    """CPU time of a 2 ms step, the caller's and the writer's together, beyond the step's own."""

    def cpu(log: Log) -> float:
        for step in range(50):
            log(METRICS, step=step)
            compute()
        start = time.process_time()
        for step in range(steps):
            log(METRICS, step=step)
            compute()
        return (time.process_time() - start) / steps

    shares = []
    for _ in range(REPEATS):
        alone = cpu(lambda values, step: None)
        with Experiment("overhead", root=folder / "overhead") as experiment:
            shares.append(100 * (cpu(experiment.log) / alone - 1))
    report("overhead of logging 10 floats on a 2 ms step", shares, "%")


POLL = """
import sys, time
from fireworks.experiment import load_experiment
read = load_experiment(sys.argv[1])
looks = sys.argv[2] == "reads"  # else it takes as much of the processor, far from the database
read.overview()
took = []
for _ in range(5):
    start = time.thread_time()
    read.overview()
    took.append(time.thread_time() - start)
print("ready", flush=True)
while True:
    end = time.thread_time() + min(took)
    if looks:
        read.overview()
    while not looks and time.thread_time() < end:
        pass
    time.sleep(0.05)
"""


def polled(folder: Path, points: int = 400_000) -> None:
    """A writer in a tight loop while another process reads every 50 ms.

    Against it alone, and against it beside a process that computes for as long as the other reads:
    where there are fewer idle cores than processes, that is not the reader's doing.
    """
    seconds: dict[str, list[float]] = {"alone": [], "computes": [], "reads": []}
    processor: dict[str, list[float]] = {kind: [] for kind in seconds}
    for _ in range(REPEATS):
        for kind in seconds:
            with Experiment("polled", root=folder / "polled") as experiment:
                experiment.log(METRICS, step=-1)
                experiment.flush()
                other = None
                if kind != "alone":
                    command = [sys.executable, "-c", POLL, str(experiment.path), kind]
                    other = subprocess.Popen(command, stdout=subprocess.PIPE)
                    assert other.stdout is not None
                    other.stdout.readline()
                start, cpu = time.perf_counter(), time.process_time()
                for step in range(points // 10):
                    experiment.log(METRICS, step=step)
                experiment.flush()
                seconds[kind].append(time.perf_counter() - start)
                processor[kind].append(time.process_time() - cpu)
                if other is not None:
                    other.kill()
                    other.communicate()
    for kind, values in seconds.items():
        what = "alone" if kind == "alone" else f"beside a process that {kind} every 50 ms"
        report(f"durable points per second, {what}", [points / each for each in values], "/s")
    for what, times in (("time", seconds), ("processor time", processor)):
        for kind, than in (("alone", "alone"), ("computes", "beside one that computes")):
            ratios = [a / b for a, b in zip(times["reads"], times[kind], strict=True)]
            more = [100 * (each - 1) for each in ratios]
            report(f"the writer's {what}, with a reader more than {than}", more, "%")


def listing(folder: Path, count: int = 10_000) -> None:
    with Experiment("many", root=folder / "many", parameters={"lr": 0.1}) as experiment:
        experiment.log(METRICS, step=1)
    for number in range(2, count + 1):
        copy = experiment.path.with_name(f"many-{number:04d}")
        copy.mkdir()
        for name in ("experiment.json", "experiment.lock"):
            shutil.copyfile(experiment.path / name, copy / name)
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        assert len(experiments(folder / "many", where="params.lr < 0.2")) == count
        times.append(time.perf_counter() - start)
    report(f"list and filter {count:,} experiments", times, "s")


def report(what: str, values: list[float], unit: str) -> None:
    print(f"{what}: min {min(values):,.4g}, median {statistics.median(values):,.4g} {unit}")


if __name__ == "__main__":
    print(
        f"Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}, pandas "
        f"{pandas.__version__}, torch {torch.__version__}, {os.cpu_count()} CPUs"
    )
    torch.set_num_threads(1)
    short = options(__doc__ or "").short
    if short:
        REPEATS, POINTS = 2, 50_000
    with tempfile.TemporaryDirectory() as temporary:
        callers_time(Path(temporary))
        other_trackers(50 if short else 300)
        tensors(Path(temporary))
        overhead(Path(temporary))
        reading(rate(Path(temporary)))
        interleaved(Path(temporary))
        polled(Path(temporary))
        overview(Path(temporary), points=20 if short else 200)
        listing(Path(temporary), 1_000 if short else 10_000)
