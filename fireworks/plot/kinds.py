"""The kinds of figures: what each computes from a frame, and how that is drawn."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any, final

from fireworks.errors import WrongValue, suggest
from fireworks.optional import require
from fireworks.plot.columns import Frame
from fireworks.plot.curves import compute_curves, draw_curves
from fireworks.plot.pictures import (
    compute_embedding,
    compute_graph,
    compute_images,
    draw_embedding,
    draw_graph,
    draw_images,
)
from fireworks.plot.predictions import (
    compute_confusion,
    compute_histogram,
    compute_pr,
    compute_roc,
    draw_confusion,
    draw_histogram,
    draw_pr,
    draw_roc,
)
from fireworks.plot.sweeps import (
    compute_contour,
    compute_history,
    compute_importance,
    compute_parallel,
    compute_pareto,
    compute_scatter,
    draw_contour,
    draw_history,
    draw_importance,
    draw_parallel,
    draw_pareto,
    draw_scatter,
)

COLORS = (
    "#1f77b4", "#ff7f0e", "#2ca02c", "#d62728", "#9467bd",
    "#8c564b", "#e377c2", "#7f7f7f", "#bcbd22", "#17becf",
)  # fmt: skip
# Parts of a figure that a browser reads as a kind of HTML: names of people's metrics stand there.
_TEXTS = frozenset({"name", "text", "hovertext", "label", "title", "ticktext", "legendgroup"})


@final
@dataclass(frozen=True)
class Kind:
    """A kind of figure.

    Attributes:
        reads: What it is made of by default: "metrics", "trials", "table", "media" or "graph".
        compute: From a frame to the frame that is drawn; its keywords are the kind's options.
        draw: From that frame to a Plotly figure.
    """

    reads: str
    compute: Callable[..., Frame]
    draw: Callable[[Any, Frame, Sequence[str]], Any]

    @property
    def options(self) -> dict[str, inspect.Parameter]:
        """What may be set, and its default."""
        parameters = inspect.signature(self.compute).parameters
        return {name: each for name, each in parameters.items() if each.kind is each.KEYWORD_ONLY}


KINDS: dict[str, Kind] = {
    "curves": Kind("metrics", compute_curves, draw_curves),
    "scatter": Kind("trials", compute_scatter, draw_scatter),
    "contour": Kind("trials", compute_contour, draw_contour),
    "parallel": Kind("trials", compute_parallel, draw_parallel),
    "importance": Kind("trials", compute_importance, draw_importance),
    "history": Kind("trials", compute_history, draw_history),
    "pareto": Kind("trials", compute_pareto, draw_pareto),
    "histogram": Kind("metrics", compute_histogram, draw_histogram),
    "confusion": Kind("table", compute_confusion, draw_confusion),
    "roc": Kind("table", compute_roc, draw_roc),
    "pr": Kind("table", compute_pr, draw_pr),
    "images": Kind("media", compute_images, draw_images),
    "embedding": Kind("table", compute_embedding, draw_embedding),
    "graph": Kind("graph", compute_graph, draw_graph),
}


def kind_of(name: object) -> Kind:
    """The kind of that name.

    Raises:
        WrongValue: There is none; the nearest is offered.
    """
    if not isinstance(name, str) or name not in KINDS:
        raise WrongValue(f"There is no kind of figure {name!r}.{suggest(name, KINDS)}")
    return KINDS[name]


def check_options(kind: str, options: Mapping[str, Any]) -> None:
    """Check that options are those of a kind, and that none is missing.

    Raises:
        WrongValue: They are not; the nearest is offered.
    """
    known = kind_of(kind).options
    for name in options:
        if name not in known:
            raise WrongValue(
                f"A figure of kind {kind!r} has no option {name!r}.{suggest(name, known)}"
            )
    for name, each in known.items():
        if each.default is each.empty and name not in options:
            raise WrongValue(f"A figure of kind {kind!r} needs the option {name!r}.")


def compute(kind: str, frame: Frame, **options: Any) -> Frame:
    """Compute what a figure shows, without drawing it.

    Args:
        kind: One of ``KINDS``.
        frame: The rows that it is made of.
        **options: Those of the kind.

    Raises:
        WrongValue: An unknown kind or option, or one that is missing.
        ColumnNotFound: The frame lacks a column; the nearest is offered.
    """
    check_options(kind, options)
    return kind_of(kind).compute(frame, **options)


def draw(kind: str, table: Frame, style: Mapping[str, Any] | None = None) -> Any:
    """Draw what was computed.

    Args:
        kind: One of ``KINDS``.
        table: What ``compute`` gave for it.
        style: See ``Spec``.

    Returns:
        A ``plotly.graph_objects.Figure``.

    Raises:
        WrongValue: A style that Plotly does not know.
        MissingDependency: Plotly is not installed.
    """
    graph_objects = require("plotly.graph_objects", extra="plot", purpose="Drawing a figure")
    style = dict(style or {})
    figure = kind_of(kind).draw(graph_objects, table, style.pop("colors", None) or COLORS)
    _escape(figure)
    try:
        _apply(figure, style)
    except (TypeError, ValueError) as error:
        first = " ".join(str(error).split())[:200]
        raise WrongValue(f"The style {style!r:.200} cannot be drawn: {first}") from None
    return figure


def _apply(figure: Any, style: dict[str, Any]) -> None:
    for axis, update in (("xaxis", figure.update_xaxes), ("yaxis", figure.update_yaxes)):
        value = style.pop(axis, None)
        if value == "log":
            update(type="log")
        elif value is not None:
            update(title=escape(str(value), quote=False))
    if "legend" in style:
        style["showlegend"] = style.pop("legend")
    if "font_size" in style:
        style["font"] = {"size": style.pop("font_size")}
    if "title" in style:
        style["title"] = escape(str(style["title"]), quote=False)
    figure.update_layout(style)


def _escape(figure: Any) -> None:
    """Show names as they are: Plotly would make links and bold text of what looks like HTML."""
    for trace in figure.data:
        for part in _TEXTS & set(trace.to_plotly_json()):
            value = trace[part]
            if isinstance(value, str):
                trace[part] = _shown(value)
            elif value is not None and not hasattr(value, "to_plotly_json"):
                trace[part] = [_shown(each) if isinstance(each, str) else each for each in value]
        for dimension in getattr(trace, "dimensions", None) or ():
            dimension.label = _shown(dimension.label or "")
            if dimension.ticktext is not None:
                dimension.ticktext = [_shown(str(each)) for each in dimension.ticktext]
        marker = getattr(trace, "marker", None)
        for bar in (getattr(trace, "colorbar", None), getattr(marker, "colorbar", None)):
            if bar is not None and bar.title.text is not None:
                bar.title.text = _shown(bar.title.text)
    for axis in (figure.layout.xaxis, figure.layout.yaxis):
        if axis.title.text is not None:
            axis.title.text = _shown(axis.title.text)
    for note in figure.layout.annotations:
        note.text = _shown(note.text or "")


def _shown(text: str) -> str:
    return escape(text, quote=False).replace("&lt;br&gt;", "<br>")
