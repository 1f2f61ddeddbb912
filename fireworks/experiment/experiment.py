"""An experiment: a folder that holds everything one piece of work produced."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, final

from fireworks.errors import ExperimentReadOnly, WrongValue
from fireworks.experiment import lifetime
from fireworks.experiment.annotations import Notes, check_tags
from fireworks.experiment.creation import create_run
from fireworks.experiment.logged import Logged
from fireworks.experiment.parameters import Parameters, write_parameters
from fireworks.experiment.steps import Steps
from fireworks.experiment.sweep import SweepRecord, require_running
from fireworks.experiment.writer import MetricWriter
from fireworks.optional import require
from fireworks.record import layout
from fireworks.record.index import Index, read_index
from fireworks.record.location import store_of
from fireworks.record.metadata import last_metrics, write_metadata
from fireworks.record.owner import Ownership
from fireworks.record.ranking import read_params
from fireworks.record.schema import NO_TRIAL
from fireworks.record.store import Connection, Store

if TYPE_CHECKING:
    from fireworks.experiment.tensorboard import EventWriter

_INDEX_SECONDS = 1.0  # the last metrics in experiment.json are at most this much behind a flush


@final
class Experiment(Logged):
    """A new run, in a folder of its own: ``runs/digits-0007/``.

    The process that makes it owns it: nobody else may end it or change its parameters. Other
    processes that it hands the object to (pickled, or by fork) may log to it and write files. Use
    it as a context manager: it ends as completed, or as failed if an exception leaves the block
    (stopped by Ctrl-C). One that is still open when the interpreter exits is ended then.

    Args:
        name: The name; runs of one name are numbered from 1.
        root: The folder of all runs; made where it does not exist.
        description: A sentence for people.
        tags: Words to find it by.
        parameters: The parameters of the run: JSON values by name.
        durable: Commit each ``log`` before it returns, so that it also survives a power loss.
            Without it a log is committed within 100 ms, and what is committed survives the death
            of the process, but not always that of the machine.
        tensorboard: Whether ``log`` writes numbers and texts as TensorBoard's events, too, to the
            folder ``experiment.tensorboard``; so do its trials, and whoever goes on with it.
        store: Where to keep the tables: the URL of a PostgreSQL database, for runs that several
            machines write to; they are in a schema of their own there, and everything else is in
            the folder. By default in a SQLite file in the folder. A password in the URL is not
            recorded: see ``docs/experiment.md``.

    Raises:
        WrongValue: The name cannot be part of a folder's name, or ``root`` is not a folder.
        WrongType: A parameter is not a JSON value.
        ExperimentReadOnly: ``root`` cannot be written to.
        MissingDependency: ``tensorboard=True``, and TensorBoard is not installed; or psycopg is
            not, which ``store`` needs.
        DatabaseUnreachable: The server of ``store`` does not answer.
    """

    def __init__(
        self,
        name: str,
        root: str | os.PathLike[str] = "runs",
        description: str = "",
        tags: Iterable[str] = (),
        parameters: Mapping[str, Any] | None = None,
        *,
        durable: bool = False,
        tensorboard: bool = False,
        store: str | None = None,
    ) -> None:
        if tensorboard:
            require("tensorboard", extra="tensorboard", purpose="Experiment(tensorboard=True)")
        path, index, owner = create_run(
            name, root, description, tags, parameters or {}, store=store, tensorboard=tensorboard
        )
        try:
            self._begin(path, index, owner=owner, durable=durable)
        except BaseException:
            owner.release()
            raise

    @classmethod
    def opened(cls, path: Path, index: Index, **how: Any) -> Self:
        """Open a folder whose index was read; use ``load_experiment`` or ``open_attempt``."""
        experiment = object.__new__(cls)
        experiment._begin(path, index, **how)
        return experiment

    def _begin(
        self,
        path: Path,
        index: Index,
        *,
        owner: Ownership | None = None,
        trial: int | None = None,
        attempt: int | None = None,
        durable: bool = False,
        writing: bool = True,
    ) -> None:
        self._path = path
        self._index = index
        self._owner = owner
        self._trial = trial
        self._attempt = attempt
        self._durable = durable
        self._closed = False
        self._steps = Steps(self._highest_step)
        self._index_written = time.monotonic()
        self._tables: Store | None = None
        self._events: EventWriter | None = None
        self._writer: MetricWriter | None = None
        self._sweep: SweepRecord | None = None
        if writing:
            self._store.open()
            if index.tensorboard:
                from fireworks.experiment.tensorboard import EventWriter

                self._events = EventWriter(layout.tensorboard_folder(path, trial))
            self._writer = MetricWriter(
                self._store,
                trial=NO_TRIAL if trial is None else trial,
                attempt=attempt or 0,
                guard=self._guard,
                on_table=self._log_table,
                on_commit=None if self._events is None else self._events.write,
                on_idle=self._heartbeat,
            )
            lifetime.opened(self)
            if owner is not None:
                self._writer.start()
            if self._events is not None and (attempt or 0) > 1:
                self._events.purge(self._highest_step() + 1)  # what earlier attempts did in vain

    @classmethod
    def from_tensorboard(
        cls,
        logdir: str | os.PathLike[str],
        name: str | None = None,
        root: str | os.PathLike[str] = "runs",
    ) -> Self:
        """Make a run of TensorBoard's event files: their scalars and texts.

        Args:
            logdir: The folder of event files; runs in its subfolders begin the names of what they
                hold: ``run1/loss``.
            name: The run's name; by default the folder's.
            root: The folder of all runs.

        Returns:
            The run, completed and open for reading.

        Raises:
            FilesNotFound: There are no event files.
            MissingDependency: TensorBoard is not installed.
        """
        from fireworks.experiment.tensorboard import read_events

        entries = read_events(logdir)
        source = Path(logdir).resolve()
        with cls(name or source.name, root=root, description=f"from {source.name}") as experiment:
            if experiment._writer is not None:
                experiment._writer.put_many(entries)
        return cls.opened(experiment.path, read_index(experiment.path), writing=False)

    # -- what it is -----------------------------------------------------------------------------

    @property
    def path(self) -> Path:
        """The folder, as an absolute path."""
        return self._path

    @property
    def name(self) -> str:
        """The name it was made with."""
        return self._index.name

    @property
    def number(self) -> int:
        """Its number among the runs of its name, from 1."""
        return self._index.number

    @property
    def id(self) -> str:
        """The name of its folder: ``"digits-0007"``."""
        return self._index.id

    @property
    def trial(self) -> int | None:
        """The trial that this object logs to; None where it is no trial's."""
        return self._trial

    @property
    def attempt(self) -> int | None:
        """The attempt, from 1, that this object writes for; None where it is no trial's."""
        return self._attempt

    @property
    def description(self) -> str:
        """The sentence it was made with."""
        return self._index.description

    @property
    def status(self) -> str:
        """One of "running", "completed", "failed", "stopped", "killed" (its owner is gone)."""
        return self._index.status if self._owner is not None else read_index(self._path).status

    @property
    def tags(self) -> tuple[str, ...]:
        """Words to find it by; assignable: ``experiment.tags += ("best",)``."""
        return tuple(self._index.tags)

    @tags.setter
    def tags(self, tags: Iterable[str]) -> None:
        self._require_owner("change the tags")
        words = check_tags(tags)
        with self._store.transaction() as connection:
            write_metadata(connection, {"tags": words})
        self._index.tags = words
        self._write_index()

    @property
    def params(self) -> Parameters:
        """The parameters by name, as a mapping; the owner may change it, or assign another.

        In a trial's own experiment they are the trial's, and only read.
        """
        trial = NO_TRIAL if self._trial is None else self._trial
        with self._reading() as connection:
            values = read_params(connection, trial)
        return Parameters(values, self._write_params)

    @params.setter
    def params(self, parameters: Mapping[str, Any]) -> None:
        self._write_params(parameters)

    def _write_params(self, parameters: Mapping[str, Any]) -> None:
        self._require_owner("change the parameters")
        with self._store.transaction() as connection:
            values = write_parameters(connection, parameters)
        self._index.parameters = values
        self._write_index()

    @property
    def notes(self) -> Notes:
        """What people wrote about it, oldest first; ``experiment.notes.append("…")`` adds one."""
        with self._reading() as connection:
            texts = [text for (text,) in connection.execute("SELECT text FROM notes ORDER BY id")]
        return Notes(texts, self._write_note)

    def _write_note(self, text: str) -> None:
        with self._writable("add a note").transaction() as connection:
            self._guard(connection)
            connection.execute("INSERT INTO notes (time, text) VALUES (?,?)", (time.time(), text))

    @property
    def sweep(self) -> SweepRecord:
        """Where the parent of a sweep records its trials; for the owner only."""
        self._require_owner("record a sweep")
        if self._sweep is None:
            self._sweep = SweepRecord(self._store, self._index, self._write_index)
        return self._sweep

    # -- ending ---------------------------------------------------------------------------------

    def close(self, status: str = "completed") -> None:
        """Commit what was logged and end the run; again: does nothing.

        Args:
            status: "completed", "failed" or "stopped".

        Raises:
            NotRecorded: The last values could not be committed.
            ExperimentInUse: The attempt that this object writes for is over, and values are left.
        """
        if status not in ("completed", "failed", "stopped"):
            raise WrongValue(f"A run ends as 'completed', 'failed' or 'stopped'; got {status!r}.")
        if self._closed or self._writer is None:
            return
        self._closed = True
        lifetime.closed(self)
        writer, self._writer = self._writer, None
        try:
            try:
                writer.close()
            finally:
                if self._events is not None:
                    self._events.close()
                if self._owner is not None:
                    self._end(status)
        finally:
            self._store.close()
            if self._owner is not None:
                self._owner.release()
                self._owner = None

    def give_up(self) -> None:
        """Let go of a run that could not be gone on with, and leave it as it was."""
        self._closed = True
        lifetime.closed(self)
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.close()
        self._store.close()
        if self._owner is not None:
            self._owner.release()
            self._owner = None

    def _end(self, status: str) -> None:
        if status == "completed" and self._sweep is not None and self._sweep.ended_early:
            status = "stopped"
        self._index.status = status
        self._index.ended = time.time()
        with self._store.transaction() as connection:
            write_metadata(connection, {"status": status, "ended": self._index.ended})
            self._index.metrics = last_metrics(connection)
        self._index.write(self._path)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, *_: object) -> None:
        self.close(lifetime.status_after(error))

    def __repr__(self) -> str:
        part = "" if self._trial is None else f", trial {self._trial} attempt {self._attempt}"
        return f"<Experiment {self.id}{part}: {self._path}>"

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle it for another process, which may log to it but does not own it."""
        from fireworks.experiment import opening  # it imports this module

        if self._writer is None:
            return opening.load_experiment, (self._path,)
        return opening.join, (self._path, self._trial, self._attempt, self._durable)

    # -- within ---------------------------------------------------------------------------------

    @property
    def _store(self) -> Store:
        if self._tables is None:
            self._tables = store_of(self._path, self._index.store, durable=self._durable)
        return self._tables

    @property
    def _is_writable(self) -> bool:
        return self._writer is not None

    def _writable(self, what: str) -> Store:
        if self._writer is None:
            raise self._not_writable(what)
        return self._store

    def _not_writable(self, what: str) -> ExperimentReadOnly:
        if self._closed:
            return ExperimentReadOnly(
                f"{self.id!r} is closed: it cannot {what}. "
                f"Go on with it by load_experiment({str(self._path)!r}, write=True)"
            )
        return ExperimentReadOnly(
            f"{self.id!r} was opened for reading: it cannot {what}. "
            f"Open it with load_experiment({str(self._path)!r}, write=True)"
        )

    def _require_owner(self, what: str) -> None:
        self._writable(what)
        if self._owner is None:
            raise ExperimentReadOnly(
                f"Only the process that owns {self.id!r} may {what}; "
                "this one may log and write files."
            )

    def _guard(self, connection: Connection) -> None:
        if self._trial is not None:
            require_running(connection, self._trial, self._attempt or 0)

    def check_attempt(self, what: str) -> None:
        """Check that this object may write; ``what`` it is about to do goes into the message.

        Raises:
            ExperimentReadOnly: It was opened for reading, or is closed.
            ExperimentInUse: It writes for an attempt that is no longer the current one.
        """
        with self._writable(what).transaction() as connection:
            self._guard(connection)

    def _heartbeat(self) -> None:
        if self._owner is not None:
            self._owner.heartbeat()
            self._refresh_index()

    def _refresh_index(self, *, now: bool = False) -> None:
        behind = time.monotonic() - self._index_written
        if self._owner is None or (behind < _INDEX_SECONDS and not now):
            return
        with self._reading() as connection:
            self._index.metrics = last_metrics(connection)
        self._write_index()

    def _write_index(self) -> None:
        with self._store.lock:  # the background thread writes it as well
            self._index.write(self._path)
            self._index_written = time.monotonic()

    def resume(self) -> None:
        """Note that the run goes on; ``load_experiment(path, write=True)`` does it."""
        self._index.status, self._index.ended = "running", None
        with self._store.transaction() as connection:
            write_metadata(connection, {"status": "running", "ended": None})
        self._write_index()

    def before_fork(self) -> None:
        """Prepare for a fork of this process: no connection of SQLite may be open across it."""
        self._store.suspend()

    def after_fork(self) -> None:
        """Go on in the process that has forked."""
        self._store.resume()

    def after_fork_in_child(self) -> None:
        """Go on in the child, which may log, but owns nothing."""
        if self._owner is not None:
            self._owner.release()
            self._owner = None
        self._store.renew()
        if self._writer is not None:
            self._writer.abandon()
