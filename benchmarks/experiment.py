"""What logging to an Experiment costs the training loop, and how fast its record is read.

    python benchmarks/experiment.py

Peers: TensorBoard's SummaryWriter for the caller's time, plain ``sqlite3.executemany`` for the
rate, ``pandas.read_sql`` for reading; MLflow and Trackio where the environment variable
TRACKERS_PYTHON names an interpreter that has them (see trackers/others.py). Each is measured
REPEATS times, interleaved; the minimum and the median are printed.
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
POINTS = 1_000_000


def experiment_log(folder: Path) -> tuple[Callable[[int], None], Callable[[], None]]:
    experiment = Experiment("speed", root=folder)
    return lambda step: experiment.log(METRICS, step=step), experiment.close


def tensorboard_log(folder: Path) -> tuple[Callable[[int], None], Callable[[], None]]:
    writer = SummaryWriter(str(folder / "tensorboard"))

    def log(step: int) -> None:
        for name, value in METRICS.items():
            writer.add_scalar(name, value, step)

    return log, writer.close


def busy(seconds: float) -> None:
    """A training step that computes, and so keeps its caches, in place of one that sleeps."""
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass


def calls(log: Callable[[int], None], count: int, between: Callable[[], None]) -> list[float]:
    """The microseconds that each of `count` calls took its caller."""
    times: list[float] = []
    for step in range(count):
        start = time.perf_counter_ns()
        log(step)
        times.append((time.perf_counter_ns() - start) / 1000)
        between()
    return sorted(times)


def callers_time(folder: Path) -> None:
    kinds = {
        "tight loop": (5000, lambda: None),
        "a 2 ms step that computes": (500, lambda: busy(0.002)),
        "a 2 ms step that sleeps": (500, lambda: time.sleep(0.002)),
    }
    for kind, (count, between) in kinds.items():
        for name, make in {"Experiment": experiment_log, "TensorBoard": tensorboard_log}.items():
            medians, tails = [], []
            for repeat in range(REPEATS):
                log, close = make(folder / f"{name}-{kind}-{repeat}")
                times = calls(log, count, between)
                close()
                medians.append(times[count // 2])
                tails.append(times[count * 99 // 100])
            report(f"log of 10 floats, {kind}: {name} p50", medians, "µs")
            report(f"log of 10 floats, {kind}: {name} p99", tails, "µs")


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
            times = calls(lambda step: experiment.log(values, step=step), 5000, lambda: None)
        medians.append(times[2500])
        tails.append(times[4950])
    report("log of 10 zero-dimensional tensors, tight loop: p50", medians, "µs")
    report("log of 10 zero-dimensional tensors, tight loop: p99", tails, "µs")


def overhead(folder: Path, steps: int = 1000) -> None:
    """CPU time of a 2 ms step, the caller's and the writer's together, beyond the step's own."""

    def cpu(log: Callable[[int], None]) -> float:
        start = time.process_time()
        for step in range(steps):
            end = time.thread_time() + 0.002
            while time.thread_time() < end:
                pass
            log(step)
        return (time.process_time() - start) / steps

    shares = []
    for _ in range(REPEATS):
        alone = cpu(lambda step: None)
        with Experiment("overhead", root=folder / "overhead") as experiment:
            shares.append(100 * (cpu(lambda step: experiment.log(METRICS, step=step)) / alone - 1))
    report("overhead of logging 10 floats on a 2 ms step", shares, "%")


POLL = """
import sys, time
from fireworks.experiment import load_experiment
read = load_experiment(sys.argv[1])
read.overview()
print("ready", flush=True)
while True:
    read.overview()
    time.sleep(0.05)
"""


def polled(folder: Path) -> None:
    """The writer's rate while another process reads every 50 ms, against without one."""
    rates: dict[str, list[float]] = {"alone": [], "polled": []}
    for repeat in range(2 * REPEATS):
        kind = "polled" if repeat % 2 else "alone"
        with Experiment("polled", root=folder / "polled") as experiment:
            reader = None
            if kind == "polled":
                command = [sys.executable, "-c", POLL, str(experiment.path)]
                reader = subprocess.Popen(command, stdout=subprocess.PIPE)
                assert reader.stdout is not None
                reader.stdout.readline()
            start = time.perf_counter()
            for step in range(POINTS // 10):
                experiment.log(METRICS, step=step)
            experiment.flush()
            rates[kind].append(POINTS / (time.perf_counter() - start))
            if reader is not None:
                reader.kill()
                reader.communicate()
    for kind, values in rates.items():
        report(f"durable points per second, {kind}", values, "/s")
    change = statistics.median(rates["polled"]) / statistics.median(rates["alone"]) - 1
    print(f"a reader every 50 ms changes the writer's rate by {100 * change:+.1f} %")


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
