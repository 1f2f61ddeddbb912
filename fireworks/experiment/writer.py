"""The buffered background writer: logging costs the caller microseconds, and loses nothing."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, final

from fireworks.errors import FireworksError, NotRecorded, WrongType, WrongValue
from fireworks.experiment.media import MEDIA, Encoded
from fireworks.experiment.scalar import DeviceScalar, is_message, scalar
from fireworks.record.json_values import check_unicode
from fireworks.record.owner import HEARTBEAT_SECONDS
from fireworks.record.rewinding import advance
from fireworks.record.store import Connection, Curve, Store

COMMITTED_WITHIN = 0.09  # seconds after log(), about: of which the commit takes its part
SHORTEST_PAUSE = 0.05  # seconds, however long commits take: else they would be all that is done
FULL_QUEUE = 16_384  # log() calls; then the caller commits them itself instead of queueing more
_CALLS_PER_TRANSACTION = 2_048  # keeps each transaction short for the other processes

_now = time.time  # one look-up less in a call that counts microseconds

_INSERT_MEDIA = (
    "INSERT INTO media (trial, name, step, seq, attempt, kind, data, time) "
    "VALUES (?,?,?,?,?,?,?,?) ON CONFLICT (trial, name, step) DO UPDATE SET seq = excluded.seq, "
    "attempt = excluded.attempt, kind = excluded.kind, data = excluded.data, time = excluded.time"
)

Guard = Callable[[Connection], None]
Entry = tuple[int, dict[str, Any], float]
Columns = tuple[Sequence[int], Sequence[int], Sequence[float], Sequence[float]]


@final
class MetricWriter:
    """Queues what is logged and commits it in the background.

    ``put`` is for any thread. The queue is bounded: when it is full, the caller commits it. A
    batch that could not be committed stays in the queue and is tried again; while it fails, ``put``
    and ``flush`` raise its error.

    Args:
        store: Where to commit.
        trial: The trial whose metrics these are, -1 for none.
        attempt: The attempt that writes them, 0 for none.
        guard: Called at the beginning of each transaction; it raises to refuse it.
        on_table: Called with the name, the Message and the step of a table that is logged.
        on_commit: Called with each batch that was committed.
        on_idle: Called by the background thread now and then (about every ten seconds).
    """

    def __init__(
        self,
        store: Store,
        *,
        trial: int,
        attempt: int,
        guard: Guard,
        on_table: Callable[[str, Any, int], None],
        on_idle: Callable[[], None],
        on_commit: Callable[[list[Entry]], None] | None = None,
    ) -> None:
        self._store = store
        self._trial = trial
        self._attempt = attempt
        self._guard = guard
        self._on_table = on_table
        self._on_idle = on_idle
        self._on_commit = on_commit
        self._queue: deque[Entry] = deque()
        self._names: set[str] = set()  # names that passed the check
        self._series: dict[str, int] = {}
        self._error: BaseException | None = None  # to be raised by the next call
        self._any_on_device = False
        self._any_media = False
        self._unread: NotRecorded | None = None  # a device's value that was left out, to be told
        self._refusal: BaseException | None = None  # of the guard: no later batch can succeed
        self._thread: threading.Thread | None = None
        self._idle = True
        self._wake = threading.Event()
        self._closed = threading.Event()

    def put(self, step: int, values: dict[str, Any]) -> None:
        """Queue the values of one ``log`` call; ``values`` belongs to the writer from now on.

        Raises:
            WrongType, WrongValue: A name or value that is no metric's; nothing was queued.
            Exception: What kept an earlier batch from being committed.
        """
        if self._error is not None:
            self._raise()
        if not self._names.issuperset(values):
            self._check_names(values)
        for value in values.values():
            if type(value) is not float:
                self._convert(step, values)
                break
        queue = self._queue
        if len(queue) >= FULL_QUEUE:
            self.flush()
        queue.append((step, values, _now()))
        if self._idle:
            if self._thread is None:
                self.start()
            self._wake.set()

    def put_many(self, entries: list[Entry]) -> None:
        """Queue many calls at once, of checked values, and commit them."""
        if self._error is not None:
            self._raise()
        for _, values, _ in entries:
            self._check_names(values)
        self._any_on_device = self._any_media = True  # perhaps: it is looked up
        self._queue.extend(entries)
        self.flush()

    def flush(self) -> None:
        """Commit all that was queued; on return it is in the database.

        Raises:
            Exception: What keeps it from being committed. It stays queued.
        """
        if self._refusal is not None:
            self._raise()
        self._commit_queue()
        if self._unread is not None:
            self._raise()

    def _commit_queue(self) -> None:
        with self._store.lock:  # one committer at a time: what is queued first is committed first
            self._error = self._unread
            left = len(self._queue)  # what others add meanwhile is not ours to wait for
            while left > 0:
                left -= self._commit_batch(min(left, _CALLS_PER_TRANSACTION))

    def start(self) -> None:
        """Start the background thread, if it does not run yet."""
        with self._store.lock:
            if self._thread is None and not self._closed.is_set():
                self._thread = threading.Thread(
                    target=self._run, name="fireworks-experiment", daemon=True
                )
                self._thread.start()

    def close(self) -> None:
        """End the thread and commit what is queued.

        Raises:
            Exception: What keeps the rest from being committed.
        """
        self._closed.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        if self._refusal is None or self._queue:
            self.flush()

    def abandon(self) -> None:
        """In a forked child: begin anew; what is queued belongs to the parent."""
        self._queue.clear()
        self._series.clear()
        self._error = None
        self._thread = None
        self._idle = True
        self._wake = threading.Event()
        self._closed = threading.Event()

    def _convert(self, step: int, values: dict[str, Any]) -> None:
        found: dict[str, Any] = {}
        for name, value in values.items():
            if type(value) is float:
                continue
            if type(value) in MEDIA:
                values[name] = value.encoded
                self._any_media = True
            elif is_message(value):
                found[name] = value
            else:
                values[name] = number = scalar(name, value)
                self._any_on_device |= type(number) is DeviceScalar
        for name, rows in found.items():
            del values[name]
            self._on_table(name, rows, step)

    def _check_names(self, values: Mapping[str, Any]) -> None:
        for name in values:
            if not isinstance(name, str):
                raise WrongType(
                    f"A metric's name must be a string; got {type(name).__name__}: {name!r}."
                )
            if not name.strip() or "\0" in name:
                raise WrongValue(f"A metric's name is empty or holds a NUL character: {name!r}.")
            check_unicode(name, what="A metric's name")
        self._names.update(values)

    def _raise(self) -> None:
        error = self._refusal or self._error or self._unread
        assert error is not None
        self._error, self._unread = self._refusal, None
        raise error

    def _commit_batch(self, count: int) -> int:
        batch: list[Entry] = []
        try:
            for _ in range(count):
                batch.append(self._queue.popleft())
            # Before the transaction, for whose end the other processes wait.
            unread = _read_from_devices(batch) if self._any_on_device else None
            with self._store.transaction() as connection:
                self._check_guard(connection)
                self._insert(connection, batch)
        except BaseException:
            self._series.clear()  # ids that this transaction made are undone with it
            self._queue.extendleft(reversed(batch))
            raise
        if unread is not None:
            self._error = self._unread = unread
        if self._on_commit is not None:
            self._on_commit(batch)
        return count

    def _check_guard(self, connection: Connection) -> None:
        try:
            self._guard(connection)
        except FireworksError as error:
            self._error = self._refusal = error
            raise

    def _insert(self, connection: Connection, batch: list[Entry]) -> None:
        first = advance(connection, len(batch)) - len(batch) + 1
        seqs = range(first, first + len(batch))
        if self._any_media:
            batch = [
                (step, self._without_media(connection, step, seq, values, when), when)
                for seq, (step, values, when) in zip(seqs, batch, strict=True)
            ]
        curves = [
            Curve(self._series_id(connection, name), *columns)
            for name, columns in _curves(batch, seqs).items()
        ]
        connection.write_metrics(curves, self._attempt)

    def _without_media(
        self,
        connection: Connection,
        step: int,
        seq: int,
        values: dict[str, Any],
        when: float,
    ) -> dict[str, Any]:
        """Write what is no number to its own table and return the numbers."""
        numbers: dict[str, Any] = {}
        for name, value in values.items():
            if type(value) is Encoded:
                key = (self._trial, name, step, seq, self._attempt)
                connection.execute(_INSERT_MEDIA, (*key, value.kind, value.data, when))
            else:
                numbers[name] = value
        return numbers

    def _series_id(self, connection: Connection, name: str) -> int:
        number = self._series.get(name)
        if number is None:
            key = (self._trial, name)
            connection.execute(
                "INSERT INTO series (trial, name) VALUES (?,?) "
                "ON CONFLICT (trial, name) DO NOTHING",
                key,
            )
            row = connection.execute("SELECT id FROM series WHERE trial = ? AND name = ?", key)
            number = self._series[name] = row.fetchone()[0]
        return number

    def _run(self) -> None:
        self._idle = False
        called = time.monotonic()
        was_empty = False
        took = 0.0
        while not self._closed.is_set():
            self._closed.wait(max(COMMITTED_WITHIN - took, SHORTEST_PAUSE))
            if self._queue and self._refusal is None:
                was_empty = False
                began = time.monotonic()
                self._in_background(self._commit_queue)
                took = time.monotonic() - began
            elif not was_empty:  # once is no pause yet, and to be woken costs the caller
                was_empty = True
            else:
                self._idle = True
                # A caller may have appended before it could see that: look again.
                if not self._queue or self._refusal is not None:
                    self._wake.wait(HEARTBEAT_SECONDS)
                self._wake.clear()
                self._idle = False
            if time.monotonic() - called >= HEARTBEAT_SECONDS:
                called = time.monotonic()
                self._in_background(self._on_idle)

    def _in_background(self, work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as error:
            self._error = error  # raised by the next call
            self._closed.wait(COMMITTED_WITHIN)


def _read_from_devices(batch: list[Entry]) -> NotRecorded | None:
    """Replace tensors by their numbers; leave out, and report, what its device does not give."""
    failure: NotRecorded | None = None
    for step, values, _ in batch:
        for name, value in list(values.items()):
            if type(value) is DeviceScalar:
                try:
                    values[name] = value.read()
                except Exception as error:  # a device that failed keeps failing: not to be retried
                    del values[name]
                    failure = NotRecorded(
                        f"The metric {name!r} of step {step} could not be read from its device and "
                        f"was left out: {error}"
                    )
    return failure


def _curves(batch: list[Entry], seqs: range) -> dict[str, Columns]:
    """The values of each metric as columns: steps, seqs, values, times, in the order of the calls.

    A loop logs the same names in most calls: all calls with the same names become columns at once.
    """
    alike: dict[tuple[str, ...], list[tuple[int, Entry]]] = {}
    for numbered in zip(seqs, batch, strict=True):
        alike.setdefault(tuple(numbered[1][1]), []).append(numbered)
    found: dict[str, Columns] = {}
    for names, calls in alike.items():
        steps = [entry[0] for _, entry in calls]
        times = [entry[2] for _, entry in calls]
        positions = [seq for seq, _ in calls]
        columns = zip(*[entry[1].values() for _, entry in calls], strict=True)
        for name, values in zip(names, columns, strict=True):
            new: Columns = (steps, positions, values, times)
            found[name] = _merged(found[name], new) if name in found else new
    return found


def _merged(a: Columns, b: Columns) -> Columns:
    rows = sorted([*zip(*a, strict=True), *zip(*b, strict=True)], key=lambda row: row[1])
    steps, seqs, values, times = zip(*rows, strict=True)
    return steps, seqs, values, times
