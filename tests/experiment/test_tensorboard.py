"""TensorBoard's events: fed by the same log, and read into a run."""

import math
import os
import struct
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.utils.tensorboard import SummaryWriter

from fireworks.errors import FilesNotFound
from fireworks.experiment import Experiment, Text, load_experiment, open_attempt
from fireworks.experiment.tensorboard import read_events


def rounded(value: float) -> float:
    """As a float of 32 bits, which is what an event holds."""
    return struct.unpack("f", struct.pack("f", value))[0]


def test_the_same_log_feeds_both_and_they_agree(tmp_path: Path) -> None:
    with Experiment("digits", root=tmp_path, tensorboard=True) as experiment:
        for step in range(200):
            experiment.log({"train/loss": 1 / (step + 1), "x": np.float32(step)}, step=step)
        experiment.log({"note": Text("ü <b>"), "nan": math.nan}, step=200)
    events = read_events(experiment.tensorboard)
    read = load_experiment(experiment.path)
    known = {
        (name, step): value
        for step, values, _ in events
        for name, value in values.items()
        if isinstance(value, float)
    }
    frame = read.metrics()
    assert len(known) == len(frame) == 401
    for name, step, value in frame[["name", "step", "value"]].itertuples(index=False):
        other = known[name, step]
        assert other == rounded(value) or (math.isnan(other) and math.isnan(value))
    assert [e[1]["note"].data for e in events if "note" in e[1]] == ["ü <b>".encode()]


def test_without_asking_there_are_no_events(experiment: Experiment) -> None:
    experiment.log(x=1.0)
    experiment.flush()
    assert not (experiment.path / "tensorboard").exists()


def test_rewound_steps_are_purged(tmp_path: Path) -> None:
    with Experiment("digits", root=tmp_path, tensorboard=True) as experiment:
        experiment.log(loss=0.0, step=0)
        here = experiment.mark()
        experiment.log(loss=1.0, step=1)
        experiment.rewind(here)
        experiment.log(loss=2.0, step=1)
    events = [(step, values["loss"]) for step, values, _ in read_events(experiment.tensorboard)]
    assert events == [(0, 0.0), (1, 2.0)]


def curve(folder: Path) -> list[tuple[int, float]]:
    return [(step, values["loss"]) for step, values, _ in read_events(folder)]


def recorded(experiment: Experiment, trial: int = -1) -> list[tuple[int, float]]:
    return experiment.metrics("loss", trials=trial)[["step", "value"]].values.tolist()  # pyright: ignore


def test_who_goes_on_with_a_run_feeds_it_too(tmp_path: Path) -> None:
    with Experiment("digits", root=tmp_path, tensorboard=True) as experiment:
        for step in range(3):
            experiment.log(loss=float(step), step=step)
        here = experiment.mark()
        experiment.log(loss=3.0, step=3)
        experiment.log(loss=4.0, step=4)
    with load_experiment(experiment.path, write=True, position=here) as again:
        again.log(loss=30.0, step=3)
    with load_experiment(experiment.path, write=True) as again:
        again.log(loss=40.0, step=4)
    expected = [(0, 0.0), (1, 1.0), (2, 2.0), (3, 30.0), (4, 40.0)]
    assert curve(experiment.tensorboard) == expected
    assert list(map(tuple, recorded(again))) == expected
    with load_experiment(experiment.path) as read:
        assert sorted(os.listdir(read.tensorboard)) == sorted(os.listdir(experiment.tensorboard))


def test_a_file_made_in_the_same_second_is_read_after_those_before(tmp_path: Path) -> None:
    with Experiment("digits", root=tmp_path, tensorboard=True) as experiment:
        experiment.log(loss=0.5, step=0)
        here = experiment.mark()
        experiment.log(loss=7.0, step=1)
    (file,) = experiment.tensorboard.iterdir()
    later = file.rename(file.with_name(f"events.out.tfevents.{int(time.time()) + 2:010d}.z.1.0"))
    with load_experiment(experiment.path, write=True, position=here) as again:
        again.log(loss=1.0, step=1)
    assert max(os.listdir(again.tensorboard)) != later.name
    assert curve(again.tensorboard) == [(0, 0.5), (1, 1.0)]


