"""``fireworks plot``: a figure of a run as a page that opens offline."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated, Any

import typer

from fireworks.cli.runs import find_run
from fireworks.errors import WrongValue, suggest

_ENDINGS = (".html", ".json", ".png", ".csv")


def plot_run(
    run: Annotated[str, typer.Argument(help="A run's folder, or its id.")],
    what: Annotated[
        list[str],
        typer.Argument(help="A stored figure, or metrics: loss stands for train/loss, too."),
    ],
    smooth: Annotated[float | None, typer.Option(help="Of curves: from 0 to below 1.")] = None,
    x: Annotated[
        str | None, typer.Option(help="Of curves: step (the default), time or relative (seconds).")
    ] = None,
    band: Annotated[
        str | None, typer.Option(help="Of curves: the mean of all trials, with std, sem or minmax.")
    ] = None,
    kind: Annotated[str, typer.Option(help="Another kind of figure; WHAT is its name.")] = "curves",
    option: Annotated[
        list[str] | None, typer.Option("--set", help="An option of the kind: metric=accuracy.")
    ] = None,
    with_run: Annotated[
        list[str] | None, typer.Option("--with", help="Another run in the same figure.")
    ] = None,
    template: Annotated[str | None, typer.Option(help="plotly_white, plotly_dark …")] = None,
    out: Annotated[
        Path | None, typer.Option(help=".html, .json, .png, or .csv for the numbers.")
    ] = None,
    root: Annotated[Path, typer.Option(help="Where to look for ids.")] = Path("runs"),
) -> None:
    """Draw metrics, or a stored figure, to a page that opens without a network."""
    folders = [find_run(each, root) for each in (run, *(with_run or ()))]
    target = out or Path(f"{what[0].replace('/', '-') or 'figure'}.html")
    if target.suffix not in _ENDINGS:
        raise WrongValue(f"--out must end in one of {', '.join(_ENDINGS)}; got {str(target)!r}.")
    if not target.parent.is_dir():
        raise WrongValue(f"There is no folder {str(target.parent)!r} to write {target.name!r} to.")

    from fireworks.experiment import load_experiment

    given = {"smooth": smooth, "x": x, "band": band}
    options: dict[str, Any] = _options(option, kind) | {
        name: each for name, each in given.items() if each is not None
    }
    experiments = [load_experiment(each) for each in folders]
    stored = experiments[0].figures
    if kind != "curves":
        figure = experiments[0].plot(what[0], kind, **options)
    elif len(what) == 1 and what[0] in stored:
        figure = stored[what[0]].with_options(**options)
    else:
        query = "SELECT DISTINCT name FROM series ORDER BY name"
        known = list(dict.fromkeys(name for e in experiments for name in e.sql(query)["name"]))
        names = [name for each in what for name in _metrics(each, known, list(stored))]
        figure = experiments[0].plot(", ".join(what), y=names, **options)
    if len(experiments) > 1:
        figure = figure.of(*experiments)
    match target.suffix:
        case ".csv":
            figure.data().to_csv(target, index=False)
        case ".json":
            figure.to_json(target, template=template)
        case ".png":
            figure.to_png(target, template=template)
        case _:
            figure.to_html(target, template=template)
    print(os.fspath(target))


def _metrics(word: str, known: list[str], figures: list[str]) -> list[str]:
    """The metric of that name, else those whose last part it is."""
    if word in known:
        return [word]
    ending = [name for name in known if name.endswith(f"/{word}")]
    if not ending:
        raise WrongValue(
            f"There is neither a metric nor a figure {word!r}.{suggest(word, [*known, *figures])}"
        )
    return ending


def _options(pairs: list[str] | None, kind: str) -> dict[str, Any]:
    taken = ("name", "kind", "style", *(("y",) if kind == "curves" else ()))
    options: dict[str, Any] = {}
    for pair in pairs or ():
        name, equals, text = pair.partition("=")
        if not equals:
            raise WrongValue(f"--set takes NAME=VALUE; got {pair!r}.")
        if name in taken:
            raise WrongValue(f"--set cannot say {name!r}; see fireworks plot --help.")
        try:
            options[name] = json.loads(text)
        except ValueError:
            options[name] = text
    return options
