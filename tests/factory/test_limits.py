"""Limits on what trials take: tried by hanging, by falling silent, by allocating."""

from __future__ import annotations

import mmap
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fireworks.errors import WrongType, WrongValue
from fireworks.factory import Factory, Grid, Trial
from fireworks.factory.limits import Limits, Watch
from fireworks.factory.linux import anonymous_memory
from fireworks.factory.memory import MemoryOf, descendants

Make = Callable[..., Factory]
MB = 1_000_000


def identity(trial: Trial) -> dict[str, float]:
    return {"accuracy": 1.0}


def outcomes(factory: Factory) -> dict[str, tuple[str, Any]]:
    return {each.params["kind"]: (each.state, each.reason) for each in factory.records}


def test_the_first_signal_comes_soon_after_the_time_limit(make: Make, tmp_path: Path) -> None:
    def train(trial: Trial) -> dict[str, float]:
        if trial.number:
            return {"accuracy": 1.0}
        asked: list[float] = []
        signal.signal(signal.SIGTERM, lambda *_: asked.append(time.monotonic()))
        began = time.monotonic()
        while not asked:
            time.sleep(0.005)
        (tmp_path / "after").write_text(str(asked[0] - began))
        return {"accuracy": 0.5}  # it ends well, in time: what it returned counts

    factory = make(train, time_limit=1.0, grace=30)
    factory.run(trials=2)
    assert 0.9 < float((tmp_path / "after").read_text()) < 1.5
    assert factory.trials["state"].tolist() == ["completed", "completed"]


def test_a_sweep_over_its_time_limit_stops_what_runs(make: Make) -> None:
    def train(trial: Trial) -> dict[str, float]:
        time.sleep(0.0 if trial.number == 0 else 60)
        return {"accuracy": 1.0}

    factory = make(train, sweep_time_limit=1.5, grace=5, retries=3)
    began = time.monotonic()
    factory.run(trials=50)
    assert 1.4 < time.monotonic() - began < 10
    assert factory.trials["state"].tolist() == ["completed", "stopped", "stopped"]
    reason = "the sweep is over its time limit of 1.5 s"
    assert factory.records[1].reason == factory.records[2].reason == reason
    states = factory.experiment.sql("SELECT state FROM attempts ORDER BY trial")
    assert states["state"].tolist() == ["completed", "stopped", "stopped"]


def test_a_trial_without_progress_fails(make: Make) -> None:
    def train(trial: Trial) -> dict[str, float]:
        from ignite.engine import Engine

        kind, busy = trial.params["kind"], 1.2
        if kind == "silent":
            time.sleep(60)
        elif kind == "another thread logs":
            stop = threading.Event()

            def log() -> None:
                while not stop.wait(0.05):
                    trial.experiment.log(x=1.0)

            thread = threading.Thread(target=log)
            thread.start()
            try:
                time.sleep(30)
            finally:
                stop.set()
        elif kind == "logs":
            for _ in range(int(busy / 0.1)):
                trial.experiment.log(x=1.0)
                time.sleep(0.1)
        elif kind == "reports":
            for step in range(int(busy / 0.1)):
                trial.report(step, 1.0)
                time.sleep(0.1)
        elif kind == "iterates":
            trainer = Engine(lambda engine, batch: time.sleep(0.1))
            trial.attach(trainer, Engine(lambda engine, batch: None), data=[1])
            trainer.run(range(int(busy / 0.1)), max_epochs=1)
        return {"accuracy": 1.0}

    kinds = ["silent", "another thread logs", "logs", "reports", "iterates"]
    factory = make(
        train, propose=Grid({"kind": kinds}), progress_limit=0.8, grace=0.2, workers=5, ordered=5
    )
    factory.run(trials=5)
    silent = "no progress for 0.8 s (no iteration, log or report)"
    assert outcomes(factory) == {
        "silent": ("failed", silent),
        "another thread logs": ("failed", silent),
        "logs": ("completed", None),
        "reports": ("completed", None),
        "iterates": ("completed", None),
    }


