"""The figures of an experiment: specifications in its database, drawn from its record."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, final

from fireworks.errors import WrongType, WrongValue, suggest
from fireworks.plot import Spec
from fireworks.plot.kinds import check_options, kind_of
from fireworks.plot.sweeps import with_objective
from fireworks.record.json_values import check_unicode
from fireworks.record.store import Connection

if TYPE_CHECKING:
    import pandas

    from fireworks.experiment.recorded import Recorded

Save = Callable[[str, Spec | None], None]


def spec_of(
    kind: str,
    y: str | Iterable[str] | None,
    options: dict[str, Any],
    style: Mapping[str, Any],
    objective: Sequence[Sequence[str]],
) -> Spec:
    """The specification that the arguments of ``Experiment.plot`` say.

    What they leave open of a figure of trials is filled in with the sweep's objective.

    Raises:
        WrongValue: There is no such kind, or two sources were given.
    """
    reads = kind_of(kind).reads
    given = {name: options.pop(name) for name in ("sql", "table", "media") if name in options}
    if len(given) > 1:
        raise WrongValue(f"A figure reads from one place; got {' and '.join(given)}.")
    if given:
        source = given
        if y is not None:
            options["y"] = y
    elif reads == "metrics":
        source = {"metrics": [y] if isinstance(y, str) else None if y is None else list(y)}
    else:
        source = {reads: None}
        if y is not None:
            options["y"] = y
    if source.get(reads, "") is None and reads in ("table", "media"):
        raise WrongValue(
            f"A figure of kind {kind!r} needs to know what it is made of: {reads}='name' or "
            "sql='SELECT …'."
        )
    if source == {"trials": None}:
        options = with_objective(kind, options, objective)
    check_options(kind, options)
    return Spec(kind, source, options, dict(style))


@final
class Plot:
    """A figure of one or more experiments: its data is read anew each time it is drawn.

    Attributes:
        name: Its name.
        spec: What it is made of.
        experiments: Whose data it shows.
    """

    def __init__(
        self, name: str, spec: Spec, experiments: Sequence[Recorded], save: Save | None
    ) -> None:
        self.name = name
        self.spec = spec
        self.experiments = list(experiments)
        self._save = save

    def data(self) -> pandas.DataFrame:
        """What the figure shows, computed and not drawn.

        Raises:
            WrongValue: An option that the kind does not have.
            ColumnNotFound, TableNotFound: What it is made of is not there.
        """
        from fireworks.plot import compute

        return compute(self.spec.kind, self.rows(), **self.spec.options)

    def rows(self) -> pandas.DataFrame:
        """The rows that it is made of, with the column ``experiment``."""
        import pandas

        from fireworks.record.comparison import labels

        frames: list[pandas.DataFrame] = []
        names = labels([each.path for each in self.experiments])
        sources = _sources(self.experiments, self.spec.source)
        for label, experiment, source in zip(names, self.experiments, sources, strict=True):
            frame = _read(experiment, source)
            if "experiment" not in frame.columns:
                frame.insert(0, "experiment", label)
            frames.append(frame)
        full = [each for each in frames if len(each)] or frames[:1]
        return pandas.concat(full, ignore_index=True)

    def render(self, template: str | None = None, **style: Any) -> Any:
        """Read the data and draw it.

        Args:
            template: One of Plotly's: "plotly_white", "plotly_dark" …
            **style: See ``fireworks.plot.Spec``; for this drawing only.

        Returns:
            A ``plotly.graph_objects.Figure``.
        """
        from fireworks.plot import draw

        if template is not None:
            style["template"] = template
        spec = self.spec.restyled(style)
        return draw(spec.kind, self.data(), {"title": self.name, **spec.style})

    def restyle(self, **style: Any) -> Plot:
        """Change how it looks, and keep that where it is stored; None takes a style back."""
        spec = self.spec.restyled(style)
        if self._save is not None:
            self._save(self.name, spec)
        self.spec = spec
        return self

    def with_options(self, **options: Any) -> Plot:
        """The same figure with some options of its kind changed; it is not stored.

        Raises:
            WrongValue: An option that the kind does not have.
        """
        changed = self.spec.options | options
        check_options(self.spec.kind, changed)
        spec = Spec(self.spec.kind, self.spec.source, changed, self.spec.style)
        return Plot(self.name, spec, self.experiments, None)

    def of(self, *experiments: Recorded | str | os.PathLike[str]) -> Plot:
        """The same figure of other experiments, given as such or as paths; it is not stored."""
        from fireworks.experiment.opening import load_experiment

        if not experiments:
            raise WrongValue("of() takes one experiment or several.")
        chosen = [
            load_experiment(each) if isinstance(each, str | os.PathLike) else each
            for each in experiments
        ]
        return Plot(self.name, self.spec, chosen, None)

    def to_html(self, path: str | os.PathLike[str] | None = None, **style: Any) -> str:
        """Draw it as a page that holds all it needs and opens without a network."""
        from fireworks.plot import to_html

        return to_html(self.render(**style), path)

    def to_json(self, path: str | os.PathLike[str] | None = None, **style: Any) -> str:
        """Draw it as Plotly's JSON."""
        from fireworks.plot import to_json

        return to_json(self.render(**style), path)

    def to_png(self, path: str | os.PathLike[str] | None = None, **style: Any) -> bytes:
        """Draw it as a PNG; needs the extra ``png``."""
        from fireworks.plot import to_png

        return to_png(self.render(**style), path)

    def _repr_html_(self) -> str:
        return self.render().to_html(include_plotlyjs="cdn", full_html=False)

    def __repr__(self) -> str:
        shown = ", ".join(each.path.name for each in self.experiments)
        return f"<Plot {self.name!r}: {self.spec.kind} of {shown}>"


