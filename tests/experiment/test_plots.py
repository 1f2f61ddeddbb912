"""Figures that an experiment stores: specifications, drawn from its record when asked for."""

import sqlite3
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fireworks.errors import (
    DamagedFile,
    ExperimentReadOnly,
    TableNotFound,
    WrongType,
    WrongValue,
)
from fireworks.experiment import Experiment, Figure, Image, load_experiment
from fireworks.message import Message
from fireworks.source import Graph
from fireworks.sources import BatchingSource, MessageSource


def run(root: Path, scale: float = 1.0) -> Experiment:
    experiment = Experiment("digits", root=root)
    for step in range(5):
        experiment.log({"train/loss": scale * step, "valid/loss": -scale * step}, step=step)
    return experiment


def test_a_figure_is_stored_as_what_it_is_made_of(tmp_path: Path) -> None:
    with run(tmp_path) as experiment:
        experiment.plot("loss", x="step", y=["train/loss", "valid/loss"], smooth=0.6)
        experiment.log({"train/loss": 9.0}, step=5)
    read = load_experiment(experiment.path)
    figure = read.figures["loss"]
    assert list(read.figures) == ["loss"]
    table = figure.data()
    assert set(table["curve"]) == {"train/loss", "valid/loss"}
    assert table["raw"].max() == 9.0  # logged after the figure was stored  # pyright: ignore[reportGeneralTypeIssues]
    drawn = figure.render(template="plotly_dark")
    assert drawn.layout.title.text == "loss"
    assert len(drawn.data) == 4
    # Nothing is stored but the specification.
    (spec,) = read.sql("SELECT spec FROM figures")["spec"]
    assert len(spec) < 300
    with pytest.raises(KeyError, match="Did you mean 'loss'"):
        read.figures["los"]


def test_restyling_changes_the_specification_only(tmp_path: Path) -> None:
    with run(tmp_path) as experiment:
        figure = experiment.plot("loss", y="train/loss")
        figure.restyle(title="Loss", yaxis="log", width=500)
        figure.restyle(width=None)
        experiment.flush()
        stored = load_experiment(experiment.path).figures["loss"]
        assert stored.spec.style == {"title": "Loss", "yaxis": "log"}
        assert stored.data().equals(figure.data())
        stored.render(title="other")
        assert load_experiment(experiment.path).figures["loss"].spec.style["title"] == "Loss"
        with pytest.raises(ExperimentReadOnly):
            stored.restyle(title="no")
        with pytest.raises(WrongValue, match="Did you mean 'title'"):
            figure.restyle(titel="x")
        del experiment.figures["loss"]
        assert len(experiment.figures) == 0


def test_a_figure_of_other_experiments(tmp_path: Path) -> None:
    with run(tmp_path) as first, run(tmp_path, scale=2.0) as second:
        second.log(extra=1.0, step=0)
        second.flush()
        figure = first.plot("loss", y="train/loss")
        both = figure.of(first, second.path)
        assert both.data().groupby("curve")["y"].max().to_dict() == {
            "digits-0001": 4.0,
            "digits-0002": 8.0,
        }
        assert figure.of(second).data()["y"].max() == 8.0  # pyright: ignore[reportGeneralTypeIssues]
        assert len(first.figures) == 1
        with pytest.raises(WrongValue, match="one experiment or several"):
            figure.of()
        # What only one of them has is shown of that one.
        extra = second.plot("extra", y=["train/loss", "extra"]).of(first, second)
        assert extra.data()["curve"].nunique() == 3  # pyright: ignore[reportGeneralTypeIssues]
        with pytest.raises(WrongValue, match="Did you mean 'train/loss'"):
            first.plot("x", y="train/los").of(first, second).data()


def test_a_reader_draws_without_storing(tmp_path: Path) -> None:
    with run(tmp_path) as experiment:
        experiment.flush()
        read = load_experiment(experiment.path)
        page = read.plot("loss").to_html(tmp_path / "loss.html")
        assert (tmp_path / "loss.html").read_text() == page
        assert len(read.figures) == 0


def test_figures_of_tables_media_graphs_and_queries(experiment: Experiment) -> None:
    random = np.random.default_rng(0)
    rows = Message({"target": [0, 1, 1, 0], "score": [0.1, 0.9, 0.4, 0.5]})
    experiment.log(predictions=rows, step=1)
    assert experiment.plot("roc", "roc", table="predictions").data().attrs["area"] == 0.75
    query = "SELECT target, target AS prediction FROM predictions"
    table = experiment.plot("confusion", "confusion", sql=query).data()
    assert table["value"].tolist() == [2.0, 0.0, 0.0, 2.0]
    vectors = Message({"x": torch.from_numpy(random.normal(size=(9, 4)))})
    experiment.log(vectors=vectors, step=1)
    assert len(experiment.plot("plane", "embedding", table="vectors").data()) == 9
    experiment.log(input=Image(np.zeros((4, 4))), step=2)
    drawn = experiment.plot("grid", "images", media="input").render()
    assert drawn.layout.images[0].source.startswith("data:image/png;base64,iVBOR")
    experiment.save_graph(Graph(MessageSource({"x": [1.0]}) >> BatchingSource(1)))
    graph = experiment.plot("graph", "graph").data()
    assert graph["column"].tolist() == [1, 0]
    assert len(experiment.figures) == 5
    for figure in experiment.figures.values():
        figure.render()


