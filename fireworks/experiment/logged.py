"""What is logged: values at steps, and positions of the record to which a run can go back."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from fireworks.errors import ExperimentReadOnly, WrongType, WrongValue
from fireworks.experiment import frames, tables
from fireworks.experiment.contents import Contents
from fireworks.experiment.steps import Steps
from fireworks.experiment.writer import MetricWriter
from fireworks.record.rewinding import advance, position, rewind
from fireworks.record.schema import NO_TRIAL

if TYPE_CHECKING:
    from fireworks.experiment.tensorboard import EventWriter
    from fireworks.message import Message


class Logged(Contents):
    """The log of an experiment; ``Experiment`` adds who owns it, and how it begins and ends."""

    _writer: MetricWriter | None
    _events: EventWriter | None
    _steps: Steps
    _durable: bool

    @abstractmethod
    def _not_writable(self, what: str) -> ExperimentReadOnly:
        """The refusal of ``what`` this object was asked to do."""

    @abstractmethod
    def _require_owner(self, what: str) -> None:
        """Refuse, if another process owns the run, ``what`` only its owner may do."""

    @abstractmethod
    def _refresh_index(self, *, now: bool = False) -> None:
        """Bring the last metrics in experiment.json up to date, not more often than needed."""

    def log(
        self, mapping: Mapping[str, Any] | None = None, /, *, step: int | None = None, **more: Any
    ) -> None:
        """Record the values of metrics at a step; takes microseconds, for any thread.

        Args:
            mapping: Values by name, for names that are no identifiers: ``{"train/loss": 0.3}``.
                Python and NumPy numbers and zero-dimensional tensors, which are detached; NaN is
                kept. The mapping may be reused afterwards.
            step: The step; a later value at the same step replaces the earlier one. Left out,
                it is one past the highest step logged so far (from 0).
            **more: Further values by name.

        Raises:
            WrongType: A value is None, a string, an array or the like. Nothing is recorded.
            ExperimentReadOnly: The experiment is closed or was opened for reading.
            ExperimentInUse: The attempt that this object writes for is over.
            NotRecorded: Earlier values cannot be committed (the disk is full); they are kept and
                tried again.
        """
        writer = self._writer
        if writer is None:
            raise self._not_writable("log")
        if type(mapping) is dict and not more:
            values = mapping.copy()
        elif mapping is None:
            values = more
        else:
            try:
                values = {**mapping, **more}
            except TypeError:
                raise WrongType(
                    f"log() takes a mapping of names to numbers; got {type(mapping).__name__}: "
                    f"{mapping!r:.60}. For example: log({{'train/loss': 0.3}}, step=1)"
                ) from None
        steps = self._steps
        # Here, and not in a call: what a loop of heavy steps finds in no cache is what costs.
        if steps.counting or type(step) is not int or not -(2**63) < step < 2**63 - 1:
            step = steps.checked(step)
        writer.put(step, values)
        if self._durable:
            writer.flush()

    def log_many(self, frame: Any) -> None:
        """Record many values at once, and commit them.

        Args:
            frame: A table with a column ``step`` and one column of numbers for each metric: a
                DataFrame, a Message, or a mapping of names to sequences of one length.

        Raises:
            WrongValue: There is no column ``step``, or the lengths differ.
            WrongType: A value is not a number. Nothing is recorded.
        """
        writer = self._writer
        if writer is None:
            raise self._not_writable("log")
        writer.put_many(frames.calls_of(frame, self._steps))

    def _highest_step(self) -> int:
        trial = NO_TRIAL if self.trial is None else self.trial
        self.flush()
        with self._store.transaction() as connection:  # to connect anew for it takes far longer
            (highest,) = connection.execute(
                "SELECT max(step) FROM latest JOIN series ON series.id = series WHERE trial = ?",
                (trial,),
            ).fetchone()
        return -1 if highest is None else highest

    def _log_table(self, name: str, rows: Message, step: int) -> None:
        """Write the rows of a Message that was logged, and commit them."""
        store = self._store
        described = tables.create(store, tables.check_table_name(name), rows, logged=True)
        trial = NO_TRIAL if self.trial is None else self.trial
        with store.transaction() as connection:
            self._guard(connection)
            seq = advance(connection)
            tables.write(store, connection, described, rows, trial=trial, seq=seq, step=step)

    def mark(self) -> int:
        """Commit all that was logged and return the position of the record.

        A checkpoint keeps it: ``load_experiment(path, write=True, position=…)`` (or, for a trial,
        ``sweep.start_attempt(…, position=…)``) then deletes what was recorded after it, so that
        what is done again is not there twice.
        """
        self.flush()
        with self._writable("mark a position").transaction() as connection:
            self._guard(connection)
            return advance(connection)  # rows of user tables written so far count as before it

    def rewind(self, seq: int) -> None:
        """Delete what the run itself recorded after a position that ``mark`` returned.

        That is metrics, media, artifacts' rows and rows of the user's tables, in one transaction.

        Raises:
            WrongValue: It is no position of this record.
            ExperimentReadOnly: This process does not own the run.
        """
        self._require_owner("rewind")
        self.flush()
        with self._store.transaction() as connection:
            if (
                isinstance(seq, bool)
                or not isinstance(seq, int)
                or not 0 <= seq <= position(connection)
            ):
                raise WrongValue(
                    f"{seq!r} is no position of this record, which is at {position(connection)}."
                )
            rewind(connection, NO_TRIAL, seq)
        self._steps = Steps(self._highest_step)
        if self._events is not None:
            self._events.purge(self._highest_step() + 1)
        self._refresh_index(now=True)

    def flush(self) -> None:
        """Commit all that was logged; on return it is in the database.

        Raises:
            NotRecorded: The disk is full or failed. What was logged is kept and tried again.
            ExperimentInUse: The attempt that this object writes for is over.
        """
        if self._writer is not None:
            self._writer.flush()
            self._refresh_index()

    def _before_reading(self) -> None:
        if self._writer is not None:
            self._writer.flush()