@final
class Plots(Mapping[str, Plot]):
    """The stored figures of an experiment, by name.

    Args:
        specs: The specifications as they are stored.
        experiment: Whose they are.
        save: Stores one, or with None deletes it; None where the experiment is only read.
    """

    def __init__(self, specs: dict[str, str], experiment: Recorded, save: Save) -> None:
        self._specs = specs
        self._experiment = experiment
        self._save = save

    def __getitem__(self, name: str) -> Plot:
        if name not in self._specs:
            raise _NoFigure(f"There is no figure {name!r}.{suggest(name, self._specs)}")
        return Plot(name, Spec.from_json(self._specs[name]), [self._experiment], self._save)

    def __delitem__(self, name: str) -> None:
        self[name]
        self._save(name, None)
        del self._specs[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._specs)

    def __len__(self) -> int:
        return len(self._specs)

    def __repr__(self) -> str:
        return f"<Plots: {', '.join(self._specs) or 'none'}>"


class _NoFigure(WrongValue, KeyError):
    """A figure that is not there: a KeyError, as in every mapping."""


def check_figure_name(name: object) -> str:
    """Return ``name`` if a figure may have it; raises WrongType or WrongValue."""
    if not isinstance(name, str):
        raise WrongType(f"A figure's name must be a string; got {type(name).__name__}: {name!r}.")
    if not name.strip():
        raise WrongValue("A figure's name is empty.")
    return check_unicode(name, what="A figure's name")


def write_figure(connection: Connection, name: str, spec: Spec | None) -> None:
    """Store a figure, or delete it."""
    if spec is None:
        connection.execute("DELETE FROM figures WHERE name = ?", (name,))
    else:
        connection.execute(
            "INSERT INTO figures (name, spec, time) VALUES (?,?,?) "
            "ON CONFLICT (name) DO UPDATE SET spec = excluded.spec, time = excluded.time",
            (name, spec.to_json(), time.time()),
        )


def _sources(experiments: list[Recorded], source: dict[str, Any]) -> list[dict[str, Any]]:
    """What to read of each: of the metrics wanted those that it has, if any of them has all."""
    wanted = source.get("metrics")
    if wanted is None or len(experiments) == 1:
        return [source] * len(experiments)
    known = [set(each.sql("SELECT DISTINCT name FROM series")["name"]) for each in experiments]
    for name in wanted:
        if not any(name in names for names in known):
            experiments[0].metrics(name)  # raises, and offers the nearest
    return [{"metrics": [name for name in wanted if name in names]} for names in known]


def _read(experiment: Recorded, source: dict[str, Any]) -> pandas.DataFrame:
    import pandas

    ((kind, what),) = source.items()
    if kind == "metrics":
        return experiment.metrics(what)
    if kind == "trials":
        beyond = experiment.sql("SELECT trial FROM sweep_trials WHERE infeasible = 1")["trial"]
        trials = experiment.trials
        return trials.assign(infeasible=trials["trial"].isin(beyond))
    if kind == "sql":
        return experiment.sql(what)
    if kind == "table":
        return _with_vectors(experiment, what)
    if kind == "media":
        return experiment.sql(
            "SELECT trial, step, kind, data FROM media WHERE name = ? ORDER BY trial, step", (what,)
        )
    graph = experiment.graph
    inputs: dict[str, list[str]] = {}
    for above, below in graph["edges"]:
        inputs.setdefault(below, []).append(above)
    nodes = [{**each, "inputs": inputs.get(each["name"], [])} for each in graph["nodes"]]
    return pandas.DataFrame(nodes)


def _with_vectors(experiment: Recorded, table: str) -> pandas.DataFrame:
    """A table with its tensors as columns of arrays."""
    import pandas

    message = experiment.message(table)
    columns: dict[str, Any] = {}
    for name in message.columns:
        values = message[name]
        columns[name] = list(values.numpy()) if hasattr(values, "numpy") else values
    return pandas.DataFrame(columns)
