"""Figures as pages and pictures, by the programs that draw them."""

import io
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import PIL.Image
import pytest

from fireworks.errors import MissingDependency
from fireworks.plot import compute, draw, to_html, to_json, to_png


@pytest.fixture
def figure() -> Any:
    rows = pd.DataFrame(
        {"experiment": "a", "trial": -1, "name": "loss", "step": range(9), "value": 0.5}
    )
    rows["time"] = rows["step"] * 1.0
    return draw("curves", compute("curves", rows), {"width": 300, "height": 200})


@pytest.mark.slow  # a browser has to start
def test_a_png_is_drawn_by_a_browser(figure: Any, tmp_path: Path) -> None:
    data = to_png(figure, tmp_path / "loss.png", scale=1.0)
    assert (tmp_path / "loss.png").read_bytes() == data
    with PIL.Image.open(io.BytesIO(data)) as image:
        assert image.size == (300, 200)
        pixels = np.asarray(image.convert("RGB"), dtype="int64")
    # Something coloured is on the white page: the curve.
    colourful = pixels.max(axis=2) - pixels.min(axis=2) > 60
    assert 50 < colourful.sum() < pixels.shape[0] * pixels.shape[1] / 4


def test_without_a_browser_what_to_do_is_said() -> None:
    script = "import plotly.graph_objects as go, fireworks.plot as p; p.to_png(go.Figure())"
    done = subprocess.run(  # what kaleido leaves behind then ends with the process
        [sys.executable, "-c", script],
        env=os.environ | {"BROWSER_PATH": "/nowhere/chromium"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert "MissingDependency: Drawing a figure as a PNG needs Chromium" in done.stderr
    assert "plotly_get_chrome" in done.stderr


def test_without_kaleido_the_extra_is_named(figure: Any, monkeypatch: Any) -> None:
    monkeypatch.setitem(sys.modules, "kaleido", None)
    with pytest.raises(MissingDependency, match=r"fireworks-ml\[png\]"):
        to_png(figure)


def test_a_page_and_json_are_written(figure: Any, tmp_path: Path) -> None:
    page = to_html(figure, tmp_path / "loss.html")
    assert (tmp_path / "loss.html").read_text() == page
    assert '<script src="http' not in page
    assert to_json(figure, tmp_path / "loss.json") == (tmp_path / "loss.json").read_text()
