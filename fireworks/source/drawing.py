"""A graph of sources as text and as a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING

from fireworks.source.statistics import Statistics

if TYPE_CHECKING:
    from fireworks.source.base import Source

Nodes = Mapping[str, "Source"]
Edges = Sequence[tuple[str, str]]

_WIDTH, _HEIGHT, _GAP_X, _GAP_Y = 190, 46, 50, 22


def explained(statistics: Mapping[str, Statistics]) -> str:
    """Return where the time went as a table, and a sentence that names the bottleneck."""
    total = sum(each.seconds for each in statistics.values())
    if not total:
        return "Nothing was read yet."
    order = sorted(statistics, key=lambda key: -statistics[key].seconds)
    width = max(map(len, order))
    lines = [f"{'source':<{width}}  share  seconds      reads        rows   rows/s"]
    for key in order:
        each = statistics[key]
        rate = each.rows / each.seconds if each.seconds else 0.0
        lines.append(
            f"{key:<{width}}  {each.seconds / total:5.0%}  {each.seconds:7.3f}  {each.reads:9,}  "
            f"{each.rows:10,}  {rate:7.3g}"
        )
    slowest = statistics[order[0]]
    lines.append(
        f"The bottleneck is {order[0]}: {slowest.seconds / total:.0%} of {total:.3f} s were its "
        "own work."
    )
    return "\n".join(lines)


def mermaid(nodes: Nodes, edges: Edges) -> str:
    """Return a Mermaid flowchart."""
    numbers = {key: f"n{number}" for number, key in enumerate(nodes)}
    lines = ["flowchart LR"]
    for key, source in nodes.items():
        text = label(key, source).replace('"', "#quot;")
        lines.append(f'    {numbers[key]}["{text}"]')
    lines += [f"    {numbers[above]} --> {numbers[below]}" for above, below in edges]
    return "\n".join(lines)


def svg(nodes: Nodes, edges: Edges) -> str:
    """Return an SVG picture: rows flow from left to right."""
    places = _places(nodes, edges)
    width = max((x for x, _ in places.values()), default=0) + _WIDTH + 10
    height = max((y for _, y in places.values()), default=0) + _HEIGHT + 10
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
        f'height="{height}" font-family="sans-serif" font-size="12">',
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" '
        'markerHeight="7" orient="auto"><path d="M0 0L8 4L0 8z" fill="#666"/></marker></defs>',
    ]
    for above, below in edges:
        (x1, y1), (x2, y2) = places[above], places[below]
        x1, y1, y2 = x1 + _WIDTH, y1 + _HEIGHT // 2, y2 + _HEIGHT // 2
        bend = (x1 + x2) // 2 if x2 > x1 else x1 + _GAP_X
        parts.append(
            f'<path d="M{x1} {y1}C{bend} {y1} {bend} {y2} {x2} {y2}" fill="none" stroke="#666" '
            'marker-end="url(#tip)"/>'
        )
    for key, source in nodes.items():
        x, y = places[key]
        kind = "indexed" if source.indexed else "stream"
        fill = "#e8f1fb" if source.indexed else "#fdf1e3"
        rows = f"{source.statistics.rows:,} rows read" if source.statistics.rows else kind
        parts.append(
            f'<g><title>{escape(repr(source))}, {kind}</title><rect x="{x}" y="{y}" '
            f'width="{_WIDTH}" height="{_HEIGHT}" rx="6" fill="{fill}" stroke="#888"/>'
            f'<text x="{x + _WIDTH // 2}" y="{y + 19}" text-anchor="middle">'
            f'{escape(_cut(label(key, source)))}</text><text x="{x + _WIDTH // 2}" y="{y + 36}" '
            f'text-anchor="middle" fill="#666" font-size="10">{escape(rows)}</text></g>'
        )
    return "".join([*parts, "</svg>"])


def page(picture: str, text: str) -> str:
    """Return an HTML page with a picture and a text; it needs nothing from elsewhere."""
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>Graph</title>'
        f"<body>{picture}<pre>{escape(text)}</pre></body></html>"
    )


def label(key: str, source: Source) -> str:
    """Return what a source is called in a drawing."""
    kind = type(source).__name__
    return key if key.startswith(kind) else f"{key} ({kind})"


def _cut(text: str, width: int = 28) -> str:
    return text if len(text) <= width else f"{text[: width - 1]}…"


def _places(nodes: Nodes, edges: Edges) -> dict[str, tuple[int, int]]:
    """Return where each box goes: in the column after the last of its inputs."""
    inputs: dict[str, list[str]] = {key: [] for key in nodes}
    for above, below in edges:
        if not nodes[below].closes_loops:
            inputs[below].append(above)
    column: dict[str, int] = {}

    def depth(key: str) -> int:
        if key not in column:
            column[key] = 0
            column[key] = max((depth(each) + 1 for each in inputs[key]), default=0)
        return column[key]

    taken: dict[int, int] = {}
    places: dict[str, tuple[int, int]] = {}
    for key in nodes:
        x = depth(key)
        y = taken[x] = taken.get(x, -1) + 1
        places[key] = (5 + x * (_WIDTH + _GAP_X), 5 + y * (_HEIGHT + _GAP_Y))
    return places
