"""Rows of similar length in the same batches."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fireworks.errors import WrongType, WrongValue


def bucketed_order(
    lengths: ArrayLike, batch_size: int, *, seed: int, epoch: int = 0, pool_batches: int = 100
) -> NDArray[np.int64]:
    """Order rows so that cutting the order into batches gives batches of similar lengths.

    The rows are shuffled and dealt out into pools; each pool is sorted by length and cut into
    batches, and the batches of all pools are shuffled. Larger pools make batches more alike in
    length, smaller ones make them more random: between the lengths in a batch lies about one part
    in ``pool_batches`` of all rows.

    The result depends on the arguments alone. Batch ``k`` of the epoch is
    ``order[k * batch_size : (k + 1) * batch_size]``; only the last can be shorter, and its rows are
    as random as the others.

    Args:
        lengths: The length of each row, shape (n,), real numbers; any unit.
        batch_size: Rows in a batch, at least 1.
        seed: The seed of the order, an integer from 0.
        epoch: The epoch; each has an order of its own.
        pool_batches: Batches in a pool, at least 1 (1: a shuffle, regardless of lengths).

    Returns:
        A permutation of the row numbers 0 to n - 1, int64, shape (n,).

    Raises:
        WrongType: The lengths are no one-dimensional array of real numbers.
        WrongValue: A length is NaN, or a number lies outside of its range.
    """
    measured = _checked(lengths)
    for name, value, least in (
        ("batch_size", batch_size, 1),
        ("pool_batches", pool_batches, 1),
        ("seed", seed, 0),
        ("epoch", epoch, 0),
    ):
        if not isinstance(value, int | np.integer) or value < least:
            raise WrongValue(f"{name} must be an integer of at least {least}; it is {value!r}.")
    generator = np.random.default_rng([seed, epoch])
    order = generator.permutation(len(measured))
    # The short batch is drawn before anything is sorted: were it the end of a sorted pool, it would
    # hold the longest rows in every epoch, and drop_last would never show them.
    whole = len(order) - len(order) % batch_size
    order, short = order[:whole], order[whole:]
    pool = batch_size * pool_batches
    even = whole - whole % pool
    pools = [
        _sorted_rows(order[:even].reshape(-1, pool), measured).ravel(),
        _sorted_rows(order[even:].reshape(1, -1), measured).ravel(),
    ]
    batches = np.concatenate(pools).reshape(-1, batch_size)
    return np.concatenate([generator.permutation(batches).ravel(), short])


def _sorted_rows(rows: NDArray[np.int64], lengths: NDArray[np.generic]) -> NDArray[np.int64]:
    """Sort each line of row numbers by length; rows of one length stay in their (random) order."""
    by_length = lengths[rows].argsort(axis=1, kind="stable")
    return np.take_along_axis(rows, by_length, axis=1)


def _checked(lengths: ArrayLike) -> NDArray[np.generic]:
    measured = np.asarray(lengths)
    if measured.ndim != 1 or (measured.size and measured.dtype.kind not in "iuf"):
        raise WrongType(
            "lengths must be a one-dimensional array of numbers, one for each row; they have shape "
            f"{measured.shape} and dtype {measured.dtype}."
        )
    if measured.dtype.kind == "f" and (missing := np.isnan(measured)).any():
        raise WrongValue(f"The length of row {int(missing.argmax())} is NaN.")
    return measured