def test_figures_of_a_sweep(experiment: Experiment) -> None:
    for number in range(8):
        params = {"lr": 0.1 * number, "kind": "ab"[number % 2]}
        experiment.sweep.add_trial(number, seed=1, params=params)
        attempt = experiment.sweep.start_attempt(number, host="here")
        experiment.sweep.finish_attempt(
            number, attempt, state="completed", result={"accuracy": number / 8, "loss": 1.0}
        )
    assert experiment.plot("h", "history", metric="accuracy").data()["best"].max() == 7 / 8  # pyright: ignore[reportGeneralTypeIssues]
    assert experiment.plot("s", "scatter", x="lr", y="accuracy").data().shape == (8, 3)
    for name, options in {
        "parallel": {},
        "importance": {"metric": "accuracy"},
        "contour": {"x": "lr", "y": "loss", "z": "accuracy"},
        "pareto": {"x": "accuracy", "y": "loss"},
    }.items():
        experiment.plot(name, name, **options).render()


def test_figures_of_a_sweep_know_what_it_is_after(experiment: Experiment) -> None:
    experiment.sweep.set_objective([("loss", "minimize"), ("accuracy", "maximize")])
    results = [(0.5, 0.5), (0.25, 0.75), (0.125, 1.0), (0.25, 0.875)]
    for number, (loss, accuracy) in enumerate(results):
        params = {"lr": 10.0 ** (number - 4), "hidden": 2 + number}
        experiment.sweep.add_trial(number, seed=1, params=params)
        attempt = experiment.sweep.start_attempt(number, host="here")
        result = {"loss": loss, "accuracy": accuracy}
        experiment.sweep.finish_attempt(
            number, attempt, state="completed", result=result, feasible=number != 2
        )
    # The third breaks a constraint: it is shown, and is neither the best nor on the front.
    history = experiment.plot("history", "history")
    assert history.data()["best"].tolist() == [0.5, 0.25, 0.25, 0.25]  # pyright: ignore[reportGeneralTypeIssues]
    assert history.spec.options == {"metric": "loss", "direction": "minimize"}
    other = experiment.plot("history", "history", metric="accuracy")
    assert other.spec.options["direction"] == "maximize"
    pareto = experiment.plot("pareto", "pareto")
    assert pareto.data()["front"].tolist() == [False, False, False, True]  # pyright: ignore[reportGeneralTypeIssues]
    assert pareto.spec.options["directions"] == ["minimize", "maximize"]
    turned = experiment.plot("pareto", "pareto", x="accuracy", y="loss")
    assert turned.spec.options["directions"] == ["maximize", "minimize"]
    assert experiment.plot("importance", "importance").spec.options == {"metric": "loss"}
    scatter = experiment.plot("scatter", "scatter", x="lr").render()
    assert (scatter.layout.xaxis.title.text, scatter.layout.xaxis.type) == ("lr", "log")
    assert (scatter.layout.yaxis.title.text, scatter.layout.yaxis.type) == ("loss", None)
    contour = experiment.plot("contour", "contour", x="lr", y="hidden").render()
    assert contour.layout.xaxis.type == "log" and contour.data[0].colorbar.title.text == "loss"
    # In the middle between 0.0001 and 0.1, by its logarithm.
    assert contour.data[0].x[20] == pytest.approx(10**-2.5, rel=0.2)
    lr = next(each for each in experiment.plot("p", "parallel").render().data[0].dimensions
              if each.label == "lr")  # fmt: skip
    assert lr.ticktext == ("0.0001", "0.001", "0.01", "0.1") and lr.range == (-4, -1)


def test_a_plotly_figure_can_be_logged(experiment: Experiment) -> None:
    drawn = experiment.plot("empty").render()
    experiment.log(drawn=Figure(drawn), step=0)
    assert experiment.media("drawn")[0]["layout"]["title"]["text"] == "empty"
    with pytest.raises(WrongType, match=r"plotly\.graph_objects\.Figure"):
        Figure("x")


def test_what_makes_no_figure(experiment: Experiment) -> None:
    cases: list[tuple[dict[str, Any], str]] = [
        ({"kind": "curvs"}, "Did you mean 'curves'"),
        ({"smoth": 0.5}, "Did you mean 'smooth'"),
        ({"kind": "roc"}, "table='name'"),
        ({"kind": "scatter", "x": "lr"}, "needs the option 'y'"),
        ({"sql": "SELECT 1", "table": "x"}, "reads from one place"),
    ]
    for arguments, message in cases:
        with pytest.raises(WrongValue, match=message):
            experiment.plot("x", **arguments)
    for name in ("", None, "\ud800"):
        with pytest.raises((WrongValue, WrongType), match="figure's name"):
            experiment.plot(name)  # pyright: ignore[reportArgumentType]
    assert len(experiment.figures) == 0
    with pytest.raises(TableNotFound):
        experiment.plot("x", "roc", table="nothing").render()
    with pytest.raises(WrongValue, match="no metric 'nothing'"):
        experiment.plot("x", y="nothing").render()


@pytest.mark.parametrize("store", ["sqlite"], indirect=True)
def test_a_specification_that_somebody_prepared(experiment: Experiment) -> None:
    experiment.plot("x")
    experiment.flush()
    connection = sqlite3.connect(experiment.path / "experiment.sqlite")
    connection.execute("UPDATE figures SET spec = '{\"format\": 1}'")
    connection.commit()
    connection.close()
    with pytest.raises(DamagedFile, match="specification is damaged"):
        load_experiment(experiment.path).figures["x"]
