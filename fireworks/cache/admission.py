"""Which of the rows that come are stored, and which that are there leave for them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from fireworks.cache.id_map import ABSENT
from fireworks.cache.policies import Policy
from fireworks.cache.slot_table import SlotTable
from fireworks.errors import CacheFull

Int64Array = np.ndarray[Any, np.dtype[np.int64]]

_NONE = np.empty(0, np.int64)


@dataclass(frozen=True)
class Plan:
    """What an insertion will do. Positions are those in the rows given, in increasing order.

    Attributes:
        stored: Positions of the rows that will be in memory.
        fresh: Those of them that were not there before.
        overwritten: Those of them that were.
        refused: Positions of the rows that will not be in memory.
        dropped: Those of them that were there before, and leave.
        victims: Slots of other rows that leave.
    """

    stored: Int64Array
    fresh: Int64Array
    overwritten: Int64Array
    refused: Int64Array
    dropped: Int64Array
    victims: Int64Array


def plan_insertion(
    ids: Int64Array,
    slots: Int64Array,
    sizes: Int64Array,
    table: SlotTable,
    policy: Policy,
    max_rows: int | None,
    max_bytes: int | None,
) -> Plan:
    """Plan to store rows within the limits; changes nothing but a random generator's state.

    Args:
        ids: The ids of the rows, each once.
        slots: Their slots now, -1 for those that have none.
        sizes: Their sizes in bytes.
        table: The rows that are there.
        policy: Who leaves first.
        max_rows: The limit of rows in memory.
        max_bytes: The limit of their bytes.

    Raises:
        CacheFull: A row that is pinned does not fit any more with its new value.
    """
    here = slots != ABSENT
    fresh = (~here).nonzero()[0]
    overwritten = here.nonzero()[0] if len(fresh) < len(ids) else _NONE
    free_rows = (1 << 62) if max_rows is None else max_rows - table.rows
    free_bytes = 1 << 62
    if max_bytes is not None:
        free_bytes = max_bytes - table.bytes + int(table.sizes[slots[overwritten]].sum())
    if len(fresh) <= free_rows and (max_bytes is None or int(sizes.sum()) <= free_bytes):
        return Plan(np.arange(len(ids)), fresh, overwritten, _NONE, _NONE, _NONE)

    # In the order in which rows are granted room: those that are there already come first.
    queue = np.concatenate([overwritten, fresh[policy.preferred(ids[fresh])]])
    if max_bytes is not None:
        queue = queue[sizes[queue] <= max_bytes]
    rows_over = np.cumsum(~here[queue]) - free_rows
    bytes_over = np.cumsum(sizes[queue]) - free_bytes if max_bytes is not None else rows_over * 0
    victims = _victims(table, policy, slots[overwritten], rows_over, bytes_over)
    # How many rows must have left before each has room.
    gained = np.cumsum(table.sizes[victims])
    needed = np.maximum(np.maximum(rows_over, 0), _first_reaching(gained, bytes_over))
    fits = needed <= len(victims)
    competing = fits & ~here[queue] & (needed > 0)
    fits[competing] = policy.replaces(ids[queue[competing]], victims[needed[competing] - 1])
    granted = len(queue) if fits.all() else int(fits.argmin())

    keep = np.zeros(len(ids), bool)
    keep[queue[:granted]] = True
    refused = (~keep).nonzero()[0]
    dropped = refused[here[refused]]
    if len(dropped) and table.pins[slots[dropped]].any():
        raise CacheFull(
            f"Row {ids[dropped[table.pins[slots[dropped]] > 0][0]]} is pinned, and its new value "
            f"does not fit into max_bytes={max_bytes}."
        )
    leave = int(needed[:granted].max()) if granted else 0
    return Plan(
        stored=keep.nonzero()[0],
        fresh=(keep & ~here).nonzero()[0],
        overwritten=(keep & here).nonzero()[0],
        refused=refused,
        dropped=dropped,
        victims=victims[:leave],
    )


def _victims(
    table: SlotTable,
    policy: Policy,
    overwritten: Int64Array,
    rows_over: Int64Array,
    bytes_over: Int64Array,
) -> Int64Array:
    """Slots whose rows leave, in order: enough of them for all rows, or all that may leave."""
    if not len(rows_over):
        return _NONE
    evictable = table.evictable
    if len(overwritten):
        evictable = evictable.copy()
        evictable[overwritten] = False
    count = max(0, int(rows_over[-1]))
    excess = int(bytes_over[-1])
    if excess > 0:
        mean = max(1, table.bytes // max(1, table.rows))
        count = max(count, 2 * excess // mean + 8)
    while True:
        victims = policy.victims(count, evictable)
        if len(victims) < count or int(table.sizes[victims].sum()) >= excess:
            return victims
        count *= 2


def _first_reaching(gained: Int64Array, wanted: Int64Array) -> Int64Array:
    """How many of the first victims gain at least so many bytes; one more than all, if none do."""
    return np.where(wanted <= 0, 0, np.searchsorted(gained, wanted) + 1)
