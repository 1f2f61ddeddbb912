"""What can be read of an experiment: metrics, trials, tables, media, queries."""

from __future__ import annotations

import json
import math
import os
from abc import ABC, abstractmethod
from collections.abc import Iterable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fireworks.errors import DamagedFile, TableNotFound, WrongType, WrongValue
from fireworks.experiment import files, frames, media, tables
from fireworks.record import layout
from fireworks.record.metadata import last_metrics, read_metadata
from fireworks.record.schema import NO_TRIAL, OWN_TABLES, user_tables
from fireworks.record.store import Connection, Store

if TYPE_CHECKING:
    import pandas

    from fireworks.message import Message


class Recorded(ABC):
    """The reading side of an experiment; ``Experiment`` adds what writes.

    Each read sees one state of the database, also while other processes write.
    """

    @property
    @abstractmethod
    def path(self) -> Path:
        """The folder, as an absolute path."""

    @property
    @abstractmethod
    def trial(self) -> int | None:
        """The trial that this object logs to; None where it is no trial's."""

    @abstractmethod
    def _before_reading(self) -> None:
        """Commit what this object has logged, so that it reads its own writes."""

    @property
    @abstractmethod
    def _store(self) -> Store:
        """Where its tables are."""

    def _reading(self) -> AbstractContextManager[Connection]:
        return self._store.reading()

    @property
    def metadata(self) -> dict[str, Any]:
        """What was captured by itself: command, host, git, packages, environment and times."""
        with self._reading() as connection:
            return read_metadata(connection)

    @property
    def failed_batch(self) -> Message | None:
        """The batch on which training failed, because its loss was not finite; None if none did."""
        from fireworks.message import Message

        trial = "" if self.trial is None else f"/{layout.trial_name(self.trial)}"
        path = layout.inside(self.path, layout.FILES + trial, layout.FAILED_BATCH)
        return Message.load(path) if path.is_file() else None

    def metrics(
        self,
        names: str | Iterable[str] | None = None,
        trials: int | Iterable[int] | None = None,
        *,
        wide: bool = False,
    ) -> pandas.DataFrame:
        """Return what was logged, including what this object logged just now.

        Args:
            names: The metrics wanted; all by default.
            trials: The trials wanted, -1 for what belongs to none; by default all, or in a
                trial's own experiment that trial.
            wide: One column for each metric instead of one row for each value.

        Returns:
            Long: the columns trial, name, step, value, time (seconds since 1970), sorted by
            trial, name and step. Wide: trial, step and the metrics, NaN where one has no value.

        Raises:
            WrongValue: A metric that was never logged, or no such trial; the nearest is offered.
        """
        self._before_reading()
        if trials is None and self.trial is not None:
            trials = self.trial
        with self._reading() as connection:
            return frames.metrics_frame(connection, names, trials, wide=wide)

    @property
    def latest(self) -> dict[str, float]:
        """The value of each metric at its highest step, by name; in a trial's, of that trial."""
        self._before_reading()
        with self._reading() as connection:
            found = last_metrics(connection, NO_TRIAL if self.trial is None else self.trial)
        return {name: math.nan if value is None else value for name, value in found.items()}

    def overview(self, names: str | Iterable[str] | None = None) -> pandas.DataFrame:
        """Return the last value of each metric, one row for each trial (-1: the run itself).

        It takes as long as there are trials and metrics, however many values they have.

        Args:
            names: The metrics wanted; all by default.

        Raises:
            WrongValue: A metric that was never logged; the nearest is offered.
        """
        self._before_reading()
        with self._reading() as connection:
            return frames.overview_frame(connection, names)

    @property
    def trials(self) -> pandas.DataFrame:
        """One row for each trial of a sweep, by number.

        Columns: trial, state, attempt, seed, started, ended (seconds since 1970), reason,
        exit_code, signal, host, pid, peak_memory (bytes), then ``params.<name>`` and
        ``result.<name>``.
        """
        with self._reading() as connection:
            return frames.trials_frame(connection)

    def sql(
        self,
        query: str,
        parameters: Any = (),
        *,
        max_rows: int | None = 10_000_000,
        timeout: float | None = 60.0,
    ) -> pandas.DataFrame:
        """Run a SELECT on the experiment's tables and return its rows.

        Args:
            query: One statement; the tables are described in ``docs/experiment.md``.
            parameters: Values for ``?`` or ``:name``.
            max_rows: Refuse a result of more rows; None: any number.
            timeout: Stop a query that takes longer, in seconds; None: however long it takes.

        Raises:
            ExperimentReadOnly: The statement would write, or reach outside the database.
            WrongValue: The statement is wrong (the message is the database's), or gives more rows
                or takes longer than allowed.
        """
        import pandas

        if not isinstance(query, str):
            raise WrongType(f"A query must be a string; got {type(query).__name__}: {query!r:.60}.")
        self._before_reading()
        with self._reading() as connection:
            columns, rows = connection.query(query, parameters, max_rows=max_rows, timeout=timeout)
        return pandas.DataFrame(rows, columns=columns)

    @property
    def tables(self) -> list[str]:
        """The names of the user's own tables, sorted."""
        self._before_reading()
        with self._reading() as connection:
            return user_tables(connection)

    def message(self, table: str = "metrics") -> Message:
        """Return a table of the record, or one of the user's own, as a Message.

        Args:
            table: "metrics" (as ``metrics()``), "trials" (as ``trials``), any other table of the
                record, or a table of the user's own, whose rows carry their ``trial``.

        Raises:
            TableNotFound: There is no such table; the nearest name is offered.
        """
        from fireworks.message import Message

        frame = self._own_table(table)
        if frame is not None:
            return Message(frame)
        with self._reading() as connection:
            columns = tables.columns_of(connection, table)
        engine = files.database_engine(self._store, writable=False)
        return tables.source_of(engine, table, [each for each in columns if each != "seq"])[:]

    def _own_table(self, table: str) -> pandas.DataFrame | None:
        """A table of the record; None for one that is the user's."""
        if table in ("metrics", "metric"):
            return self.metrics()
        if table == "trials":
            return self.trials
        self._before_reading()
        with self._reading() as connection:
            tables.columns_of(connection, table)
            return frames.table_frame(connection, table) if table in OWN_TABLES else None

    def media(self, name: str, *, trial: int | None = None) -> dict[int, Any]:
        """Return the texts, images, histograms or figures that were logged under a name, by step.

        Args:
            name: The name.
            trial: The trial, -1 for none; by default this object's own.

        Returns:
            Strings, arrays of uint8 with shape (height, width, channels), or dicts: of a
            histogram ``counts`` and ``edges``, of a figure Plotly's JSON.

        Raises:
            TableNotFound: Nothing of the kind was logged under the name.
        """
        self._before_reading()
        number = trial if trial is not None else NO_TRIAL if self.trial is None else self.trial
        with self._reading() as connection:
            rows = frames.media_rows(connection, number, name)
        return {step: media.decode(kind, data) for step, kind, data in rows}

    def export(self, table: str, path: str | os.PathLike[str]) -> Path:
        """Write a table to a CSV or Parquet file, by the ending of its name.

        Args:
            table: As for ``message``.
            path: The file; it is replaced when all is written.

        Returns:
            The path.

        Raises:
            WrongValue: The name ends neither in .csv nor in .parquet.
            TableNotFound: There is no such table.
        """
        target = Path(path)
        if target.suffix not in (".csv", ".parquet"):
            raise WrongValue(f"The file must end in .csv or .parquet; got {str(path)!r}.")
        frame = self._own_table(table)  # without what a Message would import
        if frame is None:
            frame = self.message(table).dataframe()
        # JSON and bytes stay what they are; what a cell holds of Python becomes JSON.
        for name in frame.columns[[kind.name == "object" for kind in frame.dtypes]]:
            frame[name] = [
                json.dumps(each, default=str) if isinstance(each, list | dict) else each
                for each in frame[name]
            ]
        with files.open_file(target, "wb") as stream:
            if target.suffix == ".csv":
                frame.to_csv(stream, index=False)
            else:
                frame.to_parquet(stream, index=False)
        return target

    @property
    def graph(self) -> dict[str, Any]:
        """What ``save_graph`` wrote of the source graph: fingerprint, nodes, edges, drawing.

        Raises:
            TableNotFound: No graph was saved.
            DamagedFile: The file is damaged.
        """
        file = self.path / layout.GRAPH
        try:
            content = json.loads(file.read_bytes())
        except FileNotFoundError:
            raise TableNotFound(
                f"No graph was saved in {str(self.path)!r}: experiment.save_graph(graph) does it."
            ) from None
        except (ValueError, RecursionError) as error:
            raise DamagedFile(f"{str(file)!r} is damaged: {error}.") from None
        if not isinstance(content, dict) or not isinstance(content.get("nodes"), list):
            raise DamagedFile(f"{str(file)!r} does not describe a graph of sources.")
        return content
