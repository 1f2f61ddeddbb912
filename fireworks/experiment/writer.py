"""The buffered background writer: logging costs the caller microseconds, and loses nothing."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, final

from fireworks.errors import FireworksError, NotRecorded, WrongType, WrongValue
from fireworks.experiment.media import MEDIA, Encoded
from fireworks.experiment.scalar import DeviceScalar, is_message, scalar
from fireworks.record.json_values import check_unicode
from fireworks.record.owner import HEARTBEAT_SECONDS
from fireworks.record.store import Store

GATHER_SECONDS = 0.075  # and the commit itself: what is logged is committed within 100 ms
FULL_QUEUE = 16_384  # log() calls; then the caller commits them itself instead of queueing more
_CALLS_PER_TRANSACTION = 2_048  # keeps each transaction short for the other processes

_COLUMNS = 6


def _of_many(statement: str, columns: int, after: str = "") -> list[tuple[int, str]]:
    """A statement for 256 rows, one for 128 … one for one, with their numbers of rows.

    sqlite3 gives up the GIL once per statement and row of ``executemany``, and a training loop that
    computes in Python keeps it for five milliseconds each time: the fewer, the sooner it is
    committed.
    """
    row = f"({','.join('?' * columns)})"
    sizes = [2**i for i in range(8, -1, -1)]
    return [(size, f"{statement} VALUES {','.join([row] * size)}{after}") for size in sizes]


_INSERT = _of_many("INSERT OR REPLACE INTO metrics", _COLUMNS)
_UPDATE_LATEST = _of_many(
    "INSERT INTO latest",
    3,
    " ON CONFLICT (series) DO UPDATE SET step = excluded.step, value = excluded.value "
    "WHERE excluded.step >= latest.step",
)
_INSERT_MEDIA = (
    "INSERT OR REPLACE INTO media (trial, name, step, seq, attempt, kind, data, time) "
    "VALUES (?,?,?,?,?,?,?,?)"
)

Guard = Callable[[sqlite3.Connection], None]
Entry = tuple[int, dict[str, Any], float]


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
        if len(self._queue) >= FULL_QUEUE:
            self.flush()
        self._queue.append((step, values, time.time()))
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

    def _check_guard(self, connection: sqlite3.Connection) -> None:
        try:
            self._guard(connection)
        except FireworksError as error:
            self._error = self._refusal = error
            raise

    def _insert(self, connection: sqlite3.Connection, batch: list[Entry]) -> None:
        (seq,) = connection.execute(
            "SELECT CAST(value AS INTEGER) FROM metadata WHERE key = 'seq'"
        ).fetchone()
        attempt = self._attempt
        # Grouped as the table is clustered: neighbours go to the same page.
        grouped: dict[str, list[Any]] = {}
        for step, values, when in batch:
            seq += 1
            if self._any_media:
                values = self._without_media(connection, step, seq, values, when)
            for name, value in values.items():
                if name not in grouped:
                    grouped[name] = []
                    if name not in self._series:
                        self._series[name] = self._series_id(connection, name)
                grouped[name] += (self._series[name], step, seq, attempt, value, when)
        names = sorted(grouped, key=lambda each: self._series[each])
        rows = [field for name in names for field in grouped[name]]
        _execute_many(connection, _INSERT, _COLUMNS, rows)
        latest = [field for each in grouped.values() for field in _highest(each)]
        _execute_many(connection, _UPDATE_LATEST, 3, latest)
        connection.execute("UPDATE metadata SET value = ? WHERE key = 'seq'", (str(seq),))

    def _without_media(
        self,
        connection: sqlite3.Connection,
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

    def _series_id(self, connection: sqlite3.Connection, name: str) -> int:
        key = (self._trial, name)
        connection.execute("INSERT OR IGNORE INTO series (trial, name) VALUES (?,?)", key)
        row = connection.execute("SELECT id FROM series WHERE trial = ? AND name = ?", key)
        return row.fetchone()[0]

    def _run(self) -> None:
        called = time.monotonic()
        while not self._closed.is_set():
            if self._queue and self._refusal is None:
                self._closed.wait(GATHER_SECONDS)
                self._in_background(self._commit_queue)
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
            self._closed.wait(GATHER_SECONDS)


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


def _execute_many(
    connection: sqlite3.Connection,
    statements: list[tuple[int, str]],
    columns: int,
    fields: list[Any],
) -> None:
    """Write rows, given one after the other, with as few statements as can be."""
    start = 0
    for size, statement in statements:
        width = size * columns
        while len(fields) - start >= width:
            connection.execute(statement, fields[start : start + width])
            start += width


def _highest(rows: list[Any]) -> tuple[int, int, float]:
    """The series, step and value of the highest step in a series' rows, the last of equals."""
    steps = rows[1::_COLUMNS]
    highest = max(steps)
    last = len(steps) - 1 - steps[::-1].index(highest)
    return rows[0], highest, rows[last * _COLUMNS + 4]
