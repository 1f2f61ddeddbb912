"""Every other kind: its numbers against others' or by hand, and that it can be drawn."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics as sklearn_metrics

from fireworks.errors import ColumnNotFound, DamagedFile, WrongType, WrongValue
from fireworks.plot import KINDS, Spec, compute, draw, to_html, to_json
from fireworks.plot.kinds import kind_of

RANDOM = np.random.default_rng(0)
TRIALS = pd.DataFrame(
    {
        "experiment": "a",
        "trial": range(40),
        "state": ["completed"] * 36 + ["failed"] * 4,
        "params.lr": RANDOM.uniform(0, 1, 40),
        "params.width": RANDOM.integers(1, 100, 40),
        "params.optimizer": RANDOM.choice(["sgd", "adam"], 40),
        "params.same": 1,
    }
)
TRIALS["result.accuracy"] = TRIALS["params.lr"] + 0.01 * RANDOM.normal(size=40)
TRIALS["result.loss"] = 1 - TRIALS["result.accuracy"] + 0.3 * RANDOM.normal(size=40)
TRIALS.loc[3, "result.accuracy"] = np.nan
SCORES = pd.DataFrame({"target": RANDOM.integers(0, 2, 300)})
SCORES["score"] = (SCORES["target"] + RANDOM.normal(size=300)).round(1)  # with ties
SCORES["prediction"] = (SCORES["score"] > 0.5).astype(int)
PNG = b"\x89PNG"
GRAPH = pd.DataFrame(
    {
        "name": ["sink", "left", "right", "top"],
        "kind": "X",
        "rows": 10,
        "seconds": [1.0, 2.0, 0.0, 1.0],
        "inputs": [["left", "right"], ["top"], ["top", "sink"], []],
    }
)
GIVEN: dict[str, tuple[pd.DataFrame, dict[str, Any]]] = {
    "curves": (
        pd.DataFrame(
            {"experiment": "a", "trial": -1, "name": "x", "step": [0, 1], "value": 1.0, "time": 0.0}
        ),
        {},
    ),
    "scatter": (TRIALS, {"x": "lr", "y": "accuracy", "color": "optimizer"}),
    "contour": (TRIALS, {"x": "lr", "y": "width", "z": "accuracy"}),
    "parallel": (TRIALS, {"color": "accuracy"}),
    "importance": (TRIALS, {"metric": "accuracy"}),
    "history": (TRIALS, {"metric": "accuracy"}),
    "pareto": (TRIALS, {"x": "accuracy", "y": "loss", "directions": ["maximize", "minimize"]}),
    "histogram": (TRIALS, {"column": "accuracy", "by": "optimizer"}),
    "confusion": (SCORES, {}),
    "roc": (SCORES, {}),
    "pr": (SCORES, {}),
    "images": (pd.DataFrame({"step": range(5), "kind": "image", "data": [PNG] * 5}), {}),
    "embedding": (pd.DataFrame({"x": list(RANDOM.normal(size=(30, 5))), "y": "c"}), {"label": "y"}),
    "graph": (GRAPH, {}),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_drawn_and_is_a_page_that_works_offline(kind: str, tmp_path: Path) -> None:
    frame, options = GIVEN[kind]
    before = frame.copy(deep=True)
    table = compute(kind, frame, **options)
    pd.testing.assert_frame_equal(frame, before)
    figure = draw(kind, table, {"template": "plotly_dark", "title": "<b>t</b>", "width": 300})
    assert figure.layout.title.text == "&lt;b&gt;t&lt;/b&gt;"
    json.loads(to_json(figure, tmp_path / "figure.json"))
    page = to_html(figure, tmp_path / "figure.html")
    assert (tmp_path / "figure.html").read_text() == page
    # Plotly's program is inside; nothing is fetched when the page opens.
    assert not re.findall(r"<(?:script|link|img)[^>]+(?:src|href)\s*=", page)
    empty = (
        compute(kind, frame.iloc[:0], **options) if kind not in ("roc", "pr", "embedding") else None
    )
    if empty is not None:
        draw(kind, empty)


@pytest.mark.parametrize("kind", KINDS)
def test_options_are_checked(kind: str) -> None:
    frame, options = GIVEN[kind]
    with pytest.raises(WrongValue, match="has no option 'wrong'"):
        compute(kind, frame, **options, wrong=1)
    for name, each in kind_of(kind).options.items():
        if each.default is each.empty:
            rest = {key: value for key, value in options.items() if key != name}
            with pytest.raises(WrongValue, match=f"needs the option '{name}'"):
                compute(kind, frame, **rest)


def test_no_such_kind() -> None:
    with pytest.raises(WrongValue, match="Did you mean 'scatter'"):
        compute("scater", TRIALS)


def test_columns_that_are_not_there() -> None:
    with pytest.raises(ColumnNotFound, match="Did you mean 'width'"):
        compute("scatter", TRIALS, x="widht", y="accuracy")
    with pytest.raises(WrongType, match="must hold numbers"):
        compute("importance", TRIALS, metric="optimizer")


def test_scatter_takes_completed_trials_only() -> None:
    table = compute("scatter", TRIALS, x="lr", y="accuracy")
    assert len(table) == 35  # 36 completed, one without a result
    assert table["label"].iloc[3] == "trial 4"


def test_contour_goes_through_its_points() -> None:
    frame = pd.DataFrame(
        {"a": [0.0, 1.0, 0.0, 1.0], "b": [0.0, 0.0, 1.0, 1.0], "c": [1.0, 2.0, 3.0, 4.0]}
    )
    table = compute("contour", frame, x="a", y="b", z="c", cells=5)
    grid = table[~table["trial"]]
    assert len(grid) == 25
    corners = grid[grid["x"].isin([0, 1]) & grid["y"].isin([0, 1])]
    assert np.allclose(corners["z"], [1, 2, 3, 4])
    assert grid["z"].between(1, 4).all()
    assert np.isclose(grid[(grid["x"] == 0.5) & (grid["y"] == 0.5)]["z"].item(), 2.5)


def test_parallel_numbers_categories() -> None:
    table = compute("parallel", TRIALS, color="accuracy")
    assert table.columns.tolist() == ["lr", "width", "optimizer", "loss", "accuracy"]
    assert table.attrs["ticks"] == {"optimizer": ["adam", "sgd"]}
    assert set(table["optimizer"]) == {0.0, 1.0}


def test_importance_finds_what_matters() -> None:
    table = compute("importance", TRIALS, metric="accuracy")
    assert table["param"].iloc[0] == "lr"
    assert table["importance"].iloc[0] > 0.8
    assert table.set_index("param")["importance"].drop("lr").max() < 0.3
    assert "same" not in set(table["param"])


def test_history_is_the_best_so_far() -> None:
    frame = pd.DataFrame({"trial": [2, 0, 1, 3], "result.a": [3.0, 1.0, np.nan, 2.0]})
    up = compute("history", frame, metric="a")
    assert up["trial"].tolist() == [0, 1, 2, 3]
    assert up["best"].tolist() == [1.0, 1.0, 3.0, 3.0]
    assert compute("history", frame, metric="a", direction="minimize")["best"].tolist() == [1.0] * 4
    with pytest.raises(WrongValue, match="A direction is"):
        compute("history", frame, metric="a", direction="up")


def test_pareto_against_every_pair() -> None:
    frame = pd.DataFrame({"trial": range(200)})
    frame["result.x"], frame["result.y"] = RANDOM.integers(0, 15, (2, 200)).astype(float)
    table = compute("pareto", frame, x="x", y="y", directions=("maximize", "minimize"))
    points = np.stack([-table["x"], table["y"]], 1)
    dominated = [bool(((points <= each).all(1) & (points < each).any(1)).any()) for each in points]
    assert table["front"].tolist() == [not each for each in dominated]


def test_histogram_shares_its_edges() -> None:
    frame = pd.DataFrame({"value": [0.0, 1.0, 2.0, np.nan, np.inf], "g": ["a", "a", "b", "b", "b"]})
    table = compute("histogram", frame, by="g", bins=2)
    assert table["count"].tolist() == [1, 1, 0, 1]
    assert table["low"].tolist() == [0.0, 1.0] * 2


def test_confusion_against_scikit_learn() -> None:
    frame = pd.DataFrame({"target": [10, 9, 9, 2, 2], "prediction": [10, 2, 9, 2, 11]})
    wide = compute("confusion", frame)
    classes = list(dict.fromkeys(wide["target"]))
    assert classes == ["2", "9", "10", "11"]  # as numbers sort
    expected = sklearn_metrics.confusion_matrix(
        frame["target"], frame["prediction"], labels=[2, 9, 10, 11]
    )
    assert wide["value"].to_numpy().reshape(4, 4).tolist() == expected.tolist()
    shares = compute("confusion", frame, normalize=True)["value"].to_numpy().reshape(4, 4)
    assert shares[0].tolist() == [0.5, 0, 0, 0.5]
    assert shares[3].tolist() == [0, 0, 0, 0]


def test_roc_and_pr_against_scikit_learn() -> None:
    target, score = SCORES["target"], SCORES["score"]
    roc = compute("roc", SCORES)
    x, y, _ = sklearn_metrics.roc_curve(target, score, drop_intermediate=False)
    assert np.allclose(roc["x"], x)
    assert np.allclose(roc["y"], y)
    assert roc.attrs["area"] == pytest.approx(sklearn_metrics.roc_auc_score(target, score))
    pr = compute("pr", SCORES)
    precision, recall, _ = sklearn_metrics.precision_recall_curve(target, score)
    assert np.allclose(pr["x"], recall[::-1])
    assert np.allclose(pr["y"], precision[::-1])
    assert pr.attrs["area"] == pytest.approx(sklearn_metrics.average_precision_score(target, score))
    for bad in ([0, 0], [1, 1], [0, 2], []):
        with pytest.raises(WrongValue, match="must hold"):
            compute("roc", pd.DataFrame({"target": bad, "score": [0.5] * len(bad)}))


def test_images_fill_a_grid() -> None:
    frame = pd.DataFrame({"step": range(10), "kind": ["image"] * 9 + ["text"], "data": PNG})
    table = compute("images", frame, limit=7)
    assert table["label"].tolist() == [f"step {i}" for i in range(2, 9)]
    assert list(zip(table["row"], table["column"], strict=True))[-1] == (2, 0)
    with pytest.raises(WrongValue, match="columns must be"):
        compute("images", frame, columns=0)


def test_an_embedding_keeps_what_lies_in_a_plane() -> None:
    plane = RANDOM.normal(size=(50, 2)) * [5, 1]
    axes = np.linalg.qr(RANDOM.normal(size=(7, 2)))[0].T
    table = compute("embedding", pd.DataFrame({"x": list(plane @ axes + 3)}))
    assert sum(table.attrs["explained"]) == pytest.approx(1.0)
    centred = plane - plane.mean(0)
    between = np.linalg.norm(centred[:, None] - centred[None], axis=-1)
    places = table[["x", "y"]].to_numpy()
    assert np.allclose(np.linalg.norm(places[:, None] - places[None], axis=-1), between)
    for bad in (["a", "b"], [[1.0], [1.0, 2.0]]):
        with pytest.raises(WrongType, match="vectors of one length"):
            compute("embedding", pd.DataFrame({"x": bad}))


def test_a_graph_flows_from_left_to_right_even_with_a_loop() -> None:
    table = compute("graph", GRAPH).set_index("name")
    assert table["share"].tolist() == [0.25, 0.5, 0.0, 0.25]
    assert table.loc["top", "column"] == 0
    assert table.loc["left", "column"] == 1
    assert len(set(zip(table["column"], table["row"], strict=True))) == 4


def test_styles() -> None:
    table = compute("history", TRIALS, metric="accuracy")
    style = {"xaxis": "trial", "yaxis": "log", "legend": False, "font_size": 20, "colors": ["red"]}
    figure = draw("history", table, style)
    assert figure.layout.xaxis.title.text == "trial"
    assert figure.layout.yaxis.type == "log"
    assert figure.layout.showlegend is False
    assert figure.data[0].marker.color == "red"
    with pytest.raises(WrongValue, match="cannot be drawn"):
        draw("history", table, {"template": "none such"})


def test_names_are_shown_as_they_are() -> None:
    name = "<a href='javascript:alert(1)'>x</a></script>"
    frame = GIVEN["curves"][0].assign(name=name)
    second = frame.assign(name="other")
    figure = draw("curves", compute("curves", pd.concat([frame, second])))
    assert figure.data[0].name == "&lt;a href='javascript:alert(1)'&gt;x&lt;/a&gt;&lt;/script&gt;"
    assert "<a href='javascript" not in to_html(figure)


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "3", '{"format": 1}', '{"format": 9}',
     '{"format": 1, "kind": 3, "source": {}, "options": {}, "style": {}}',
     '{"format": 1, "kind": "x", "source": {"file": "/etc/passwd"}, "options": {}, "style": {}}',
     '{"format": 1, "kind": "x", "source": {"sql": "x"}, "options": {}, "style": {"evil": 1}}'],
)  # fmt: skip
def test_a_damaged_specification_is_told(text: str) -> None:
    with pytest.raises(DamagedFile, match="specification"):
        Spec.from_json(text)


def test_a_specification_comes_back() -> None:
    spec = Spec("curves", {"metrics": ["ü"]}, {"smooth": 0.5}, {"title": "t"})
    assert Spec.from_json(spec.to_json()) == spec
    assert spec.restyled({"title": None, "width": 3}).style == {"width": 3}
    with pytest.raises(WrongType, match="must be JSON"):
        Spec("curves", {"metrics": None}, {"smooth": print}).to_json()
    with pytest.raises(WrongValue, match="Did you mean 'title'"):
        Spec("curves", {"metrics": None}, {}, {"titel": "x"})
