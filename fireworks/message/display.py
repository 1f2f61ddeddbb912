"""How a Message looks: a table of its first and last rows, and what each column is."""

from __future__ import annotations

import html
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from fireworks.message.column import Column
from fireworks.message.rows import Rows

_EDGE = 5  # rows shown at either end
_WIDTH = 32  # characters of a cell


def as_text(columns: Mapping[str, Column], length: int) -> str:
    """The table as plain text."""
    if not columns:
        return "Message()"
    header, kinds, rows = _cells(columns, length)
    lines = [header, kinds, *rows]
    widths = [max(len(line[i]) for line in lines) for i in range(len(header))]
    text = "\n".join(
        "  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )
    return f"{text}\n[{length} {'row' if length == 1 else 'rows'} x {len(columns)} columns]"


def as_html(columns: Mapping[str, Column], length: int) -> str:
    """The table as HTML, for notebooks."""
    if not columns:
        return "<p>Message()</p>"
    header, kinds, rows = _cells(columns, length)

    def line(cells: list[str], tag: str) -> str:
        return "<tr>" + "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in cells) + "</tr>"

    head = line(header, "th") + line(kinds, "td")
    body = "".join(line(row, "td") for row in rows)
    return (
        f'<table border="1" class="dataframe"><thead>{head}</thead><tbody>{body}</tbody></table>'
        f"<p>{length} rows x {len(columns)} columns</p>"
    )


def _cells(
    columns: Mapping[str, Column], length: int
) -> tuple[list[str], list[str], list[list[str]]]:
    few = length <= 2 * _EDGE
    shown = np.arange(length) if few else np.r_[:_EDGE, length - _EDGE : length]
    texts = [
        [_cell(value) for value in _values(column.take(Rows(shown)))] for column in columns.values()
    ]
    rows = [[str(row), *(text[position] for text in texts)] for position, row in enumerate(shown)]
    if not few:
        rows.insert(_EDGE, ["…"] * (len(columns) + 1))
    kinds = ["", *(_kind(column) for column in columns.values())]
    return ["", *columns], kinds, rows


def _kind(column: Column) -> str:
    field = column.field
    if field.kind != "tensor":
        return f"{field.dtype}[]" if field.kind == "ragged" else field.dtype
    shape = ", ".join(str(size) for size in field.shape)
    device = "" if field.device == "cpu" else f" {field.device}"
    return f"tensor[{shape}] {field.dtype.removeprefix('torch.')}{device}"


def _values(column: Column) -> list[Any]:
    values = column.present("")
    if isinstance(values, torch.Tensor):
        if values.is_meta:
            return ["?"] * len(values)
        return list(values.detach().cpu())
    return list(values)


def _cell(value: Any) -> str:
    if isinstance(value, torch.Tensor):
        if value.ndim == 0:
            value = value.item()
        else:
            value = value.flatten()[:5].tolist() + (["…"] if value.numel() > 5 else [])
            text = ", ".join(_cell(each) for each in value)
            return f"[{text}]"
    if isinstance(value, np.ndarray):
        shown = [_cell(each) for each in value.reshape(-1)[:5]]
        return "[" + ", ".join(shown + (["…"] if value.size > 5 else [])) + "]"
    if isinstance(value, float | np.floating):
        return f"{value:.5g}"
    text = str(value).replace("\n", "\\n")
    return text if len(text) <= _WIDTH else text[: _WIDTH - 1] + "…"
