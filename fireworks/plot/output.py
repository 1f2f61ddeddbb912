"""A drawn figure as a page, as JSON, as a picture."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from fireworks.errors import MissingDependency
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
    """The figure as a PNG, drawn by Chromium or Chrome, which the package kaleido starts.

    Args:
        figure: A Plotly figure.
        path: Where to write it as well.
        scale: Pixels of the picture for one of the figure's.

    Raises:
        MissingDependency: kaleido is not installed, or no browser.
    """
    require("kaleido", extra="png", purpose="Drawing a figure as a PNG")
    try:
        data = figure.to_image(format="png", scale=scale)
    except RuntimeError as error:
        if "Chrome" not in str(error):
            raise
        raise MissingDependency(
            "Drawing a figure as a PNG needs Chromium or Chrome, and there is none. Install it, "
            "run plotly_get_chrome, or say where it is by the environment variable BROWSER_PATH."
        ) from None
    if path is not None:
        replace_file(Path(os.path.abspath(path)), data)
    return data
