"""How values are spread, and how good predictions are: histogram, confusion, ROC, PR."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from fireworks.errors import WrongValue
from fireworks.plot.columns import Frame, column, numbers

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def compute_histogram(
    frame: Frame, *, column: str = "value", by: str | None = None, bins: int = 30
) -> Frame:
    """Counts between edges: columns group, low, high, count; what is not finite is left out.

    All groups share the edges.
    """
    import numpy
    import pandas

    if isinstance(bins, bool) or not isinstance(bins, int) or bins < 1:
        raise WrongValue(f"bins must be an integer of at least 1; got {bins!r}.")
    values = numbers(frame, column)
    finite = numpy.isfinite(values)
    edges = numpy.histogram_bin_edges(values[finite], bins=bins)
    groups = _texts(frame, by) if by is not None else numpy.full(len(frame), column, object)
    parts = [
        pandas.DataFrame(
            {
                "group": group,
                "low": edges[:-1],
                "high": edges[1:],
                "count": numpy.histogram(values[finite & (groups == group)], edges)[0],
            }
        )
        for group in sorted(set(groups.tolist()))
    ]
    if not parts:
        return pandas.DataFrame({"group": [], "low": [], "high": [], "count": []})
    return pandas.concat(parts, ignore_index=True)


def draw_histogram(graph_objects: Any, table: Frame, colors: Sequence[str]) -> Any:
    """Draw bars, those of several groups over one another."""
    figure = graph_objects.Figure()
    groups = table.groupby("group", sort=False)
    for i, (group, rows) in enumerate(groups):
        figure.add_bar(
            x=(rows["low"] + rows["high"]) / 2,
            y=rows["count"],
            width=rows["high"] - rows["low"],
            name=str(group),
            marker={"color": colors[i % len(colors)]},
            opacity=0.6 if len(groups) > 1 else 1.0,
        )
    return figure.update_layout(barmode="overlay", bargap=0)


def compute_confusion(
    frame: Frame,
    *,
    target: str = "target",
    prediction: str = "prediction",
    normalize: bool = False,
) -> Frame:
    """How often each class was predicted for each: columns target, prediction, value.

    Args:
        frame: One row for each prediction.
        target: The column of the true class.
        prediction: The column of the predicted class.
        normalize: Shares of each true class instead of counts.
    """
    import pandas

    true, predicted = _texts(frame, target), _texts(frame, prediction)
    classes = sorted({*true.tolist(), *predicted.tolist()}, key=_natural)
    counts = pandas.crosstab(true, predicted).reindex(index=classes, columns=classes, fill_value=0)
    table = counts.astype("float64")
    if normalize:
        totals = table.sum(axis=1)
        table = table.div(totals.where(totals > 0, 1.0), axis=0)
    rows = [
        (each, other, float(table.at[each, other]))  # pyright: ignore[reportArgumentType]
        for each in classes
        for other in classes
    ]
    return pandas.DataFrame(rows, columns=["target", "prediction", "value"])


def draw_confusion(graph_objects: Any, table: Frame, colors: Sequence[str]) -> Any:
    """Draw the matrix, the true classes downwards."""
    wide = table.pivot(index="target", columns="prediction", values="value")
    classes = list(dict.fromkeys(table["target"]))
    wide = wide.reindex(index=classes, columns=classes)
    heat = graph_objects.Heatmap(
        x=classes, y=classes, z=wide.to_numpy(), colorscale="Blues", texttemplate="%{z:.4~g}"
    )
    figure = graph_objects.Figure(heat)
    figure.update_yaxes(autorange="reversed", title="target", type="category")
    return figure.update_xaxes(title="prediction", type="category")


def compute_roc(frame: Frame, *, target: str = "target", score: str = "score") -> Frame:
    """The receiver operating characteristic: columns x (false positive rate), y (true), threshold.

    ``attrs["area"]`` of the frame is the area under it.
    """
    import numpy
    import pandas

    thresholds, hits, misses = _ranked(frame, target, score)
    x = numpy.concatenate([[0.0], misses / misses[-1]])
    y = numpy.concatenate([[0.0], hits / hits[-1]])
    table = pandas.DataFrame({"x": x, "y": y, "threshold": [numpy.inf, *thresholds]})
    table.attrs["area"] = float(numpy.trapezoid(y, x))
    return table


def draw_roc(graph_objects: Any, table: Frame, colors: Sequence[str]) -> Any:
    """Draw the curve and the diagonal of chance."""
    figure = _rates(graph_objects, table, colors, "area")
    figure.add_scatter(
        x=[0, 1], y=[0, 1], mode="lines", name="chance", line={"dash": "dot", "color": "#999999"}
    )
    figure.update_xaxes(title="false positive rate")
    return figure.update_yaxes(title="true positive rate")


def compute_pr(frame: Frame, *, target: str = "target", score: str = "score") -> Frame:
    """Precision and recall: columns x (recall), y (precision), threshold.

    ``attrs["area"]`` is the average precision: the sum of precision times the gain in recall.
    """
    import numpy
    import pandas

    thresholds, hits, misses = _ranked(frame, target, score)
    recall, precision = hits / hits[-1], hits / (hits + misses)
    table = pandas.DataFrame(
        {
            "x": numpy.concatenate([[0.0], recall]),
            "y": numpy.concatenate([[1.0], precision]),
            "threshold": [numpy.inf, *thresholds],
        }
    )
    table.attrs["area"] = float((numpy.diff(recall, prepend=0.0) * precision).sum())
    return table


def draw_pr(graph_objects: Any, table: Frame, colors: Sequence[str]) -> Any:
    """Draw the curve."""
    figure = _rates(graph_objects, table, colors, "average precision")
    figure.update_xaxes(title="recall")
    return figure.update_yaxes(title="precision", range=[0, 1.02])


def _rates(graph_objects: Any, table: Frame, colors: Sequence[str], what: str) -> Any:
    return graph_objects.Figure().add_scatter(
        x=table["x"], y=table["y"], text=table["threshold"], mode="lines",
        name=f"{what} {table.attrs['area']:.4f}", line={"color": colors[0]},
    )  # fmt: skip


def _ranked(
    frame: Frame, target: str, score: str
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """At each distinct score, from the highest: how many true and false ones are at or above it."""
    import numpy

    truth, scores = numbers(frame, target), numbers(frame, score)
    there = numpy.isfinite(truth) & ~numpy.isnan(scores)
    truth, scores = truth[there], scores[there]
    if not numpy.isin(truth, (0.0, 1.0)).all():
        raise WrongValue(f"The column {target!r} must hold 0 and 1 (or booleans) only.")
    if len(numpy.unique(truth)) < 2:
        raise WrongValue(f"The column {target!r} must hold both 0 and 1; it has {len(truth)} rows.")
    order = numpy.argsort(-scores, kind="stable")
    truth, scores = truth[order], scores[order]
    last = numpy.append(numpy.diff(scores) != 0, True)  # equal scores are decided together
    hits = truth.cumsum()
    misses = numpy.arange(1.0, len(truth) + 1) - hits
    return scores[last], hits[last], misses[last]


def _texts(frame: Frame, name: str) -> NDArray[np.object_]:
    return column(frame, name).astype(str).to_numpy(object)


def _natural(text: str) -> tuple[int, float, str]:
    """Sorts classes that are numbers as such."""
    try:
        return 0, float(text), text
    except ValueError:
        return 1, 0.0, text
