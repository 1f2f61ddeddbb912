"""Orders of rows drawn from a key: stored where they are short, computed where they are long."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fireworks.source.reading import extremes

Indices = NDArray[np.int64]

STORED_ROWS = 65_536
"""Up to here an order is a stored permutation: keyed ones are biased when they are short."""

_ROUNDS = 6
_SHIFT = np.uint32(15)
_HALF = np.uint64(32)

_SIDES_TRIED = 4_096
"""Sides whose product is n or little more spare the network what lies above n."""

_BLOCK = 8_192
"""Places computed at once: what is worked on stays in the processor's cache."""

_BLOCKS_KEPT = 3

_FEW = 32
"""So few places are computed by themselves: a block costs as much as some 8,000."""


class KeyedPermutation:
    """A permutation of ``0 … n - 1`` of which any part can be computed, in constant memory.

    A Feistel network over pairs (left, right) from Z_a x Z_b, with a and b near the square root of
    n and addition modulo a and b in turn (Black and Rogaway, Ciphers with arbitrary finite
    domains, 2002). Results above n - 1 are put through the network again until they fall below.

    Args:
        n: How many numbers are permuted, at least 1 and below 2**62.
        key: Integers that choose the permutation.
    """

    def __init__(self, n: int, key: Sequence[int]) -> None:
        self.n = n
        self._a, self._b = _sides(n)
        words = np.random.SeedSequence(key).generate_state(3 * _ROUNDS, np.uint32)
        odd = np.array([0, 1, 1], np.uint32)  # the last two multiply
        self._keys = words.reshape(_ROUNDS, 3) | odd
        self._blocks: dict[int, Indices] = {}

    def __call__(self, places: Indices) -> Indices:
        """Return which number stands at each place, shape (k,); places are below n."""
        if len(places) < _FEW:
            return self._computed(places)
        # Batches of a pass lie side by side: they come out of blocks that are computed once.
        lowest, highest = extremes(places)
        first, last = lowest // _BLOCK, highest // _BLOCK
        if first == last:
            block = self._block(first)
        elif last == first + 1:
            block = np.concatenate([self._block(first), self._block(last)])
        else:
            return self._computed(places)
        return block.take(places - first * _BLOCK)

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
            values = self._network(block)
            outside = np.flatnonzero(values >= self.n)
            while len(outside):
                values[outside] = self._network(values[outside])
                outside = outside[values[outside] >= self.n]
            found[start : start + _BLOCK] = values
        return found

    def _network(self, values: Indices) -> Indices:
        a, b = np.uint32(self._a), np.uint32(self._b)
        left, right = (each.astype(np.uint32) for each in np.divmod(values, self._b))
        mixed, other = np.empty((2, len(values)), np.uint32)
        work = (mixed, other, np.empty(len(values), np.uint64))
        for number, key in enumerate(self._keys):
            if number % 2:
                _add_hash(left, right, key, b, work)
            else:
                _add_hash(right, left, key, a, work)
        joined = left.astype(np.int64)
        joined *= self._b
        joined += right
        return joined


def _sides(n: int) -> tuple[int, int]:
    """Return a and b, not far apart, whose product is at least n and hardly more."""
    root = math.isqrt(n - 1) + 1
    a = np.arange(root, root + min(root, _SIDES_TRIED), dtype=np.int64)
    b = -(-n // a)
    best = int((a * b - n).argmin())
    return int(a[best]), int(b[best])


def _add_hash(
    source: NDArray[np.uint32],
    target: NDArray[np.uint32],
    key: NDArray[np.uint32],
    limit: np.uint32,
    work: tuple[NDArray[np.uint32], NDArray[np.uint32], NDArray[np.uint64]],
) -> None:
    """Add a hash of each source, below ``limit`` (at most 2**31), to its target, modulo ``limit``.

    Keyed, then mixed by multiplications with odd numbers and a shift that brings the high bits
    down; what is left of it when it is scaled to the limit are the high bits. Nothing is allocated:
    that would take longer than the work.
    """
    mixed, other, wide = work
    np.bitwise_xor(source, key[0], out=mixed)
    mixed *= key[1]
    np.right_shift(mixed, _SHIFT, out=other)
    mixed ^= other
    mixed *= key[2]
    np.multiply(mixed, limit, out=wide, dtype=np.uint64)
    wide >>= _HALF
    np.copyto(other, wide, casting="unsafe")
    target += other
    # Below 0 an unsigned number is huge: the smaller of the two is the remainder.
    np.subtract(target, limit, out=other)
    np.minimum(target, other, out=target)


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
        return self._order.take(places)


def permutation(n: int, key: Sequence[int]) -> StoredPermutation | KeyedPermutation:
    """Return a permutation of ``0 … n - 1`` drawn from a key."""
    return (StoredPermutation if n <= STORED_ROWS else KeyedPermutation)(n, key)
