"""The MessageCache: a bounded store of rows that is read as a Message."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Any

import numpy as np

from fireworks.cache.admission import Plan, plan_insertion
from fireworks.cache.arguments import as_ids, check_limits
from fireworks.cache.id_map import ABSENT
from fireworks.cache.policies import make_policy
from fireworks.cache.slot_table import SlotTable
from fireworks.cache.spill import Spill
from fireworks.cache.stats import CacheStats
from fireworks.cache.store import Store
from fireworks.errors import CacheFull, RowsNotCached, WrongLength, WrongValue
from fireworks.message import Message, concat
from fireworks.message.rows import Rows, last_of_each

Int64Array = np.ndarray[Any, np.dtype[np.int64]]
BoolArray = np.ndarray[Any, np.dtype[np.bool_]]

_FIRST_SLOTS = 1024  # where the number of rows is not bounded
_MOST_AT_ONCE = 1 << 20  # a limit above it is approached by doubling, should it ever be needed


class MessageCache:
    """Rows by id (any int64), in one preallocated block per column.

    The first rows stored decide the columns, dtypes and shapes. Insertion overwrites the slots of
    the rows that leave; nothing is ever deleted and concatenated. What is read is a copy. All
    methods may be called from several threads at once; each is atomic.

        cache = MessageCache(max_rows=10_000, policy="lru")
        cache[ids] = message
        batch = cache.fetch(ids, read=source.read)     # what is missing is read and stored

    Args:
        max_rows: How many rows to hold in memory at the most.
        max_bytes: How many bytes their values may take; strings, ragged and object cells count
            with their own sizes.
        policy: Which rows make room: ``"lru"``, ``"lfu"`` (aged), ``"fifo"``, ``"random"``,
            ``"keep"`` (none: what does not fit is not stored), ``"forecast"`` (those needed
            furthest in the future, see `will_need`), or ``"unbounded"`` (no limit).
        seed: Of ``"random"``.
        spill: A folder for rows that leave memory. They stay readable, and come back to memory
            when they are read. A folder of the cache's own in it is removed by `close`.
        rereadable: Whether rows can be read again from where they came. If not, and without
            ``spill``, an insertion that would make rows leave fails instead.

    Raises:
        WrongValue: Unknown policy; no limit, or one for ``"unbounded"``; a limit below 1.
    """

    def __init__(
        self,
        max_rows: int | None = None,
        *,
        max_bytes: int | None = None,
        policy: str = "lru",
        seed: int = 0,
        spill: str | os.PathLike[str] | None = None,
        rereadable: bool = True,
    ) -> None:
        self._policy = make_policy(policy, seed)
        check_limits(max_rows, max_bytes, policy)
        self.policy = policy
        self.max_rows = max_rows
        self.max_bytes = max_bytes
        self._seed = seed
        self._rereadable = rereadable
        self._lock = threading.RLock()
        self._spill = Spill(spill) if spill is not None else None
        self._store: Store | None = None
        self._table = SlotTable()
        self._full_at: int | None = None  # so many rows, and each that comes replaces another
        self._hits = self._misses = self._insertions = self._evictions = self._refused = 0

    # Asking

    def __len__(self) -> int:
        """How many rows can be read, in memory or spilled."""
        with self._lock:
            return self._table.rows + (len(self._spill) if self._spill is not None else 0)

    def __contains__(self, ids: object) -> bool:
        return bool(self.contains(ids).all())

    def contains(self, ids: Any) -> BoolArray:
        """Whether each row is there."""
        wanted = as_ids(ids)
        with self._lock:
            present = self._table.find(wanted) != ABSENT
            if self._spill is not None:
                present |= self._spill.has(wanted)
            return present

    def missing(self, ids: Any) -> Int64Array:
        """Those of the ids that are not there, each once, in their order."""
        wanted = as_ids(ids)
        absent = wanted[~self.contains(wanted)]
        _, first = np.unique(absent, return_index=True)
        return absent[np.sort(first)]

    @property
    def ids(self) -> Int64Array:
        """The ids of all rows, in increasing order."""
        with self._lock:
            held = self._table.ids[self._table.used]
            if self._spill is not None:
                held = np.concatenate([held, self._spill.ids])
            return np.sort(held)

    @property
    def message(self) -> Message:
        """All rows in the order of `ids`, copied; no use of them is counted."""
        with self._lock:
            return self._read(self.ids)

    @property
    def stats(self) -> CacheStats:
        """Hits, misses, insertions, evictions and bytes."""
        with self._lock:
            spilled = len(self._spill) if self._spill is not None else 0
            return CacheStats(
                hits=self._hits,
                misses=self._misses,
                insertions=self._insertions,
                evictions=self._evictions,
                refused=self._refused,
                rows=self._table.rows,
                bytes=self._table.bytes,
                spilled=spilled,
            )

    def search(self, **values: Any) -> Int64Array:
        """The ids of the rows whose columns have the given values, in increasing order.

        Args:
            **values: A value for each column to be compared, all of which must agree.

        Raises:
            ColumnNotFound: The rows have no such column.
        """
        with self._lock:
            ids = self.ids
            rows = self.message
        found = np.ones(len(ids), bool)
        for name, value in values.items():
            found &= np.asarray(rows[name] == value, bool)
        return ids[found]

    # Reading

    def __getitem__(self, ids: Any) -> Message:
        wanted = as_ids(ids)
        with self._lock:
            slots = self._table.slots_of(wanted)
            if slots is not None and self._store is not None:
                self._hits += len(wanted)
                self._policy.read(slots, wanted)
                return self._store.read(Rows(slots))
            slots = self._table.find(wanted)
            absent = slots == ABSENT
            if self._spill is not None:
                absent[absent] = ~self._spill.has(wanted[absent])
            if absent.any():
                self._hits += int((~absent).sum())
                self._misses += int(absent.sum())
                shown = ", ".join(str(each) for each in np.unique(wanted[absent])[:5])
                raise RowsNotCached(
                    f"{int(absent.sum())} of {len(wanted)} rows are not in the cache: {shown}"
                    f"{', …' if absent.sum() > 5 else ''}. `missing` tells which are not, `fetch` "
                    f"reads them."
                )
            self._hits += len(wanted)
            rows = self._read(wanted)
            self._use(wanted, slots)
            return rows

    def lookup(self, ids: Any) -> tuple[Message, BoolArray]:
        """The rows that are there, and for each id whether it is; atomic, and counted.

        Returns:
            The rows found, in the order of their ids, and a mask over ``ids``.
        """
        wanted = as_ids(ids)
        with self._lock:
            present = self.contains(wanted)
            found = wanted[present]
            rows = self[found]
            absent = wanted[~present]
            self._misses += len(absent)
            if len(absent):
                self._policy.missed(absent)
            return rows, present

    def fetch(self, ids: Any, read: Callable[[Int64Array], Message]) -> Message:
        """The rows of ids; those that are missing are read, and stored where the policy allows.

        Args:
            ids: Row ids, any of them several times.
            read: Gets the missing ids, each once, and returns their rows. It is called without the
                lock: other threads go on meanwhile.

        Raises:
            WrongLength: ``read`` returned another number of rows.
        """
        wanted = as_ids(ids)
        rows, present = self.lookup(wanted)
        if present.all():
            return rows
        absent, back = np.unique(wanted[~present], return_inverse=True)
        fresh = read(absent)
        self[absent] = fresh
        if not present.any():
            return fresh.take(back)
        order = np.empty(len(wanted), np.int64)
        order[present] = np.arange(len(rows))
        order[~present] = len(rows) + back
        return concat([rows, fresh]).take(order)

    def _read(self, ids: Int64Array) -> Message:
        """Rows that are there, in memory or spilled; no use is counted."""
        if self._store is None:
            return Message()
        slots = self._table.find(ids)
        inside = slots != ABSENT
        rows = self._store.read(Rows(slots[inside]))
        if inside.all():
            return rows
        assert self._spill is not None
        spilled = self._spill.read(ids[~inside])
        order = np.empty(len(ids), np.int64)
        order[inside] = np.arange(len(rows))
        order[~inside] = len(rows) + np.arange(len(spilled))
        return concat([rows, spilled]).take(order)

    def _use(self, ids: Int64Array, slots: Int64Array) -> None:
        """Count the use of rows, and bring those that are spilled back to memory."""
        inside = slots != ABSENT
        self._policy.read(slots[inside], ids[inside])
        if not inside.all():
            spilled = np.unique(ids[~inside])
            self._insert(spilled, self._read(spilled), counted=False)

    # Storing

    def __setitem__(self, ids: Any, rows: Any) -> None:
        given = as_ids(ids)
        message = rows if isinstance(rows, Message) else Message(rows)
        if len(message) != len(given):
            raise WrongLength(f"{len(given)} ids were given for {len(message)} rows.")
        if not len(given):
            return
        if np.count_nonzero(given[1:] <= given[:-1]):  # cheaper than looking for doubles
            last = last_of_each(given)
            if last is not None:  # the last row of an id counts
                last.sort()
                given, message = given[last], message.take(last)
        with self._lock:
            self._insert(given, message)

    def _insert(self, ids: Int64Array, message: Message, *, counted: bool = True) -> None:
        """Store rows, each id once. Everything that can fail comes before the first change."""
        store = self._store or Store(message)
        store.check(message)
        table = self._table
        if self._replace(store, ids, message):
            return
        slots = table.find(ids)
        sizes = store.sizes(message)
        plan = plan_insertion(
            ids, slots, sizes, table, self._policy, self._capacity(store), self.max_bytes
        )
        self._check_silent(plan, ids)
        self._make_room(store, table.rows - len(plan.victims) + len(plan.fresh))
        if self._spill is not None:
            # Rows that come back from the spill and find no room stay there.
            refused = plan.refused if counted else plan.refused[:0]
            self._spill_rows(store, plan.victims, ids[refused], message.take(refused))
        self._store = store
        leaving = np.concatenate([plan.victims, slots[plan.dropped]])
        if len(leaving):
            self._release(leaving)
            self._evictions += len(leaving)
        if counted:
            self._refused += len(plan.refused)
        if len(plan.fresh):
            slots[plan.fresh] = table.occupy(ids[plan.fresh], sizes[plan.fresh])
        if len(plan.overwritten):
            table.resized(slots[plan.overwritten], sizes[plan.overwritten])
        if len(plan.stored) == len(ids):
            store.write(slots, message)
        elif len(plan.stored):
            store.write(slots[plan.stored], message.take(plan.stored))
        if len(plan.fresh):
            self._policy.inserted(slots[plan.fresh], ids[plan.fresh])
        if len(plan.overwritten):
            self._policy.read(slots[plan.overwritten], ids[plan.overwritten])
        if counted:
            self._insertions += len(plan.fresh)
        if self._spill is not None:
            self._spill.remove(ids[plan.stored])

    def _replace(self, store: Store, ids: Int64Array, message: Message) -> bool:
        """Write new rows over as many that leave: the ordinary insertion into a full cache."""
        table = self._table
        if table.rows != self._full_at or not table.lacks(ids):
            return False
        victims = self._policy.victims(len(ids), table.evictable)
        if len(victims) != len(ids):
            return False
        table.replace(victims, ids)
        store.write(victims, message)
        self._policy.replaced(victims, ids)
        self._insertions += len(ids)
        self._evictions += len(ids)
        return True

    def _capacity(self, store: Store) -> int | None:
        """How many rows there may be in memory, where that is known; checks that one fits."""
        if self.max_bytes is None or not store.fixed:
            return self.max_rows
        rows = self.max_bytes // max(1, store.row_bytes)
        if not rows:
            raise WrongValue(
                f"max_bytes={self.max_bytes} cannot hold a row of {store.row_bytes} bytes."
            )
        return rows if self.max_rows is None else min(rows, self.max_rows)

    def _make_room(self, store: Store, rows: int) -> None:
        table = self._table
        capacity = self._capacity(store)
        if rows > store.slots:
            # What is not written takes no memory yet, and to copy the rows later would.
            slots = max(rows, 2 * store.slots, _FIRST_SLOTS)
            if capacity is not None:
                slots = min(capacity, max(slots, _MOST_AT_ONCE))
            store.resize(slots)
        if rows > table.slots:
            slots = min(store.slots, max(rows, 2 * table.slots, _FIRST_SLOTS))
            table.resize(slots)
            self._policy.resize(slots)
            ordinary = store.fixed and self._rereadable and self._spill is None
            if ordinary and not self._policy.selective:
                self._full_at = capacity

    def _check_silent(self, plan: Plan, ids: Int64Array) -> None:
        """No row that cannot be read again leaves, or stays out, without a word."""
        lost = len(plan.victims) + len(plan.refused) + len(plan.dropped)
        if lost and not self._rereadable and self._spill is None:
            raise CacheFull(
                f"{len(ids)} rows do not fit: {lost} rows would be lost, and they cannot be read "
                f"again. Give the cache more room, or a `spill` folder, or delete rows first."
            )

    def _spill_rows(
        self, store: Store, victims: Int64Array, refused: Int64Array, rows: Message
    ) -> None:
        """Write what leaves memory, and what never comes there, in one file: all or nothing."""
        assert self._spill is not None
        leaving = [store.read(Rows(victims))] if len(victims) else []
        if len(refused):
            leaving.append(rows)
        if leaving:
            self._spill.add(np.concatenate([self._table.ids[victims], refused]), concat(leaving))

    def _release(self, slots: Int64Array) -> None:
        assert self._store is not None
        self._policy.removed(slots)
        self._table.release(slots)
        self._store.clear(Rows(slots))

    # Removing

    def __delitem__(self, ids: Any) -> None:
        wanted = np.unique(as_ids(ids))
        with self._lock:
            absent = self.missing(wanted)
            if len(absent):
                raise RowsNotCached(
                    f"{len(absent)} of the rows to delete are not in the cache: "
                    f"{', '.join(str(each) for each in absent[:5])}"
                    f"{', …' if len(absent) > 5 else ''}. Nothing was deleted."
                )
            slots = self._table.find(wanted)
            inside = slots[slots != ABSENT]
            if len(inside):
                self._release(inside)
            if self._spill is not None:
                self._spill.remove(wanted)

    def clear(self) -> None:
        """Forget all rows, pins and announcements; the counts of `stats` go on."""
        with self._lock:
            self._table = SlotTable()
            self._full_at = None
            self._store = None
            self._policy = make_policy(self.policy, self._seed)
            if self._spill is not None:
                self._spill.remove(self._spill.ids)

    def close(self) -> None:
        """Forget all rows and remove what was spilled."""
        with self._lock:
            self.clear()
            if self._spill is not None:
                self._spill.close()

    # Keeping

    def pin(self, ids: Any) -> None:
        """Keep rows in memory until as many calls of `unpin`.

        Raises:
            RowsNotCached: A row is not in memory; nothing was pinned.
        """
        wanted = np.unique(as_ids(ids))
        with self._lock:
            self._table.pin(self._inside(wanted, "pin"))

    def unpin(self, ids: Any) -> None:
        """Undo one `pin` of each row.

        Raises:
            RowsNotCached: A row is not in memory.
            WrongValue: A row is not pinned. In both cases nothing was changed.
        """
        wanted = np.unique(as_ids(ids))
        with self._lock:
            slots = self._inside(wanted, "unpin")
            loose = self._table.pins[slots] == 0
            if loose.any():
                raise WrongValue(f"Row {wanted[loose][0]} is not pinned.")
            self._table.unpin(slots)

    def _inside(self, ids: Int64Array, what: str) -> Int64Array:
        slots = self._table.find(ids)
        if (slots == ABSENT).any():
            first = ids[slots == ABSENT][0]
            raise RowsNotCached(f"Row {first} is not in memory: there is nothing to {what}.")
        return slots

    # What comes

    def will_need(self, ids: Any) -> None:
        """Announce that rows will be read, in this order, after those announced before.

        The policy ``"forecast"`` evicts by it; others ignore it.
        """
        wanted = as_ids(ids)
        with self._lock:
            self._policy.forecast(wanted, self._table.find(wanted))

    def wont_need(self, ids: Any) -> None:
        """Take back what was announced of rows."""
        wanted = np.unique(as_ids(ids))
        with self._lock:
            self._policy.release(wanted, self._table.find(wanted))

    def __repr__(self) -> str:
        stats = self.stats
        return (
            f"MessageCache({len(self)} rows, {stats.bytes} bytes, policy={self.policy!r}, "
            f"hit rate {stats.hit_rate:.1%})"
        )
