"""Metrics over steps or time: smoothed, with bands over seeds, one figure for many runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from fireworks.errors import WrongType, WrongValue
from fireworks.plot.columns import Frame, stacked

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

AXES = ("step", "time", "relative")
BANDS = ("std", "minmax", "sem")


def smoothed(values: NDArray[np.float64], weight: float) -> NDArray[np.float64]:
    """Exponential moving average with the bias of its beginning corrected (Kingma & Ba 2015, § 3).

    Args:
        values: Shape (n,); NaN stays NaN and does not count.
        weight: From 0 (nothing is smoothed) to below 1, of what came before.
    """
    import numpy

    if isinstance(weight, bool) or not isinstance(weight, int | float):
        raise WrongType(f"smooth must be a number from 0 to 1; got {weight!r}.")
    if not 0 <= weight < 1:
        raise WrongValue(f"smooth must be at least 0 and less than 1; got {weight!r}.")
    if weight == 0:
        return values
    result = numpy.full(len(values), numpy.nan)
    average, correction = 0.0, 1.0
    for i, value in enumerate(values.tolist()):
        if numpy.isfinite(value):
            average = weight * average + (1 - weight) * value
            correction *= weight
            result[i] = average / (1 - correction)
        else:
            result[i] = value
    return result


def compute_curves(
    frame: Frame,
    *,
    x: str = "step",
    smooth: float = 0.0,
    band: str | None = None,
    every: int = 1,
) -> Frame:
    """Curves from the long frame of metrics.

    Args:
        frame: Columns experiment, trial, name, step, value, time.
        x: "step", "time" (seconds since 1970), or "relative" (seconds since a curve's first value).
        smooth: The weight of the moving average, from 0 to below 1.
        band: One curve for each metric instead of one for each trial: the mean over all, with a
            band of one standard deviation ("std"), one standard error ("sem"), or from the least
            to the greatest ("minmax").
        every: Keep every n-th point of each curve, and the last.

    Returns:
        Columns curve, x, y, raw (before smoothing), low and high (NaN without a band).
    """
    import numpy
    import pandas

    if x not in AXES:
        raise WrongValue(f"x must be one of {AXES}; got {x!r}.")
    if band is not None and band not in BANDS:
        raise WrongValue(f"band must be None or one of {BANDS}; got {band!r}.")
    if isinstance(every, bool) or not isinstance(every, int) or every < 1:
        raise WrongValue(f"every must be an integer of at least 1; got {every!r}.")
    parts: list[Frame] = []
    several = {each: frame[each].nunique() > 1 for each in ("experiment", "trial", "name")}
    for (experiment, trial, name), rows in frame.groupby(
        ["experiment", "trial", "name"], sort=True
    ):
        along = rows["step" if x == "step" else "time"].to_numpy("float64")
        values = rows["value"].to_numpy("float64")
        if x != "step":  # a step that was written again may be out of order
            order = along.argsort(kind="stable")
            along, values = along[order], values[order]
        if x == "relative" and len(along):
            along = along - along[0]
        part = pandas.DataFrame({"x": along, "y": smoothed(values, smooth), "raw": values})
        part.insert(0, "curve", _label(several, str(experiment), int(trial), str(name)))  # pyright: ignore
        parts.append(part.assign(low=numpy.nan, high=numpy.nan, name=name))
    columns = ["curve", "x", "y", "raw", "low", "high"]
    if not parts:
        return pandas.DataFrame({each: [] for each in columns})
    table: Any = stacked(parts)
    if band is not None:
        table = _banded(table, band)
    if every > 1:
        place = table.groupby("curve").cumcount()
        last = table.groupby("curve")["x"].transform("size") - 1
        table = table[(place % every == 0) | (place == last)]
    return table[columns].reset_index(drop=True)


def _label(several: dict[str, bool], experiment: str, trial: int, name: str) -> str:
    parts = [name] if several["name"] else []
    if several["experiment"]:
        parts.append(experiment)
    if several["trial"] and trial >= 0:
        parts.append(f"trial {trial}")
    return " · ".join(parts) or name


def _banded(table: Frame, band: str) -> Frame:
    """The mean of all curves of a metric, at each x that any of them has."""
    import pandas

    parts: list[Frame] = []
    for name, rows in table.groupby("name", sort=True):
        groups = rows.groupby("x")["y"]
        mean = groups.mean()
        if band == "minmax":
            low, high = groups.min(), groups.max()
        else:
            # Of one curve alone there is no spread: the band closes.
            spread = (groups.std() if band == "std" else groups.sem()).fillna(0.0)
            low, high = mean - spread, mean + spread
        parts.append(
            pandas.DataFrame(
                {
                    "curve": name,
                    "x": mean.index.to_numpy(),
                    "y": mean.to_numpy(),
                    "raw": mean.to_numpy(),
                    "low": low.to_numpy(),
                    "high": high.to_numpy(),
                }
            )
        )
    return pandas.concat(parts, ignore_index=True)


def draw_curves(graph_objects: Any, table: Frame, colors: Sequence[str]) -> Any:
    """Draw curves; the values before smoothing are shown pale behind them."""
    figure = graph_objects.Figure()
    for i, (curve, rows) in enumerate(table.groupby("curve", sort=False)):
        color = colors[i % len(colors)]
        if rows["low"].notna().any():
            edge = {"x": rows["x"], "mode": "lines", "line": {"width": 0}, "hoverinfo": "skip"}
            group = {"legendgroup": str(curve), "showlegend": False}
            figure.add_scatter(**edge, **group, y=rows["high"])
            figure.add_scatter(
                **edge, **group, y=rows["low"], fill="tonexty", fillcolor=faded(color, 0.2)
            )
        elif not rows["raw"].equals(rows["y"]):
            figure.add_scatter(
                x=rows["x"],
                y=rows["raw"],
                mode="lines",
                line={"color": faded(color, 0.25), "width": 1},
                legendgroup=str(curve),
                showlegend=False,
                hoverinfo="skip",
            )
        one = len(rows) == 1  # a line of one point is invisible
        figure.add_scatter(
            x=rows["x"],
            y=rows["y"],
            mode="markers" if one else "lines",
            name=str(curve),
            legendgroup=str(curve),
            line={"color": color},
            marker={"color": color},
        )
    return figure


def faded(color: str, opacity: float) -> str:
    """A colour such as ``#1f77b4``, seen through; another notation stays as it is."""
    text = color.lstrip("#")
    if len(text) != 6:
        return color
    red, green, blue = (int(text[i : i + 2], 16) for i in (0, 2, 4))
    return f"rgba({red},{green},{blue},{opacity})"
