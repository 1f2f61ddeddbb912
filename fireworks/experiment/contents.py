"""What an experiment's folder holds besides the log: files, artifacts, tables, figures."""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fireworks.errors import DatabaseNotFound, WrongValue
from fireworks.experiment import files, plots, tables
from fireworks.experiment.recorded import Recorded
from fireworks.record import layout
from fireworks.record.archive import archive_run, copy_run
from fireworks.record.index import read_index
from fireworks.record.schema import MARKS
from fireworks.record.sqlite import SQLiteStore
from fireworks.record.store import Connection, Store

if TYPE_CHECKING:
    import sqlalchemy

    from fireworks.database import TableSource
    from fireworks.message import Message
    from fireworks.plot import Spec
    from fireworks.source import Graph


class Contents(Recorded):
    """The folder of an experiment; ``Experiment`` adds the log and who owns it."""

    @property
    @abstractmethod
    def attempt(self) -> int | None:
        """The attempt, from 1, that this object writes for; None where it is no trial's."""

    @property
    @abstractmethod
    def _is_writable(self) -> bool: ...

    @abstractmethod
    def _writable(self, what: str) -> Store:
        """Where to write; ``what`` this object is about to do goes into the refusal."""

    @abstractmethod
    def _guard(self, connection: Connection) -> None:
        """Refuse a transaction of an attempt that is over."""

    @abstractmethod
    def check_attempt(self, what: str) -> None:
        """Check that this object may write; ``what`` it is about to do goes into the message.

        Raises:
            ExperimentReadOnly: It was opened for reading, or is closed.
            ExperimentInUse: It writes for an attempt that is no longer the current one.
        """

    @property
    def tensorboard(self) -> Path:
        """The folder for TensorBoard's event files, one for each trial; made when asked for."""
        folder = layout.tensorboard_folder(self.path, self.trial)
        if self._is_writable:
            folder.mkdir(parents=True, exist_ok=True)
        return folder

    def _inside(self, name: object) -> Path:
        folder = layout.FILES
        if self.trial is not None:
            folder += f"/{layout.trial_name(self.trial)}"
        return layout.inside(self.path, folder, name)

    def file(self, name: str, mode: str | None = None) -> Any:
        """Return the path of a file in ``files/``, or open it.

        Args:
            name: A relative path; its folders are made when it is opened for writing. A trial's
                files lie in ``files/trial-0012/``.
            mode: None for the path; else as in ``open``. With "w" and "wb" the file is replaced
                when it is closed: until then, and if an exception leaves the ``with`` block, the
                previous version stays.

        Returns:
            A ``pathlib.Path``, or an open file (text is UTF-8).

        Raises:
            WrongValue: The name would leave the folder, or the mode is unknown.
            ExperimentReadOnly: Opening for writing, and the experiment is not open for it.
            FileNotFoundError: Opening for reading, and there is no such file.
        """
        path = self._inside(name)
        if mode is None:
            return path
        if set(mode) & set("wax+"):
            self.check_attempt("write files")
        return files.open_file(path, mode)

    def artifact(self, path: str | os.PathLike[str], name: str | None = None) -> Path:
        """Copy a file, or a folder, into ``files/`` and record its size and SHA-256.

        Args:
            path: What to copy.
            name: The name in ``files/``; by default the file's own.

        Returns:
            The path of the copy.

        Raises:
            FileNotFoundError: There is no such file.
            WrongValue: The name would leave the folder, or the folder holds a symbolic link.
        """
        self.check_attempt("add artifacts")
        target = self._inside(Path(path).name if name is None else name)
        copied = files.copy_into(Path(path), target)
        with self._writable("add artifacts").transaction() as connection:
            self._guard(connection)
            files.record(connection, self.path, copied, self.trial, self.attempt)
        return target

    def table(self, name: str, columns: Message | Mapping[str, Any] | None = None) -> TableSource:
        """Return a table of the user's own as a source, made at its first use.

        Its rows are numbered by the column ``id``, unless ``columns`` has one of that name. Write
        them through ``WriterSource(source.table, source.engine)`` or SQLAlchemy: they are this
        trial's, and belong to what a resumed run deletes (see ``mark``).

        Args:
            name: The table.
            columns: A Message with the columns and kinds wanted, or SQLAlchemy types by name;
                left out, the table must be there already.

        Raises:
            TableNotFound: There is no such table; the nearest name is offered.
            WrongValue: The name is one of the record's own, or the table has other columns.
            ExperimentReadOnly: The table is to be made, and the experiment is not open for it.
        """
        if columns is not None:
            self.check_attempt("create a table")
            tables.create(self._writable("create a table"), tables.check_table_name(name), columns)
        with self._reading() as connection:
            shown = [each for each in tables.columns_of(connection, name) if each not in MARKS]
        mark_as = None if self.trial is None else (self.trial, self.attempt or 0)
        engine = files.database_engine(self._store, writable=self._is_writable, mark_as=mark_as)
        return tables.source_of(engine, name, shown)

    def save_graph(self, graph: Graph) -> Path:
        """Write the graph of sources to ``graph.json``: fingerprint, drawing, time of each node.

        Returns:
            The path of the file.
        """
        self.check_attempt("save a graph")
        return files.save_graph(self.path / layout.GRAPH, graph)

    def database(self, name: str) -> sqlalchemy.Engine:
        """Return a SQLAlchemy engine on ``name.sqlite`` in the folder, made at its first use.

        In an experiment that was opened for reading, the engine reads only.

        Raises:
            WrongType, WrongValue: The name cannot be a file's.
            DatabaseNotFound: Opened for reading, and there is no such database.
        """
        layout.check_name(name, what="A database's name")
        path = layout.inside(self.path, "", f"{name}.sqlite")
        if path.name == layout.DATABASE:
            raise WrongValue(f"{layout.DATABASE} is the experiment's own; choose another name.")
        if not self._is_writable and not path.is_file():
            raise DatabaseNotFound(f"There is no database {path.name!r} in {str(self.path)!r}.")
        return files.database_engine(SQLiteStore(path), writable=self._is_writable)

    # -- figures --------------------------------------------------------------------------------

    @property
    def figures(self) -> plots.Plots:
        """The stored figures by name: ``experiment.figures["loss"].render()``."""
        with self._reading() as connection:
            rows = connection.execute("SELECT name, spec FROM figures ORDER BY name").fetchall()
        return plots.Plots(dict(rows), self, self._save_figure)

    def plot(
        self,
        name: str,
        kind: str = "curves",
        *,
        y: str | Iterable[str] | None = None,
        style: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> plots.Plot:
        """Describe a figure and store the description; its data is read when it is drawn.

        ``experiment.plot("loss", x="step", y=["train/loss", "valid/loss"], smooth=0.6)``

        Args:
            name: The figure's name; one of that name is replaced.
            kind: "curves", "histogram" (of metrics), "scatter", "contour", "parallel",
                "importance", "history", "pareto" (of trials), "confusion", "roc", "pr",
                "embedding" (of a table), "images" (of media) or "graph".
            y: The metrics of curves and histograms, all by default; else an option like others.
            style: How it looks; see ``fireworks.plot.Spec``.
            **options: Those of the kind (see ``fireworks.plot``); ``table="name"``,
                ``media="name"`` or ``sql="SELECT …"`` say what it is made of. Of a sweep's trials,
                the metrics and their directions are by default what it is after.

        Returns:
            The figure: ``.render()``, ``.data()``, ``.to_html(path)``, ``.of(other)``. Of an
            experiment that was opened for reading it is not stored.

        Raises:
            WrongType, WrongValue: What is said does not make a figure.
        """
        plots.check_figure_name(name)
        objective = read_index(self.path).objective
        spec = plots.spec_of(kind, y, dict(options), style or {}, objective)
        if self._is_writable:
            self._save_figure(name, spec)
        return plots.Plot(name, spec, [self], self._save_figure if self._is_writable else None)

    def _save_figure(self, name: str, spec: Spec | None) -> None:
        with self._writable("store a figure").transaction() as connection:
            self._guard(connection)
            plots.write_figure(connection, name, spec)

    # -- elsewhere ------------------------------------------------------------------------------

    def copy(self, path: str | os.PathLike[str]) -> Path:
        """Copy the whole run to a folder that does not exist yet; also while it is written to.

        Raises:
            WrongValue: There is something at ``path``, or the run holds a symbolic link.
        """
        self._before_reading()
        return copy_run(self.path, Path(path))

    def archive(self, path: str | os.PathLike[str] | None = None) -> Path:
        """Write the whole run to one ZIP file; ``restore`` makes a run of it anywhere.

        Args:
            path: The file; by default the run's folder with ``.zip`` behind its name.

        Raises:
            WrongValue: The run holds a symbolic link.
        """
        self._before_reading()
        beside = self.path.with_name(self.path.name + ".zip")
        return archive_run(self.path, beside if path is None else Path(path))
