"""A figure as data: where its rows come from, what is made of them, and how it looks."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from typing import Any, Self, final

from fireworks.errors import DamagedFile, WrongType, WrongValue, suggest

FORMAT = 1
SOURCES = ("metrics", "trials", "sql", "table", "media", "graph")
STYLE = ("template", "title", "width", "height", "xaxis", "yaxis", "colors", "legend", "font_size")


@final
@dataclass(frozen=True)
class Spec:
    """What a figure is made of.

    Attributes:
        kind: One of ``KINDS``: "curves", "scatter", "confusion" …
        source: Where the rows come from, by one key: ``{"metrics": [names]}`` (all for None),
            ``{"trials": None}``, ``{"sql": query}``, ``{"table": name}``, ``{"media": name}`` or
            ``{"graph": None}``.
        options: What is computed: the options of the kind.
        style: How it looks: template, title, width and height (pixels), xaxis and yaxis (their
            titles, or ``"log"`` for a logarithmic axis), colors (a list), legend (whether),
            font_size (points).

    Raises:
        WrongValue: An unknown source or style; the nearest is offered.
    """

    kind: str
    source: dict[str, Any]
    options: dict[str, Any] = field(default_factory=dict[str, Any])
    style: dict[str, Any] = field(default_factory=dict[str, Any])

    def __post_init__(self) -> None:
        if len(self.source) != 1 or next(iter(self.source)) not in SOURCES:
            raise WrongValue(
                f"A figure reads from one of {', '.join(SOURCES)}; got {self.source!r:.100}."
            )
        for name in self.style:
            if name not in STYLE:
                raise WrongValue(f"There is no style {name!r}.{suggest(name, STYLE)}")

    def restyled(self, style: dict[str, Any]) -> Self:
        """The same figure with another style; what is None falls back to the default."""
        together = {**self.style, **style}
        return replace(self, style={k: v for k, v in together.items() if v is not None})

    def to_json(self) -> str:
        """The specification as JSON text.

        Raises:
            WrongType: It holds what is no JSON.
        """
        content = {"format": FORMAT, **vars(self)}
        try:
            return json.dumps(content)
        except (TypeError, ValueError) as error:
            raise WrongType(f"A figure's specification must be JSON: {error}.") from None

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The specification that ``to_json`` wrote, from a folder that may come from anybody.

        Raises:
            DamagedFile: It is none, or a newer release wrote it.
        """
        try:
            content = json.loads(text)
            if content["format"] != FORMAT:
                raise DamagedFile(
                    f"A figure's specification has the format {content['format']!r:.20}; this "
                    f"release reads {FORMAT}. Upgrade: pip install --upgrade fireworks-ml"
                )
            parts = [content[each] for each in ("source", "options", "style")]
            if not isinstance(content["kind"], str) or not all(
                type(each) is dict for each in parts
            ):
                raise TypeError("its parts are of the wrong types")
            return cls(content["kind"], *parts)
        except DamagedFile:
            raise
        except (ValueError, LookupError, TypeError, RecursionError) as error:
            raise DamagedFile(f"A figure's specification is damaged: {error}.") from None
