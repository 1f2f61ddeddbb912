"""Hit rates of caches over an order of rows that is known: simulated, row by row."""

from __future__ import annotations

import heapq
from collections import OrderedDict

import numpy as np


def belady(order: np.ndarray, rows: int) -> float:
    """Keep the rows whose next use is nearest; the best that any cache can do (Belady, 1966)."""
    following = np.empty(len(order), np.int64)
    seen: dict[int, int] = {}
    asked = order.tolist()
    for place in range(len(asked) - 1, -1, -1):
        following[place] = seen.get(asked[place], 2 * len(asked))
        seen[asked[place]] = place
    held: dict[int, int] = {}
    furthest: list[tuple[int, int]] = []
    hits = 0
    for row, use in zip(asked, following.tolist(), strict=True):
        if row in held:
            hits += 1
        elif len(held) >= rows:
            while held.get(furthest[0][1]) != -furthest[0][0]:  # outdated: used since
                heapq.heappop(furthest)
            if -furthest[0][0] <= use:
                continue  # it is needed later than all that are there
            del held[heapq.heappop(furthest)[1]]
        held[row] = use
        heapq.heappush(furthest, (-use, row))
    return hits / len(order)


def lru(order: np.ndarray, rows: int) -> float:
    """Keep the rows used last."""
    held: OrderedDict[int, None] = OrderedDict()
    hits = 0
    for row in order.tolist():
        if row in held:
            hits += 1
            held.move_to_end(row)
            continue
        held[row] = None
        if len(held) > rows:
            held.popitem(last=False)
    return hits / len(order)


def never_evict(order: np.ndarray, rows: int) -> float:
    """Keep the rows that came first."""
    _, first = np.unique(order, return_index=True)
    kept = order[np.sort(first)[:rows]]
    return (int(np.isin(order, kept).sum()) - len(kept)) / len(order)