def test_memory_counts_from_what_the_process_began_with_and_over_its_group(make: Make) -> None:
    def train(trial: Trial) -> dict[str, float]:
        kind = trial.params["kind"]
        if kind == "alone":
            assert len(b"x" * 200 * MB)
        elif kind == "torch":
            import torch

            assert torch.ones(200 * MB, dtype=torch.uint8).sum() > 0
        elif kind == "together":  # none of them too much
            for _ in range(3):
                if os.fork() == 0:
                    kept = bytearray(os.urandom(1)) * 60 * MB
                    time.sleep(60)
                    assert kept
            time.sleep(60)
        else:  # one block of memory, which four processes see
            kept = bytearray(b"x") * 60 * MB
            children = [os.fork() for _ in range(3)]
            time.sleep(1.0)
            if 0 in children:
                os._exit(0)
            assert kept
        return {"accuracy": 1.0}

    kinds = ["alone", "torch", "together", "shared"]
    factory = make(
        train, propose=Grid({"kind": kinds}), memory_limit=100 * MB, grace=0.1, workers=4
    )
    factory.run(trials=4)
    found = outcomes(factory)
    assert [found[kind][0] for kind in kinds] == ["failed", "failed", "failed", "completed"]
    for kind in kinds[:3]:
        assert str(found[kind][1]).startswith("over its memory limit of 100 MB: "), found[kind]
    assert "MemoryError" in str(found["alone"][1])
    assert "it took 1" in str(found["together"][1])


def test_an_attempt_that_speaks_before_its_start_is_told_is_not_taken_for_another() -> None:
    """Of 300 short trials on a busy machine, three did."""
    watch = Watch(Limits(memory=MB))
    watch.submitted("a")
    watch.heard("a", {"ready": anonymous_memory(os.getpid()) + 50 * MB})
    assert watch.timeout() is None and list(watch.exceeded()) == []
    watch.started("a", os.getpid())
    for _ in range(2):
        assert watch.timeout() is not None
        assert list(watch.exceeded()) == []
        time.sleep(watch.timeout() or 0)
    kept = b"x" * 60 * MB
    over: list[tuple[str, str]] = []
    while not over:
        time.sleep(watch.timeout() or 0)
        over = list(watch.exceeded())
    assert kept and over[0][0] == "a" and "over its memory limit of 1 MB: it took" in over[0][1]


def test_memory_of_a_group_is_measured_exactly_where_it_matters() -> None:
    kept = mmap.mmap(-1, 80 * MB, flags=mmap.MAP_PRIVATE)
    measured = MemoryOf(os.getpid(), 0)
    before = measured.measure(limit=1 << 50)
    for offset in range(0, 80 * MB, 4096):
        kept[offset] = 1
    assert 75 * MB < measured.measure(limit=1 << 50) - before < 90 * MB
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.read(read, 1)
        os._exit(0)
    try:
        assert descendants(os.getpid())[0] == os.getpid() and child in descendants(os.getpid())
        single = before + 80 * MB
        assert measured.measure(limit=1 << 50) > 1.5 * single  # quick, and each page twice
        assert measured.measure(limit=1) < 1.2 * single
    finally:
        os.write(write, b"x")
        os.waitpid(child, 0)
        os.close(read)
        os.close(write)
        kept.close()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"memory_limit": 0}, "memory_limit must be at least 1"),
        ({"memory_limit": "2 GB"}, "memory_limit must be an int"),
        ({"time_limit": 0}, "time_limit must be more than 0"),
        ({"sweep_time_limit": -1}, "sweep_time_limit must be at least 0"),
        ({"progress_limit": "soon"}, "progress_limit must be a number of seconds"),
        ({"progress_limit": float("nan")}, "progress_limit"),
    ],
)
def test_limits_that_make_no_sense_are_refused(make: Make, options: Any, message: str) -> None:
    with pytest.raises((WrongType, WrongValue), match=message):
        make(identity, **options)
