"""Labels and their ids."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from pyarrow import compute

from fireworks.errors import WrongType, WrongValue, suggest

pc: Any = compute  # its functions are made when it is loaded, unseen by type checkers


class Labels(Sequence[Any]):
    """Distinct labels of one type; a label's id is its place.

    Args:
        labels: Strings, numbers, booleans or datetimes.

    Raises:
        WrongType: They are of several types, or no single values.
        WrongValue: A label occurs twice, or is missing.
    """

    def __init__(self, labels: Iterable[Any]) -> None:
        self._labels = arrow_values(labels if isinstance(labels, pa.Array) else list(labels))
        if self._labels.null_count:
            raise WrongValue("A label is missing (None or NaN).")
        counts = pc.value_counts(self._labels)
        if len(counts) < len(self._labels):
            twice = counts[pc.index(pc.greater(counts.field("counts"), 1), True).as_py()]
            raise WrongValue(f"The label {twice['values'].as_py()!r} is given twice.")

    def __len__(self) -> int:
        return len(self._labels)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return self._labels.to_pylist()[index]
        return self._labels[index].as_py()

    def __contains__(self, label: object) -> bool:
        return label in self._labels.to_pylist()

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Labels):
            return bool(self._labels.equals(other._labels))
        return self._labels.to_pylist() == other

    def __hash__(self) -> int:
        return hash(tuple(self._labels.to_pylist()))

    def __repr__(self) -> str:
        shown = ", ".join(repr(each) for each in self[:10])
        return f"Labels({shown}{', …' if len(self) > 10 else ''})"

    @property
    def digest(self) -> str:
        """A short fingerprint of the labels and their order."""
        return f"{len(self)}-{zlib.crc32(repr(self._labels.to_pylist()).encode()):08x}"

    def ids(self, values: Any, unknown: int | None = None) -> NDArray[np.int64]:
        """Return the id of each value.

        Args:
            values: Labels, shape (n,): a list, array, Series or one-dimensional tensor.
            unknown: The id of values that are no label, or are missing.

        Returns:
            Ids, int64, shape (n,).

        Raises:
            WrongValue: A value is no label, and ``unknown`` is None.
            WrongType: The values are of another type than the labels.
        """
        given, labels = arrow_values(values), self._labels
        if given.null_count == len(given):
            given = pa.nulls(len(given), labels.type)
        elif given.type != labels.type:
            if not (_is_number(given.type) and _is_number(labels.type)):
                raise WrongType(
                    f"{given.type} values cannot be looked up among labels of type {labels.type} "
                    f"(the first value is {given[0].as_py()!r:.60})."
                )
            given, labels = given.cast(pa.float64()), labels.cast(pa.float64())
        found = pc.index_in(given, value_set=labels, skip_nulls=True)
        if found.null_count:
            if unknown is None:
                row = pc.index(found.is_null(), True).as_py()
                value = given[row].as_py()
                raise WrongValue(
                    f"Row {row} is {value!r}, which is none of the {len(self)} labels."
                    f"{suggest(value, self[:1000]) if value is not None else ''} Pass unknown= to "
                    "give an id to values that are no label."
                )
            found = found.cast(pa.int64()).fill_null(unknown)
        return found.to_numpy().astype(np.int64)

    def of(self, ids: Any) -> NDArray[Any]:
        """Return the label of each id; None for an id that no label has.

        Args:
            ids: Integers of any shape: a list, an array or a tensor.
        """
        numbers = ids.detach().cpu().numpy() if isinstance(ids, torch.Tensor) else np.asarray(ids)
        if numbers.size and numbers.dtype.kind not in "iu":
            raise WrongType(f"Ids are integers, not {numbers.dtype}.")
        numbers = numbers.astype(np.int64)
        table = np.empty(len(self) + 1, object)
        table[:-1] = self._labels.to_pylist()
        inside = (numbers >= 0) & (numbers < len(self))
        found = table[np.where(inside, numbers, len(self))]
        kind = self._labels.to_numpy(zero_copy_only=False).dtype
        return found.astype(kind) if kind.kind in "biuf" and inside.all() else found


def arrow_values(values: Any) -> Any:
    """Return single values as an Arrow array of string, int64, float64, bool, …; NaN is missing.

    Raises:
        WrongType: They are of several types, or lists or arrays themselves.
    """
    if isinstance(values, torch.Tensor):
        values = values.detach().cpu().numpy()
    if isinstance(values, np.ndarray) and values.ndim != 1:
        raise WrongType(f"A label is a single value; these have shape {values.shape[1:]} each.")
    try:
        array: Any = values
        if isinstance(values, pa.ChunkedArray):
            array = array.combine_chunks()
        elif not isinstance(values, pa.Array):
            array = pa.array(values, from_pandas=True)
    except (pa.ArrowException, TypeError) as error:
        raise WrongType(f"Labels are strings, numbers, booleans or dates: {error}") from None
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    if pa.types.is_nested(array.type):
        raise WrongType(f"A label is a single value, not a {array.type}.")
    if pa.types.is_string(array.type):
        return array.cast(pa.large_string())
    if pa.types.is_integer(array.type) and array.type != pa.uint64():
        return array.cast(pa.int64())
    if pa.types.is_floating(array.type):
        return array.cast(pa.float64())
    return array


def union(labels: Any, more: Any) -> Any:
    """Return the distinct values of two Arrow arrays.

    Raises:
        WrongType: They are of different types.
    """
    if not len(labels) or not len(more):
        return labels if len(labels) else more
    if labels.type != more.type:
        if not (_is_number(labels.type) and _is_number(more.type)):
            raise WrongType(f"There are labels of type {labels.type} and of type {more.type}.")
        labels, more = labels.cast(pa.float64()), more.cast(pa.float64())
    return pc.unique(pa.concat_arrays([labels, more]))


def _is_number(kind: Any) -> bool:
    return pa.types.is_integer(kind) or pa.types.is_floating(kind)
