"""Texts, images, histograms and figures, logged like numbers."""

import io
import sqlite3
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from fireworks.errors import DamagedFile, TableNotFound, WrongType, WrongValue
from fireworks.experiment import Experiment, Histogram, Image, Text, load_experiment, open_attempt
from fireworks.experiment.media import from_png, to_png


def test_they_come_back_as_they_were_logged(experiment: Experiment) -> None:
    pixels = np.arange(2 * 3 * 3, dtype="uint8").reshape(2, 3, 3)
    for step in (0, 5):
        experiment.log(
            {
                "loss": step / 2,
                "sample": Text(f"step {step} <b>ü</b>"),
                "input": Image(pixels + step),
                "weights": Histogram(torch.arange(10.0), bins=5),
            },
            step=step,
        )
    read = load_experiment(experiment.path)
    experiment.flush()
    assert read.media("sample") == {0: "step 0 <b>ü</b>", 5: "step 5 <b>ü</b>"}
    assert np.array_equal(read.media("input")[5], pixels + 5)
    assert read.media("weights")[0]["counts"] == [2] * 5
    assert read.metrics()["name"].tolist() == ["loss", "loss"]
    with pytest.raises(TableNotFound, match="Did you mean 'sample'"):
        read.media("sampel")


def test_a_repeated_step_replaces(experiment: Experiment) -> None:
    experiment.log(x=Text("old"), step=1)
    experiment.log(x=Text("new"), step=1)
    assert experiment.media("x") == {1: "new"}


def test_a_trials_media_are_its_own(experiment: Experiment) -> None:
    experiment.sweep.add_trial(0, seed=1, params={})
    attempt = experiment.sweep.start_attempt(0, host="here")
    with open_attempt(experiment.path, 0, attempt) as trial:
        trial.log(x=Text("mine"), step=0)
        assert trial.media("x") == {0: "mine"}
    assert experiment.media("x", trial=0) == {0: "mine"}
    with pytest.raises(TableNotFound):
        experiment.media("x")
    experiment.sweep.requeue(0)
    experiment.sweep.start_attempt(0, host="here")
    with pytest.raises(TableNotFound):
        experiment.media("x", trial=0)


@settings(max_examples=30, deadline=None)
@given(
    arrays.arrays(
        "uint8",
        st.tuples(st.integers(1, 9), st.integers(1, 9), st.sampled_from([1, 3, 4])),
    )
)
def test_a_png_is_read_by_others_and_by_us(pixels: Any) -> None:
    png = to_png(pixels)
    assert np.array_equal(from_png(png), pixels)
    with PIL.Image.open(io.BytesIO(png)) as image:
        assert np.array_equal(np.asarray(image).reshape(pixels.shape), pixels)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (torch.tensor([[0.0, 0.5], [1.0, 2.0]], requires_grad=True), [0, 128, 255, 255]),
        (np.array([[True, False]]), [255, 0]),
        (np.zeros((3, 2, 2)), [0] * 12),
        (PIL.Image.new("P", (1, 1)), [0, 0, 0, 255]),
        (np.array([[np.nan, np.inf]]), [0, 255]),
    ],
)
def test_what_an_image_may_be_made_of(given: Any, expected: list[int]) -> None:
    assert from_png(Image(given).encoded.data).reshape(-1).tolist() == expected


@pytest.mark.parametrize(
    "bad",
    [
        lambda: Text(3),  # pyright: ignore[reportArgumentType]
        lambda: Text("\ud800"),
        lambda: Image(np.zeros((2, 2, 2, 2))),
        lambda: Image(np.zeros((0, 3))),
        lambda: Image(np.array([[300]])),
        lambda: Image("x.png"),
        lambda: Histogram(["a"]),
        lambda: Histogram([1.0], bins=0),
        lambda: Histogram(None),
    ],
)
def test_what_cannot_be_logged(bad: Any) -> None:
    with pytest.raises((WrongType, WrongValue)):
        bad()


def test_a_histogram_counts_what_is_not_finite_apart() -> None:
    described = Histogram([1.0, float("nan"), float("inf")], bins=2).encoded
    assert b'"not_finite": 2' in described.data
    assert b'"counts": [0, 1]' in described.data


@pytest.mark.parametrize("store", ["sqlite"], indirect=True)
def test_damaged_media_are_told(experiment: Experiment, tmp_path: Path) -> None:
    experiment.log({"a": Image(np.zeros((4, 4))), "b": Histogram([1.0])}, step=0)
    experiment.flush()
    connection = sqlite3.connect(experiment.path / "experiment.sqlite")
    whole = connection.execute("SELECT data FROM media WHERE name = 'a'").fetchone()[0]
    for data in (b"", whole[:30], whole[:-20], whole.replace(b"IDAT", b"XDAT")):
        connection.execute("UPDATE media SET data = ? WHERE name = 'a'", (data,))
        connection.commit()
        with pytest.raises(DamagedFile, match="A logged image is damaged"):
            experiment.media("a")
    connection.execute("UPDATE media SET kind = 'pickle'")
    connection.commit()
    connection.close()
    with pytest.raises(DamagedFile, match="unknown kind was logged: 'pickle'"):
        experiment.media("b")
