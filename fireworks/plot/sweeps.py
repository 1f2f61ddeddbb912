"""What a sweep found: parameters against results, importance, history, trade-offs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from fireworks.errors import WrongValue
from fireworks.plot.columns import (
    Frame,
    coded,
    column,
    direction,
    finished,
    is_logarithmic,
    numbers,
    params_of,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def with_objective(
    kind: str, options: Mapping[str, Any], objective: Sequence[Sequence[str]]
) -> dict[str, Any]:
    """Fill in what was not said of a figure of trials with what their sweep is after.

    Args:
        kind: The figure's.
        options: What was said.
        objective: Pairs of a metric and "maximize" or "minimize", the most important first.
    """
    if not objective:
        return dict(options)
    directions = {str(metric): str(direction) for metric, direction in objective}
    first, *others = directions
    filled: dict[str, Any] = {}
    if kind in ("history", "importance"):
        filled["metric"] = first
    elif kind == "scatter":
        filled["y"] = first
    elif kind == "contour":
        filled["z"] = first
    elif kind == "parallel" and "columns" not in options:
        filled["color"] = first
    elif kind == "pareto" and others:
        filled |= {"x": first, "y": others[0]}
    filled |= options
    if kind == "history":
        filled.setdefault("direction", directions.get(filled["metric"], "maximize"))
    if kind == "pareto" and {filled.get("x"), filled.get("y")} <= directions.keys():
        filled.setdefault("directions", [directions[filled[each]] for each in "xy"])
    return filled


def compute_scatter(frame: Frame, *, x: str, y: str, color: str | None = None) -> Frame:
    """Points: columns x, y, label, and color where it was asked for; trials that completed."""
    import pandas

    rows = finished(frame)
    table = pandas.DataFrame({"x": column(rows, x), "y": column(rows, y)})
    if color is not None:
        table["color"], _ = coded(rows, color)
    table["label"] = _labels(rows)
    table = table.dropna(subset=["x", "y"]).reset_index(drop=True)
    return _named(table, rows, x=x, y=y, color=color)


def draw_scatter(graph_objects: Any, table: Frame, colors: Sequence[str]) -> Any:
    """Draw points."""
    marker: dict[str, Any] = {"color": colors[0]}
    if "color" in table:
        marker = {"color": table["color"], "colorscale": "Viridis", "showscale": True}
        marker["colorbar"] = {"title": {"text": table.attrs.get("names", {}).get("color")}}
    trace = graph_objects.Scatter(
        x=table["x"], y=table["y"], text=table["label"], mode="markers", marker=marker
    )
    return _with_axes(graph_objects.Figure(trace), table)


def compute_contour(frame: Frame, *, x: str, y: str, z: str, cells: int = 40) -> Frame:
    """A surface through scattered trials, by inverse distance weighting (Shepard 1968).

    Returns:
        Columns x, y, z of a grid of ``cells`` x ``cells`` points, row by row; then the trials
        themselves, marked in the column ``trial``.
    """
    import numpy
    import pandas

    rows = finished(frame)
    columns = {n: numbers(rows, c) for n, c in (("x", x), ("y", y), ("z", z))}
    logarithmic = [n for n, c in (("x", x), ("y", y)) if is_logarithmic(rows, c)]
    there = numpy.isfinite(list(columns.values())).all(axis=0)
    points: Any = pandas.DataFrame({name: values[there] for name, values in columns.items()})
    if points.empty:
        return pandas.DataFrame({"x": [], "y": [], "z": [], "trial": []})
    points[logarithmic] = numpy.log10(points[logarithmic])
    low, high = points.min(), points.max()
    span = (high - low).replace(0.0, 1.0)
    axes = [numpy.linspace(low[each], high[each], cells) for each in ("x", "y")]
    grid_y, grid_x = numpy.meshgrid(axes[1], axes[0], indexing="ij")
    away = sum(
        ((grid.reshape(-1, 1) - points[each].to_numpy()) / span[each]) ** 2
        for each, grid in (("x", grid_x), ("y", grid_y))
    )
    weights = 1.0 / numpy.maximum(away, 1e-12)
    surface = (weights * points["z"].to_numpy()).sum(1) / weights.sum(1)
    grid = pandas.DataFrame({"x": grid_x.reshape(-1), "y": grid_y.reshape(-1), "z": surface})
    table = pandas.concat([grid.assign(trial=False), points.assign(trial=True)], ignore_index=True)
    table[logarithmic] = 10 ** table[logarithmic]
    return _named(table, rows, x=x, y=y, z=z)


def draw_contour(graph_objects: Any, table: Frame, colors: Sequence[str]) -> Any:
    """Draw a surface as contours, and the trials as points on it."""
    grid, points = table[~table["trial"].astype(bool)], table[table["trial"].astype(bool)]
    figure = graph_objects.Figure()
    if len(grid):
        wide = grid.pivot(index="y", columns="x", values="z") if _is_grid(grid) else None
        if wide is not None:
            figure.add_contour(
                x=wide.columns, y=wide.index, z=wide.to_numpy(), colorscale="Viridis",
                colorbar={"title": {"text": table.attrs.get("names", {}).get("z")}},
            )  # fmt: skip
    figure.add_scatter(
        x=points["x"],
        y=points["y"],
        text=points["z"],
        mode="markers",
        showlegend=False,
        marker={"color": "white", "line": {"color": "black", "width": 1}},
    )
    return _with_axes(figure, table)


def _is_grid(grid: Frame) -> bool:
    return not grid.duplicated(["x", "y"]).any()  # one parameter alone spans no surface


def compute_parallel(
    frame: Frame, *, columns: Sequence[str] | None = None, color: str | None = None
) -> Frame:
    """Coordinates of each trial on each axis: numbers, categories as numbers.

    ``attrs["ticks"]`` of the frame names the categories of each axis that has some, and
    ``attrs["logarithmic"]`` the axes to be drawn so; the last column is the one that colours the
    lines.
    """
    import pandas

    rows = finished(frame)
    if columns is None:
        results = [str(each) for each in rows.columns if str(each).startswith("result.")]
        columns = [*params_of(rows), *(each.removeprefix("result.") for each in results)]
    names = [*(each for each in columns if each != color), *([color] if color else [])]
    table: dict[str, Any] = {}
    ticks: dict[str, list[str]] = {}
    for name in names:
        table[name], texts = coded(rows, name)
        if texts is not None:
            ticks[name] = texts
    result = pandas.DataFrame(table).dropna().reset_index(drop=True)
    result.attrs["ticks"] = ticks
    result.attrs["logarithmic"] = [name for name in names if is_logarithmic(rows, name)]
    return result


def draw_parallel(graph_objects: Any, table: Frame, colors: Sequence[str]) -> Any:
    """Draw parallel coordinates; plotly cannot draw fewer than one axis."""
    import numpy

    ticks, logarithmic = (table.attrs.get(each, ()) for each in ("ticks", "logarithmic"))
    dimensions: list[dict[str, Any]] = []
    for name in table.columns:
        dimension: dict[str, Any] = {"label": str(name), "values": table[name]}
        if name in ticks:
            dimension |= {"tickvals": list(range(len(ticks[name]))), "ticktext": ticks[name]}
        elif name in logarithmic and len(table):
            values = numpy.log10(table[name])
            decades = range(math.floor(values.min()), math.ceil(values.max()) + 1)
            texts = [f"{10.0**each:g}" for each in decades]
            dimension |= {"values": values, "tickvals": list(decades), "ticktext": texts}
            dimension["range"] = [decades[0], decades[-1]]
        dimensions.append(dimension)
    if not dimensions:
        return graph_objects.Figure()
    line = {"color": table.iloc[:, -1], "colorscale": "Viridis", "showscale": True}
    return graph_objects.Figure(graph_objects.Parcoords(line=line, dimensions=dimensions))


def compute_importance(frame: Frame, *, metric: str, bins: int = 6) -> Frame:
    """How much of a result's variance each parameter explains on its own.

    That is the correlation ratio, corrected for the number of groups (epsilon squared, Kelley
    1935): parameters of numbers are cut into ``bins`` groups of one size. 0: nothing, 1: all.

    Returns:
        Columns param and importance, the most important first.
    """
    import numpy
    import pandas

    if isinstance(bins, bool) or not isinstance(bins, int) or bins < 2:
        raise WrongValue(f"bins must be an integer of at least 2; got {bins!r}.")
    rows = finished(frame)
    target = numbers(rows, metric)
    table: list[tuple[str, float]] = []
    for name in params_of(rows):
        values, texts = coded(rows, name)
        there = numpy.isfinite(values) & numpy.isfinite(target)
        table.append((name, _explained(values[there], target[there], bins, texts is not None)))
    table.sort(key=lambda each: (-each[1], each[0]))
    return pandas.DataFrame(table, columns=["param", "importance"])


def _explained(
    values: NDArray[np.float64], target: NDArray[np.float64], bins: int, categories: bool
) -> float:
    import numpy

    if not categories and len(numpy.unique(values)) > bins:
        edges = numpy.quantile(values, numpy.linspace(0, 1, bins + 1)[1:-1])
        values = numpy.searchsorted(edges, values, side="right").astype("float64")
    _, groups = numpy.unique(values, return_inverse=True)
    count, kinds = len(target), int(groups.max(initial=-1)) + 1
    if count <= kinds or kinds < 2:
        return 0.0
    total = float(((target - target.mean()) ** 2).sum())
    if total == 0:
        return 0.0
    sizes = numpy.bincount(groups)
    means = numpy.bincount(groups, target) / sizes
    within = total - float((sizes * (means - target.mean()) ** 2).sum())
    return float(numpy.clip(1 - (within / (count - kinds)) / (total / (count - 1)), 0.0, 1.0))


def draw_importance(graph_objects: Any, table: Frame, colors: Sequence[str]) -> Any:
    """Draw bars, the longest on top."""
    rows = table.iloc[::-1]
    bar = graph_objects.Bar(
        x=rows["importance"], y=rows["param"], orientation="h", marker={"color": colors[0]}
    )
    return graph_objects.Figure(bar).update_xaxes(range=[0, 1], title="share of the variance")


def compute_history(frame: Frame, *, metric: str, direction: str = "maximize") -> Frame:
    """The result of each completed trial and the best so far: columns trial, value, best.

    Trials that are marked in a column ``infeasible`` are never the best.
    """
    import pandas

    lower = _lower(direction)
    rows = finished(frame)
    rows = rows.assign(trial=column(rows, "trial")).sort_values("trial", ignore_index=True)
    table = pandas.DataFrame({"trial": rows["trial"], "value": numbers(rows, metric)})
    eligible = table["value"].where(_feasible(rows))
    best = eligible.cummin() if lower else eligible.cummax()
    return _named(table.assign(best=best.ffill()), rows, x="trial", y=metric)


def draw_history(graph_objects: Any, table: Frame, colors: Sequence[str]) -> Any:
    """Draw results as points and the best so far as a line."""
    figure = graph_objects.Figure()
    figure.add_scatter(
        x=table["trial"], y=table["value"], mode="markers", name="trial",
        marker={"color": colors[0]},
    )  # fmt: skip
    figure.add_scatter(
        x=table["trial"], y=table["best"], mode="lines", name="best so far",
        line={"color": colors[1 % len(colors)], "shape": "hv"},
    )  # fmt: skip
    return _with_axes(figure, table)


def compute_pareto(
    frame: Frame,
    *,
    x: str,
    y: str,
    directions: Sequence[str] = ("maximize", "maximize"),
) -> Frame:
    """Trials by two results: columns x, y, label, and front: whether no other is better in both.

    Trials that are marked in a column ``infeasible`` are not on the front, and beat none.
    """
    import numpy
    import pandas

    if len(directions) != 2:
        raise WrongValue(f"directions must be two; got {directions!r}.")
    rows = finished(frame)
    table = pandas.DataFrame({"x": numbers(rows, x), "y": numbers(rows, y), "label": _labels(rows)})
    table = table.assign(feasible=_feasible(rows)).dropna().reset_index(drop=True)
    costs = [
        table[name].to_numpy() * (1.0 if _lower(each) else -1.0)
        for name, each in zip(("x", "y"), directions, strict=True)
    ]
    # By the first cost, then the second: a point is on the front if none before it is as good.
    order = numpy.lexsort((costs[1], costs[0]))
    front = numpy.zeros(len(table), bool)
    least, at = numpy.inf, numpy.nan
    for i in order[table["feasible"].to_numpy(bool)[order]]:
        if costs[1][i] < least or (costs[1][i] == least and costs[0][i] == at):
            front[i], least, at = True, costs[1][i], costs[0][i]
    return _named(table.drop(columns="feasible").assign(front=front), rows, x=x, y=y)


def draw_pareto(graph_objects: Any, table: Frame, colors: Sequence[str]) -> Any:
    """Draw all trials, and the front as a line through its trials."""
    figure = graph_objects.Figure()
    rest, front = table[~table["front"]], table[table["front"]].sort_values("x")
    for name, rows, mode, color in (
        ("other trials", rest, "markers", "#999999"),
        ("Pareto front", front, "lines+markers", colors[0]),
    ):
        figure.add_scatter(
            x=rows["x"], y=rows["y"], text=rows["label"], mode=mode, name=name,
            line={"color": color, "shape": "hv"}, marker={"color": color},
        )  # fmt: skip
    return _with_axes(figure, table)


def _feasible(rows: Frame) -> Any:
    """Whether each trial keeps to its sweep's constraints; all do where the frame says nothing."""
    import pandas

    return ~rows["infeasible"] if "infeasible" in rows else pandas.Series(True, rows.index)


def _named(table: Frame, rows: Frame, **columns: str | None) -> Frame:
    """Note which columns of the trials are drawn as what, and which of them over decades."""
    table.attrs["names"] = columns
    table.attrs["logarithmic"] = [
        axis
        for axis, name in columns.items()
        if axis in "xy" and name is not None and is_logarithmic(rows, name)
    ]
    return table


def _with_axes(figure: Any, table: Frame) -> Any:
    """Give the axes the titles, and the scales, that were noted."""
    for axis, update in (("x", figure.update_xaxes), ("y", figure.update_yaxes)):
        if name := table.attrs.get("names", {}).get(axis):
            update(title=name)
        if axis in table.attrs.get("logarithmic", ()):
            update(type="log")
    return figure


def _lower(value: str) -> bool:
    return direction(value)


def _labels(rows: Frame) -> list[str]:
    several = "experiment" in rows and rows["experiment"].nunique() > 1
    if "trial" not in rows:
        return [f"row {i}" for i in range(len(rows))]
    trials = [f"trial {each}" for each in rows["trial"]]
    if several:
        return [f"{run}, {trial}" for run, trial in zip(rows["experiment"], trials, strict=True)]
    return trials
