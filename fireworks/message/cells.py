"""Object columns in Arrow: Python objects as nested values, arrays with their shapes, or JSON."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from fireworks.errors import WrongType
from fireworks.message.column import ArrowArray
from fireworks.message.kinds.object import object_array, same_cell

Array = np.ndarray[Any, Any]


def cells_to_arrow(cells: Array, name: str) -> tuple[ArrowArray, dict[str, Any]]:
    """Store Python objects so that exactly the same objects come back.

    Args:
        cells: An object array.
        name: The column's name, for errors.

    Raises:
        WrongType: No way serves; the first object that cannot be stored is named.
    """
    held = [each for each in cells if each is not None]
    arrays = held and all(isinstance(each, np.ndarray | torch.Tensor) for each in held)
    if arrays and (stored := _arrays_to_arrow(cells, held)) is not None:
        return stored
    objects = list(cells)
    try:
        array = pa.array(objects, from_pandas=False)
        if _identical(array.to_pylist(), objects):
            return array, {"form": "values"}
    except (pa.ArrowException, TypeError, ValueError, OverflowError, UnicodeError):
        pass
    return _json_to_arrow(objects, name), {"form": "json"}


def cells_from_arrow(array: ArrowArray, spec: dict[str, Any]) -> Array:
    """The objects that `cells_to_arrow` stored."""
    if spec["form"] == "arrays":
        return _arrays_from_arrow(array, spec)
    objects = array.to_pylist()
    if spec["form"] == "json":
        objects = [json.loads(each) for each in objects]
    return object_array(objects)


def _identical(a: list[Any], b: list[Any]) -> bool:
    return all(same_cell(x, y, 0, 0) for x, y in zip(a, b, strict=True))


def _json_to_arrow(objects: list[Any], name: str) -> ArrowArray:
    texts: list[str] = []
    for row, each in enumerate(objects):
        try:
            text = json.dumps(each)
            exact = same_cell(json.loads(text), each, 0, 0)
        except (TypeError, ValueError, RecursionError):
            text, exact = "", False
        if not exact:
            raise WrongType(
                f"Column {name!r} cannot be stored: row {row} is {each!r:.60} "
                f"({type(each).__name__}), which no open format gives back as it was. Convert the "
                f"column, or drop it first."
            )
        texts.append(text)
    return pa.array(texts, pa.large_string())


def _arrays_to_arrow(cells: Array, held: list[Any]) -> tuple[ArrowArray, dict[str, Any]] | None:
    """Arrays or tensors of one dtype and any shapes: their values end to end, and each shape."""
    first = held[0]
    if any(type(each) is not type(first) or each.dtype != first.dtype for each in held):
        return None
    if isinstance(first, torch.Tensor):
        try:
            arrays = [None if each is None else each.detach().cpu().numpy() for each in cells]
        except TypeError:
            return None
        of = "tensor"
    else:
        arrays, of = list(cells), "array"
    dtype: np.dtype[Any] = np.dtype(next(each.dtype for each in arrays if each is not None))
    if dtype.kind not in "biuf" or dtype.itemsize > 8:
        return None
    missing = np.array([each is None for each in arrays])
    lengths = [0 if each is None else each.size for each in arrays]
    flat = [each.reshape(-1) for each in arrays if each is not None]
    values = pa.LargeListArray.from_arrays(
        pa.array(np.cumsum([0, *lengths])), pa.array(np.concatenate(flat), from_pandas=False)
    )
    shapes = pa.array([() if each is None else each.shape for each in arrays], pa.list_(pa.int64()))
    storage = pa.StructArray.from_arrays(
        [shapes, values], ["shape", "values"], mask=pa.array(missing)
    )
    return storage, {"form": "arrays", "of": of, "dtype": dtype.str}


def _arrays_from_arrow(array: ArrowArray, spec: dict[str, Any]) -> Array:
    shapes, values = array.field("shape").to_pylist(), array.field("values")
    bounds = values.offsets.to_numpy()
    flat = values.values.to_numpy(zero_copy_only=False)
    cells = np.empty(len(array), object)
    missing = array.is_null().to_pylist()
    for row in range(len(array)):
        if missing[row]:
            continue
        cell = flat[bounds[row] : bounds[row + 1]].astype(spec["dtype"]).reshape(shapes[row])
        cells[row] = torch.from_numpy(cell) if spec["of"] == "tensor" else cell
    return cells