def test_trials_feed_folders_of_their_own_and_retries_purge(tmp_path: Path) -> None:
    with Experiment("digits", root=tmp_path, tensorboard=True) as experiment:
        experiment.sweep.add_trial(7, seed=1, params={})
        attempt = experiment.sweep.start_attempt(7, host="here")
        with open_attempt(experiment.path, 7, attempt) as trial:
            trial.log(loss=0.0, step=0)
            here = trial.mark()
            trial.log(loss=1.0, step=1)
            trial.log(loss=2.0, step=2)
        experiment.sweep.requeue(7)
        attempt = experiment.sweep.start_attempt(7, host="here", position=here)
        with open_attempt(experiment.path, 7, attempt) as trial:
            trial.log(loss=10.0, step=1)
            folder = trial.tensorboard
        experiment.log(loss=0.5, step=0)
        experiment.flush()
        assert curve(folder) == [(0, 0.0), (1, 10.0)]
        assert list(map(tuple, recorded(experiment, trial=7))) == [(0, 0.0), (1, 10.0)]
    assert folder == experiment.path / "tensorboard" / "trial-0007"
    # TensorBoard's own reader agrees.
    shown = EventAccumulator(str(folder), purge_orphaned_data=True).Reload().Scalars("loss")
    assert [(each.step, each.value) for each in shown] == [(0, 0.0), (1, 10.0)]


def test_a_killed_run_has_the_events_of_what_it_committed(
    tmp_path: Path, python: Callable[..., Any]
) -> None:
    process = python(
        """
import sys
from fireworks.experiment import Experiment
experiment = Experiment("digits", root=sys.argv[1], tensorboard=True)
for step in range(50):
    experiment.log(loss=float(step), step=step)
experiment.flush()
print("committed", flush=True)
sys.stdin.readline()
""",
        tmp_path,
    )
    assert process.stdout.readline() == "committed\n"
    process.kill()
    process.wait()
    folder = tmp_path / "digits-0001"
    assert curve(folder / "tensorboard") == [(step, float(step)) for step in range(50)]


def test_a_run_of_event_files(tmp_path: Path) -> None:
    for part in ("", "a", "b/c"):
        with SummaryWriter(str(tmp_path / "logs" / part)) as writer:
            for step in range(3):
                writer.add_scalar("loss", step / 4, step, walltime=1000.0 + step)
            writer.add_scalar("new", 2.0, 0, new_style=True)
            writer.add_text("note", "hello", 1)
            writer.add_histogram("ignored", np.arange(3), 0)
    made = Experiment.from_tensorboard(tmp_path / "logs", root=tmp_path / "runs")
    assert (made.id, made.status) == ("logs-0001", "completed")
    frame = made.metrics()
    assert sorted(set(frame["name"])) == ["a/loss", "a/new", "b/c/loss", "b/c/new", "loss", "new"]
    assert made.metrics("b/c/loss")["value"].tolist() == [0.0, 0.25, 0.5]
    assert made.metrics("loss")["time"].tolist() == [1000.0, 1001.0, 1002.0]
    assert made.media("a/note") == {1: "hello"}


def test_torn_and_missing_event_files(tmp_path: Path) -> None:
    with SummaryWriter(str(tmp_path / "logs")) as writer:
        for step in range(3):
            writer.add_scalar("loss", 1.0, step)
    (file,) = (tmp_path / "logs").iterdir()
    file.write_bytes(file.read_bytes()[:-5])
    made = Experiment.from_tensorboard(tmp_path / "logs", "torn", tmp_path / "runs")
    assert made.metrics()["step"].tolist() == [0, 1]
    with pytest.raises(FilesNotFound, match="no event files"):
        Experiment.from_tensorboard(tmp_path / "none", root=tmp_path / "other")
    assert not (tmp_path / "other").exists()
