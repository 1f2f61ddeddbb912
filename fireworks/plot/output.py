"""A drawn figure as a page, as JSON, as a picture."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from fireworks.optional import require
from fireworks.record.atomic import replace_file


def to_html(figure: Any, path: str | os.PathLike[str] | None = None) -> str:
    """A page that holds all it needs, Plotly's program too, and opens without a network.

    Args:
        figure: A Plotly figure.
        path: Where to write it as well.
    """
    page = figure.to_html(include_plotlyjs=True, full_html=True, config={"displaylogo": False})
    if path is not None:
        replace_file(Path(os.path.abspath(path)), page.encode())
    return page


def to_json(figure: Any, path: str | os.PathLike[str] | None = None) -> str:
    """The figure as Plotly's JSON."""
    text = figure.to_json()
    if path is not None:
        replace_file(Path(os.path.abspath(path)), text.encode())
    return text


def to_png(figure: Any, path: str | os.PathLike[str] | None = None, *, scale: float = 2.0) -> bytes:
    """The figure as a PNG, drawn by a browser that the package kaleido starts.

    Raises:
        MissingDependency: kaleido is not installed.
    """
    require("kaleido", extra="png", purpose="Drawing a figure as a PNG")
    data = figure.to_image(format="png", scale=scale)
    if path is not None:
        replace_file(Path(os.path.abspath(path)), data)
    return data
