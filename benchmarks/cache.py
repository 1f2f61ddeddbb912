"""MessageCache against a slot array by hand, an OrderedDict of rows, and delete-and-concatenate."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from itertools import cycle

import numpy as np
import torch
from timing import compare, describe_machine, options

from fireworks import Message
from fireworks.cache import MessageCache

SLOTS, BATCH, WIDTH = 100_000, 256, 64


class SlotArray:
    """What one writes by hand for this one case: rows of one tensor by id, LRU by a log."""

    def __init__(self, ids: np.ndarray, x: torch.Tensor, all_ids: int) -> None:
        self.block = x.clone()
        self.array = self.block.numpy()  # numpy scatters rows twice as fast as `index_copy_`
        self.slot = np.full(all_ids, -1)
        self.slot[ids] = np.arange(len(ids))
        self.ids = ids.copy()
        self.used = np.arange(len(ids))
        self.clock = len(ids)
        self.log = [(np.arange(len(ids)), np.arange(len(ids)))]

    def stamp(self, slots: np.ndarray) -> None:
        """Note when slots were used."""
        stamps = np.arange(self.clock, self.clock + len(slots))
        self.clock += len(slots)
        self.used[slots] = stamps
        self.log.append((slots, stamps))
        if len(self.log) > 4 * len(self.used) // BATCH:  # or many reads would fill the memory
            order = self.used.argsort()
            self.log = [
                (order[k : k + BATCH], self.used[order[k : k + BATCH]])
                for k in range(0, len(order), BATCH)
            ]

    def read(self, ids: np.ndarray) -> torch.Tensor:
        """The rows of ids."""
        slots = self.slot[ids]
        if slots.min() < 0:
            raise KeyError
        self.stamp(slots)
        return self.block.index_select(0, torch.from_numpy(slots))

    def insert(self, ids: np.ndarray, x: torch.Tensor) -> None:
        """Rows that are all new, which is checked; the same number of rows leaves."""
        if self.slot[ids].max() >= 0:
            raise ValueError
        found, position, chosen = 0, 0, []
        while found < len(ids):
            slots, stamps = self.log[position]
            live = (self.used[slots] == stamps).nonzero()[0][: len(ids) - found]
            chosen.append(slots[live])
            found += len(live)
            if found < len(ids):
                position += 1
        slots = np.concatenate(chosen)
        del self.log[:position]
        if len(self.log[0][0]) > BATCH:  # so that the head is not searched from its start again
            head = self.log[0]
            self.log[:1] = [
                (head[0][k : k + BATCH], head[1][k : k + BATCH])
                for k in range(0, len(head[0]), BATCH)
            ]
        self.slot[self.ids[slots]] = -1
        self.slot[ids] = slots
        self.ids[slots] = ids
        self.array[slots] = x.numpy()
        self.stamp(slots)


class RowDict:
    """An OrderedDict of rows, the least recently used first.

    Rows of their own let their memory go when they leave. Views of the batch in which they came are
    quicker to make, and each keeps all of it.
    """

    def __init__(self, ids: np.ndarray, x: torch.Tensor, *, views: bool) -> None:
        self.views = views
        self.rows = OrderedDict(zip(ids.tolist(), self._copied(x), strict=True))

    def _copied(self, x: torch.Tensor) -> Iterable[torch.Tensor]:
        return x.clone().unbind() if self.views else (row.clone() for row in x.unbind())

    def read(self, ids: np.ndarray) -> torch.Tensor:
        """The rows of ids."""
        found = []
        for each in ids.tolist():
            self.rows.move_to_end(each)
            found.append(self.rows[each])
        return torch.stack(found)

    def insert(self, ids: np.ndarray, x: torch.Tensor) -> None:
        """Rows that are all new, which is checked; the same number of rows leaves."""
        before = len(self.rows)
        self.rows.update(zip(ids.tolist(), self._copied(x), strict=True))
        if len(self.rows) - before < len(ids):
            raise ValueError
        for _ in ids:
            self.rows.popitem(last=False)


class Concatenated:
    """One tensor whose oldest rows are cut off and new ones appended."""

    def __init__(self, ids: np.ndarray, x: torch.Tensor, all_ids: int) -> None:
        self.ids, self.x = ids, x
        self.place = np.full(all_ids, -1)
        self.place[ids] = np.arange(len(ids))

    def insert(self, ids: np.ndarray, x: torch.Tensor) -> None:
        """Rows that are all new; the same number of rows leaves."""
        self.place[self.ids[: len(ids)]] = -1
        self.ids = np.concatenate([self.ids[len(ids) :], ids])
        self.x = torch.cat([self.x[len(ids) :], x])
        self.place[self.ids] = np.arange(len(self.ids))


def main() -> None:
    short = options(__doc__ or "").short
    rounds = 5 if short else 15
    torch.set_num_threads(1)  # more only wait for each other on batches of this size
    print(f"## MessageCache\n\n{describe_machine('torch', 'numpy')},")
    print(f"one torch thread, {rounds} rounds.")

    generator = np.random.default_rng(0)
    everything = 4 * SLOTS
    ids = np.arange(SLOTS)
    x = torch.randn(SLOTS, WIDTH)
    caches = {
        policy: MessageCache(SLOTS, policy=policy) for policy in ("lru", "keep", "lfu", "random")
    }
    for cache in caches.values():
        cache[ids] = Message({"x": x})
    slots = SlotArray(ids, x, everything)
    rows, views = RowDict(ids, x, views=False), RowDict(ids, x, views=True)
    batches = [generator.integers(0, SLOTS, BATCH) for _ in range(64)]
    compare(
        "Read 256 present rows of 100,000 x f32[64]",
        {
            "slot array by hand, LRU": slots.read,
            **{
                f"MessageCache, {policy}": lambda ids, cache=cache: cache[ids]["x"]
                for policy, cache in caches.items()
            },
            "OrderedDict of rows": rows.read,
        },
        batches,
        rounds=rounds,
    )

    # Ids in a circle four times as long as the cache: what is inserted is never there any more.
    part = Message({"x": x[:BATCH].clone()})
    values = part["x"]
    circle = [
        np.arange(start, start + BATCH) % everything
        for start in range(SLOTS, SLOTS + everything - BATCH, BATCH)
    ]

    def insert_into(cache: MessageCache) -> object:
        def insert(ids: np.ndarray) -> None:
            cache[ids] = part

        return insert

    fast = {
        "slot array by hand, LRU": lambda ids: slots.insert(ids, values),
        "MessageCache, lru": insert_into(caches["lru"]),
        "MessageCache, lfu": insert_into(caches["lfu"]),
        "MessageCache, random": insert_into(caches["random"]),
        "OrderedDict of rows": lambda ids: rows.insert(ids, values),
        "OrderedDict of views of batches": lambda ids: views.insert(ids, values),
    }
    compare("Insert 256 rows into a full cache", fast, circle, rounds=rounds)
    # The same again, going on with the circle where the last stretch of it ended.
    ways = {
        "slot array by hand, LRU": SlotArray(ids, x, everything).insert,
        "delete and concatenate": Concatenated(ids, x, everything).insert,
    }
    batches_of = {name: cycle(circle) for name in ways}
    compare(
        "The same, a short stretch",
        {
            name: lambda _, name=name, way=way: way(next(batches_of[name]), values)
            for name, way in ways.items()
        },
        [None] * 40,
        rounds=3,
    )


if __name__ == "__main__":
    main()
