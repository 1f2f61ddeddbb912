"""TensorBoard's events: fed by the same log, and read into a run."""

import math
import struct
from pathlib import Path

import numpy as np
import pytest
from torch.utils.tensorboard import SummaryWriter

from fireworks.errors import FilesNotFound
from fireworks.experiment import Experiment, Text, load_experiment
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
