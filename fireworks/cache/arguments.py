"""What a cache is given: limits, and ids of rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from fireworks.errors import WrongType, WrongValue

Int64Array = np.ndarray[Any, np.dtype[np.int64]]

_INT64 = np.dtype(np.int64)


def check_limits(max_rows: int | None, max_bytes: int | None, policy: str) -> None:
    """Check that limits and policy go together.

    Raises:
        WrongValue: They do not, or a limit is below 1.
    """
    limits = {"max_rows": max_rows, "max_bytes": max_bytes}
    for name, limit in limits.items():
        if limit is not None and limit < 1:
            raise WrongValue(f"{name} must be at least 1, not {limit}.")
    if policy == "unbounded" and (max_rows is not None or max_bytes is not None):
        raise WrongValue("An unbounded cache has no max_rows or max_bytes. Choose another policy.")
    if policy != "unbounded" and max_rows is None and max_bytes is None:
        raise WrongValue(
            f"The policy {policy!r} needs max_rows or max_bytes; without a limit, choose the "
            f'policy "unbounded".'
        )


def as_ids(ids: Any) -> Int64Array:
    """Row ids as an int64 array of one dimension.

    Raises:
        WrongType: They are no integers.
    """
    if type(ids) is np.ndarray and ids.dtype is _INT64 and ids.ndim == 1:
        return ids if ids.flags.c_contiguous else ids.copy()
    array = np.asarray(ids.cpu() if isinstance(ids, torch.Tensor) else ids)
    if array.size == 0 and array.ndim == 1:
        return np.empty(0, np.int64)
    if array.dtype.kind not in "iu" or array.ndim > 1:
        raise WrongType(
            f"Row ids are integers, in one dimension; these are {array.dtype} of shape "
            f"{array.shape}."
        )
    if array.dtype == np.uint64 and array.size and int(array.max()) > np.iinfo(np.int64).max:
        raise WrongType(f"Row ids are of 64 bits with a sign; {array.max()} is too large.")
    return np.ascontiguousarray(array.reshape(-1), np.int64)
