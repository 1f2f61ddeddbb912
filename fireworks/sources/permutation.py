"""Orders of rows drawn from a key: stored where they are short, computed where they are long."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Indices = NDArray[np.int64]

STORED_ROWS = 65_536
"""Up to here an order is a stored permutation: keyed ones are biased when they are short."""

_ROUNDS = 8
_BLOCK = 8_192
"""Places computed at once: what is worked on stays in the processor's cache."""

_BLOCKS_KEPT = 3

_FEW = 32
"""So few places are computed by themselves: a block costs as much as some 8,000."""


class KeyedPermutation:
    """A permutation of ``0 … n - 1`` of which any part can be computed, in constant memory.

    A Feistel network over pairs (left, right) from Z_a x Z_b, with a and b near the square root of
    n and addition modulo a and b in turn (Black and Rogaway, Ciphers with arbitrary finite
    domains, 2002). Results above n - 1 are put through the network again until they fall below;
    less than one in sqrt(n) does.

    Args:
        n: How many numbers are permuted, at least 1 and below 2**62.
        key: Integers that choose the permutation.
    """

    def __init__(self, n: int, key: Sequence[int]) -> None:
        self.n = n
        self._a = max(1, math.isqrt(n - 1) + 1)
        self._b = -(-n // self._a)
        words = np.random.SeedSequence(key).generate_state(2 * _ROUNDS, np.uint64)
        self._blocks: dict[int, Indices] = {}
        self._keys = words.reshape(_ROUNDS, 2) | np.uint64(1)

    def __call__(self, places: Indices) -> Indices:
        """Return which number stands at each place, shape (k,); places are below n."""
        # Batches of a pass lie side by side: they come out of blocks that are computed once.
        first, last = int(places.min()) // _BLOCK, int(places.max()) // _BLOCK
        if len(places) < _FEW or last - first > 1:
            return self._computed(places)
        blocks = [self._block(number) for number in range(first, last + 1)]
        block = blocks[0] if len(blocks) == 1 else np.concatenate(blocks)
        return block[places - first * _BLOCK]

    def _block(self, number: int) -> Indices:
        block = self._blocks.get(number)
        if block is None:
            start = number * _BLOCK
            block = self._computed(np.arange(start, min(start + _BLOCK, self.n)))
            # Several threads may be here at once: each puts back a whole dict.
            kept = dict(list(self._blocks.items())[-_BLOCKS_KEPT:])
            self._blocks = {**kept, number: block}
        return block

    def _computed(self, places: Indices) -> Indices:
        found = np.empty(len(places), np.int64)
        for start in range(0, len(places), _BLOCK):
            block = places[start : start + _BLOCK]
            values = self._network(block.astype(np.uint64))
            outside = np.flatnonzero(values >= self.n)
            while len(outside):
                values[outside] = self._network(values[outside])
                outside = outside[values[outside] >= self.n]
            found[start : start + _BLOCK] = values.astype(np.int64)
        return found

    def _network(self, values: NDArray[np.uint64]) -> NDArray[np.uint64]:
        a, b = np.uint64(self._a), np.uint64(self._b)
        left, right = np.divmod(values, b)
        for number, (first, second) in enumerate(self._keys):
            if number % 2:
                right += _below(left, first, second, b)
                np.subtract(right, b, out=right, where=right >= b)
            else:
                left += _below(right, first, second, a)
                np.subtract(left, a, out=left, where=left >= a)
        left *= b
        left += right
        return left


def _below(
    values: NDArray[np.uint64], first: np.uint64, second: np.uint64, limit: np.uint64
) -> NDArray[np.uint64]:
    """Hash each value to a number below ``limit``, which is below 2**31.

    Multiplications by odd keys, each followed by a shift that brings the high bits down; the upper
    32 bits of the result, scaled.
    """
    mixed = values + second
    mixed *= first
    mixed ^= mixed >> np.uint64(32)
    mixed *= second
    mixed ^= mixed >> np.uint64(29)
    mixed *= first
    mixed >>= np.uint64(32)
    mixed *= limit
    mixed >>= np.uint64(32)
    return mixed


class StoredPermutation:
    """A permutation of ``0 … n - 1`` kept in memory, 8 bytes a number.

    Args:
        n: How many numbers are permuted.
        key: Integers that choose the permutation.
    """

    def __init__(self, n: int, key: Sequence[int]) -> None:
        self.n = n
        self._order = np.random.default_rng(key).permutation(n)

    def __call__(self, places: Indices) -> Indices:
        """Return which number stands at each place, shape (k,)."""
        return self._order[places]


def permutation(n: int, key: Sequence[int]) -> StoredPermutation | KeyedPermutation:
    """Return a permutation of ``0 … n - 1`` drawn from a key."""
    return (StoredPermutation if n <= STORED_ROWS else KeyedPermutation)(n, key)
