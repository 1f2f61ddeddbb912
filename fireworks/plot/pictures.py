"""Images in a grid, embeddings in a plane, the graph of sources as boxes."""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence
from typing import Any

from fireworks.errors import WrongType, WrongValue
from fireworks.plot.columns import Frame, column


def compute_images(frame: Frame, *, columns: int | None = None, limit: int = 64) -> Frame:
    """Where each image goes: columns label, row, column, png.

    Args:
        frame: Columns step and data (PNG files as bytes); rows of another ``kind`` are left out.
        columns: How many side by side; as many as make a square by default.
        limit: The last so many are shown.
    """
    for name, value in (("columns", columns), ("limit", limit)):
        if value is not None and (
            isinstance(value, bool) or not isinstance(value, int) or value < 1
        ):
            raise WrongValue(f"{name} must be an integer of at least 1; got {value!r}.")
    if "kind" in frame:
        frame = frame[frame["kind"] == "image"]
    rows = frame.iloc[-limit:].reset_index(drop=True)
    across = columns or max(1, math.ceil(math.sqrt(len(rows))))
    table = rows.assign(
        label=[f"step {each}" for each in column(rows, "step")],
        row=[i // across for i in range(len(rows))],
        column=[i % across for i in range(len(rows))],
        png=column(rows, "data"),
    )
    return table[["label", "row", "column", "png"]]


def draw_images(graph_objects: Any, table: Frame, colors: Sequence[str]) -> Any:
    """Draw the grid; each image keeps its proportions."""
    figure = graph_objects.Figure()
    for _, each in table.iterrows():
        data = base64.b64encode(bytes(each["png"])).decode()
        figure.add_layout_image(
            source=f"data:image/png;base64,{data}",
            xref="x", yref="y", x=each["column"], y=-each["row"],
            sizex=0.94, sizey=0.86, xanchor="left", yanchor="top", sizing="contain",
        )  # fmt: skip
        figure.add_annotation(
            x=each["column"] + 0.47, y=-each["row"] - 0.93, text=each["label"], showarrow=False
        )
    wide, high = (int(table[each].max()) + 1 if len(table) else 1 for each in ("column", "row"))
    figure.update_xaxes(visible=False, range=[0, wide])
    return figure.update_yaxes(visible=False, range=[-high, 0], scaleanchor="x")


def compute_embedding(frame: Frame, *, vectors: str = "x", label: str | None = None) -> Frame:
    """The first two principal components of a column of vectors: columns x, y, label.

    ``attrs["explained"]`` of the frame is the share of the variance that each component keeps.

    Raises:
        WrongType: The column holds no vectors of one length.
    """
    import numpy
    import pandas

    cells = column(frame, vectors)
    try:
        matrix = numpy.array([numpy.asarray(each).reshape(-1) for each in cells], "float64")
    except (TypeError, ValueError) as error:
        raise WrongType(
            f"The column {vectors!r} must hold vectors of one length: {error}."
        ) from None
    if matrix.ndim != 2 or matrix.size == 0:
        raise WrongType(f"The column {vectors!r} must hold vectors of one length, and some.")
    centred = matrix - matrix.mean(0)
    _, sizes, axes = numpy.linalg.svd(centred, full_matrices=False)
    axes = axes[:2]
    # The sign of a component is free: its largest weight is made positive, for equal pictures.
    axes *= numpy.sign(axes[numpy.arange(len(axes)), numpy.abs(axes).argmax(1)])[:, None]
    places = numpy.zeros((len(matrix), 2))
    places[:, : len(axes)] = centred @ axes.T
    labels = ["all"] * len(frame) if label is None else column(frame, label).astype(str).tolist()
    table = pandas.DataFrame({"x": places[:, 0], "y": places[:, 1], "label": labels})
    variance = sizes**2
    total = float(variance.sum()) or 1.0
    table.attrs["explained"] = [float(each) / total for each in variance[:2]]
    return table


def draw_embedding(graph_objects: Any, table: Frame, colors: Sequence[str]) -> Any:
    """Draw points, coloured by their label."""
    figure = graph_objects.Figure()
    for i, (label, rows) in enumerate(table.groupby("label", sort=True)):
        figure.add_scatter(
            x=rows["x"], y=rows["y"], mode="markers", name=str(label),
            marker={"color": colors[i % len(colors)]},
        )  # fmt: skip
    return figure


def compute_graph(frame: Frame) -> Frame:
    """Where each source goes: columns name, kind, column, row, seconds, share, rows, inputs.

    Args:
        frame: Columns name, kind, rows, seconds, and inputs (a list of names) of each source.
    """
    inputs = {
        str(name): list(above) for name, above in zip(frame["name"], frame["inputs"], strict=True)
    }
    depths: dict[str, int] = {}
    for start in inputs:
        # Without recursion: a graph may come from anybody. An edge that closes a loop is not gone
        # down again.
        stack: list[tuple[str, bool]] = [(start, False)]
        under_way: set[str] = set()
        while stack:
            name, done = stack.pop()
            above = [each for each in inputs.get(name, ()) if each in inputs]
            if done:
                under_way.discard(name)
                depths[name] = max(
                    (depths[each] + 1 for each in above if each in depths), default=0
                )
            elif name not in depths and name not in under_way:
                under_way.add(name)
                stack.append((name, True))
                stack += [(each, False) for each in above if each not in depths]
    taken: dict[int, int] = {}
    places: list[tuple[int, int]] = []
    for name in inputs:
        depth = depths[name]
        places.append((depth, taken.get(depth, 0)))
        taken[depth] = taken.get(depth, 0) + 1
    total = float(frame["seconds"].sum()) or 1.0
    return frame.assign(
        column=[place[0] for place in places],
        row=[place[1] for place in places],
        share=frame["seconds"] / total,
    )[["name", "kind", "column", "row", "seconds", "share", "rows", "inputs"]]


def draw_graph(graph_objects: Any, table: Frame, colors: Sequence[str]) -> Any:
    """Draw the sources from left to right, the darker the more of the time they took."""
    figure = graph_objects.Figure()
    place = {each["name"]: (each["column"], -each["row"]) for _, each in table.iterrows()}
    for _, each in table.iterrows():
        for above in each["inputs"]:
            if above in place:
                (x0, y0), (x1, y1) = place[above], place[each["name"]]
                figure.add_annotation(
                    x=x1, y=y1, ax=x0, ay=y0, xref="x", yref="y", axref="x", ayref="y",
                    text="", showarrow=True, arrowhead=2, arrowcolor="#888888",
                    standoff=22, startstandoff=22,
                )  # fmt: skip
    figure.add_scatter(
        x=[x for x, _ in place.values()],
        y=[y for _, y in place.values()],
        mode="markers+text",
        textposition="bottom center",
        text=[
            f"{name}<br>{seconds:.3g} s ({share:.0%}), {int(rows):,} rows"
            for name, seconds, share, rows in zip(
                table["name"], table["seconds"], table["share"], table["rows"], strict=True
            )
        ],
        marker={
            "size": 32, "symbol": "square", "color": table["share"], "colorscale": "Blues",
            "cmin": 0, "cmax": 1, "line": {"color": "#666666", "width": 1},
        },
    )  # fmt: skip
    wide, high = (int(table[each].max()) if len(table) else 0 for each in ("column", "row"))
    figure.update_xaxes(visible=False, range=[-0.6, wide + 0.6])
    return figure.update_yaxes(visible=False, range=[-high - 0.8, 0.5])
