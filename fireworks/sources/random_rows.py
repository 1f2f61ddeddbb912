"""Random numbers that belong to rows: the same for a row in whatever batch it comes."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from typing import Any, overload

import numpy as np
import torch
from numpy.typing import DTypeLike, NDArray

from fireworks.errors import WrongValue

_MULTIPLIERS = (np.uint64(0xD2511F53), np.uint64(0xCD9E8D57))
_WEYL = (0x9E3779B9, 0xBB67AE85)
_LOW = np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)


def philox(counters: NDArray[np.uint64], key: tuple[int, int]) -> NDArray[np.uint64]:
    """Return the blocks of random bits that Philox4x32-10 has at these counters.

    Salmon, Moraes, Dror, Shaw: Parallel random numbers: as easy as 1, 2, 3 (2011). Each block
    depends on its counter and the key alone, so that any can be had without those before it.

    Args:
        counters: Shape (4, ...), 32-bit words in 64-bit integers.
        key: Two 32-bit words.

    Returns:
        Random words, shape and range of the counters.
    """
    c0, c1, c2, c3 = counters
    k0, k1 = key
    for _ in range(10):
        product0, product1 = _MULTIPLIERS[0] * c0, _MULTIPLIERS[1] * c2
        c0 = (product1 >> _HALF) ^ c1 ^ np.uint64(k0)
        c2 = (product0 >> _HALF) ^ c3 ^ np.uint64(k1)
        c1, c3 = product1 & _LOW, product0 & _LOW
        k0, k1 = (k0 + _WEYL[0]) & 0xFFFFFFFF, (k1 + _WEYL[1]) & 0xFFFFFFFF
    return np.stack([c0, c1, c2, c3])


class RowGenerators(Sequence[np.random.Generator]):
    """One random generator for each row of a Message, drawn from together or one by one.

    A draw gives each row values of its own: with ``size=(3,)`` over 32 rows an array of shape
    (32, 3), of which row ``i`` depends on the seed and on the number of row ``i`` only, and not on
    the other 31. Each call draws new values. ``generators[i]`` is a numpy Generator of row ``i``
    alone, for whatever cannot be drawn here; it costs some 10 µs a row.

    Values are numpy arrays, or tensors where ``dtype`` is a torch dtype.

    Args:
        rows: The number of each row in its epoch, shape (n,), int64.
        epochs: The epoch of each row, shape (n,) or one for all.
        seed: The seed, an integer from 0.
        name: Tells apart what draws with the same seed over the same rows.
    """

    def __init__(
        self,
        rows: NDArray[np.int64],
        epochs: NDArray[np.int64] | int,
        *,
        seed: int,
        name: str | None = None,
    ) -> None:
        self._rows = rows.astype(np.uint64)
        self._epochs = np.broadcast_to(np.asarray(epochs, np.uint64), self._rows.shape)
        self._entropy = [seed] if name is None else [seed, zlib.crc32(name.encode())]
        words = np.random.SeedSequence(self._entropy).generate_state(2)
        self._key = (int(words[0]), int(words[1]))
        self._drawn = 0  # blocks that each row has used up

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, index: int) -> np.random.Generator: ...
    @overload
    def __getitem__(self, index: slice) -> list[np.random.Generator]: ...
    def __getitem__(self, index: int | slice) -> np.random.Generator | list[np.random.Generator]:
        if isinstance(index, slice):
            return [self._generator(place) for place in range(*index.indices(len(self)))]
        return self._generator(index)

    def __iter__(self) -> Iterator[np.random.Generator]:
        return (self._generator(place) for place in range(len(self)))

    def random(self, size: int | tuple[int, ...] = (), *, dtype: Any = np.float64) -> Any:
        """Draw uniformly from 0 to 1, without 1.

        Args:
            size: The shape of one row's values.
            dtype: A floating dtype of numpy or torch.

        Returns:
            Values of shape (n, *size).
        """
        shape, count = self._shape(size)
        return _as(self._fractions(count, _precision(dtype)).reshape(shape), dtype)

    def uniform(
        self,
        low: float = 0.0,
        high: float = 1.0,
        size: int | tuple[int, ...] = (),
        *,
        dtype: Any = np.float64,
    ) -> Any:
        """Draw uniformly from low to high; returns shape (n, *size)."""
        shape, count = self._shape(size)
        return _as(low + (high - low) * self._fractions(count).reshape(shape), dtype)

    def normal(
        self,
        mean: float = 0.0,
        deviation: float = 1.0,
        size: int | tuple[int, ...] = (),
        *,
        dtype: Any = np.float64,
    ) -> Any:
        """Draw from a normal distribution; returns shape (n, *size).

        Box, Muller: A note on the generation of random normal deviates (1958).
        """
        shape, count = self._shape(size)
        fractions = self._fractions(2 * -(-count // 2))
        # 1 - u lies in (0, 1], where the logarithm is finite.
        radius = np.sqrt(-2 * np.log1p(-fractions[:, 0::2]))
        angle = 2 * np.pi * fractions[:, 1::2]
        drawn = np.concatenate([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
        return _as(mean + deviation * drawn[:, :count].reshape(shape), dtype)

    def integers(
        self,
        low: int,
        high: int | None = None,
        size: int | tuple[int, ...] = (),
        *,
        dtype: Any = np.int64,
    ) -> Any:
        """Draw integers from low to high - 1 (from 0 to low - 1 with one bound alone).

        Returns:
            Values of shape (n, *size).

        Raises:
            WrongValue: There is no integer between the bounds, or there are more than 2**32.
        """
        low, high = (0, low) if high is None else (low, high)
        if not 0 < high - low <= 2**32:
            raise WrongValue(
                f"integers(low, high) draws from low to high - 1, at most 2**32 values; low is "
                f"{low} and high {high}."
            )
        shape, count = self._shape(size)
        # A fraction has 53 bits: over at most 2**32 values its bias stays below one in 2**21.
        drawn = low + (self._fractions(count) * (high - low)).astype(np.int64)
        return _as(drawn.reshape(shape), dtype)

    def _generator(self, place: int) -> np.random.Generator:
        here = [int(self._epochs[place]), int(self._rows[place])]
        return np.random.default_rng([*self._entropy, *here])

    def _shape(self, size: int | tuple[int, ...]) -> tuple[tuple[int, ...], int]:
        each = (size,) if isinstance(size, int | np.integer) else tuple(size)
        return (len(self), *each), int(np.prod(each, dtype=np.int64))

    def _fractions(self, count: int, precision: int = 53) -> NDArray[np.float64]:
        """Uniform numbers in [0, 1) with so many random bits, shape (n, count)."""
        blocks = -(-count // 2)
        places = np.arange(self._drawn, self._drawn + blocks, dtype=np.uint64)
        self._drawn += blocks
        counters = np.empty((4, len(self), blocks), np.uint64)
        counters[0], counters[1] = places, self._epochs[:, None]
        counters[2] = (self._rows & _LOW)[:, None]
        counters[3] = (self._rows >> _HALF)[:, None]
        words = philox(counters, self._key)
        bits = (words[0::2] << _HALF | words[1::2]) >> np.uint64(64 - precision)
        pairs = bits.astype(np.float64) * 2.0**-precision
        return np.moveaxis(pairs, 0, 2).reshape(len(self), 2 * blocks)[:, :count]


def _precision(dtype: Any) -> int:
    """Bits of a fraction that no rounding to the dtype makes 1."""
    floats = torch.finfo(dtype) if isinstance(dtype, torch.dtype) else np.finfo(dtype)
    return min(53, 1 - int(np.log2(float(floats.eps))))


def _as(values: NDArray[Any], dtype: DTypeLike | torch.dtype) -> Any:
    if isinstance(dtype, torch.dtype):
        return torch.from_numpy(values).to(dtype)
    return values.astype(dtype, copy=False)
