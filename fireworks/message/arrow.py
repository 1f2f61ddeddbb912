"""Columns as Arrow arrays and back, exactly.

Arrow's own types say enough of most columns: strings, numbers, datetimes with a zone, categories
(dictionaries), ragged columns (large lists) and tensors of several dimensions (nested fixed-size
lists). What they cannot say is carried by an extension type, `ColumnType`, over plain storage:
tensors of one dimension (which would come back as vectors), bfloat16, complex numbers, shapes
without elements, nullable numbers without a missing value, and objects. A reader that does not know
the extension reads the storage.
"""

from __future__ import annotations

import base64
import json
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch

from fireworks.errors import WrongType
from fireworks.message.cells import cells_from_arrow, cells_to_arrow
from fireworks.message.column import ArrowArray, ArrowType, Column
from fireworks.message.conversion import from_pandas
from fireworks.message.kinds.extension import ExtensionColumn
from fireworks.message.kinds.number import NumberColumn
from fireworks.message.kinds.object import ObjectColumn, object_array
from fireworks.message.kinds.ragged import RaggedColumn
from fireworks.message.kinds.string import StringColumn
from fireworks.message.kinds.tensor import TensorColumn

Spec = dict[str, Any]

# numpy views of the dtypes that Arrow and numpy know as torch does.
_STANDARD = {
    torch.bool: np.dtype(bool),
    torch.uint8: np.dtype(np.uint8),
    torch.uint16: np.dtype(np.uint16),
    torch.uint32: np.dtype(np.uint32),
    torch.uint64: np.dtype(np.uint64),
    torch.int8: np.dtype(np.int8),
    torch.int16: np.dtype(np.int16),
    torch.int32: np.dtype(np.int32),
    torch.int64: np.dtype(np.int64),
    torch.float16: np.dtype(np.float16),
    torch.float32: np.dtype(np.float32),
    torch.float64: np.dtype(np.float64),
}
_CARRIERS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
_COMPLEX = {
    torch.complex32: torch.float16,
    torch.complex64: torch.float32,
    torch.complex128: torch.float64,
}


# Parquet and polars know no other units.
_PORTABLE_UNITS = [("ms", 1), ("us", 1), ("ns", 1)]
_LARGE_STRING = pa.large_string()


class ColumnType(pa.ExtensionType):  # pyright: ignore[reportUntypedBaseClass]
    """The Arrow extension type ``fireworks.column``: storage, and a JSON of what it stands for."""

    def __init__(self, storage: ArrowType, spec: Spec) -> None:
        self.spec = spec
        super().__init__(storage, "fireworks.column")

    def __arrow_ext_serialize__(self) -> bytes:
        return json.dumps(self.spec, sort_keys=True).encode()

    @classmethod
    def __arrow_ext_deserialize__(cls, storage_type: ArrowType, serialized: bytes) -> ColumnType:
        return cls(storage_type, json.loads(serialized))


pa.register_extension_type(ColumnType(pa.null(), {}))


def column_to_arrow(column: Column, name: str, coded: bool = False) -> ArrowArray:
    """An Arrow array that holds everything of a column; shares memory where it can.

    Args:
        column: The column.
        name: Its name, for errors.
        coded: Whether to keep categories and repeated strings as dictionary codes, which not every
            reader of Arrow can read inside an extension type.

    Raises:
        WrongType: It holds Python objects that no open format can hold; the first is named.
    """
    if isinstance(column, TensorColumn):
        return _tensor_to_arrow(column.array)
    if isinstance(column, NumberColumn):
        return _numbers_to_arrow(column.array, name)
    if coded and isinstance(column, StringColumn) and (stored := column.dictionary()) is not None:
        return _extended(stored, {"kind": "string"})
    if isinstance(column, StringColumn | RaggedColumn):
        return column.array
    if isinstance(column, ExtensionColumn):
        if column.field.kind == "category":
            return _categories_to_arrow(column.array, coded)
        return _extension_to_arrow(column.array, name)
    storage, spec = cells_to_arrow(column.array, name)
    return _extended(storage, {"kind": "object", **spec})


def column_from_arrow(array: ArrowArray, owned: bool = False) -> Column:
    """The column of an Arrow array, ours or any other; shares memory where it can.

    Args:
        array: The Arrow array.
        owned: Whether nobody else has it, so that tensors, which can be written to, may share its
            memory too.
    """
    kind = array.type
    if pa.types.is_string(kind) or _is_string_view(kind):
        array, kind = array.cast(_LARGE_STRING), _LARGE_STRING
    if isinstance(array, pa.ChunkedArray):
        array = array.chunk(0) if array.num_chunks == 1 else array.combine_chunks()
    if isinstance(kind, ColumnType):
        return _from_extension(array.storage, kind.spec, owned)
    if kind == _LARGE_STRING:
        return StringColumn(array)
    if pa.types.is_fixed_size_list(kind) and _leaf(kind) is not None and not _has_nulls(array):
        return _tensor_from_lists(array, owned)
    if pa.types.is_primitive(kind) or pa.types.is_boolean(kind):
        return _primitive_from_arrow(array)
    if _is_list(kind) and _is_numeric(kind.value_type) and not _has_nulls(array):
        offsets = array.offsets.to_numpy().astype(np.int64, copy=False)
        return RaggedColumn(_to_numpy(array.values), offsets)
    if _is_list(kind) or pa.types.is_fixed_size_list(kind) or pa.types.is_struct(kind):
        return ObjectColumn(object_array(array.to_pylist()))
    if pa.types.is_null(kind):
        return ObjectColumn(np.full(len(array), None, object))
    return _pandas_from_arrow(array)


def _extended(storage: ArrowArray, spec: Spec) -> ArrowArray:
    return pa.ExtensionArray.from_storage(ColumnType(storage.type, spec), storage)


# Tensors


def _tensor_to_arrow(tensor: torch.Tensor) -> ArrowArray:
    if tensor.layout != torch.strided or tensor.is_quantized:
        raise WrongType(f"a tensor of layout {tensor.layout} cannot be stored; use .to_dense()")
    tensor = tensor.detach().cpu().resolve_conj().resolve_neg().contiguous()
    shape = list(tensor.shape[1:])
    spec: Spec = {
        "kind": "tensor",
        "dtype": str(tensor.dtype).removeprefix("torch."),
        "shape": shape,
    }
    if 0 in shape:
        return _extended(pa.nulls(len(tensor)), spec)
    standard = tensor.dtype in _STANDARD
    if tensor.dtype in _COMPLEX:
        tensor = torch.view_as_real(tensor)
    elif not standard:
        tensor = tensor.view(_CARRIERS[tensor.element_size()])
    array = pa.array(tensor.reshape(-1).numpy(), from_pandas=False)
    for size in reversed(tensor.shape[1:]):
        array = pa.FixedSizeListArray.from_arrays(array, size)
    return array if standard and shape else _extended(array, spec)


def _tensor_from_lists(array: ArrowArray, owned: bool) -> TensorColumn:
    shape: list[int] = []
    length = len(array)
    while pa.types.is_fixed_size_list(array.type):
        shape.append(array.type.list_size)
        array = array.flatten()
    return TensorColumn(_to_tensor(array, owned).reshape(length, *shape))


def _from_extension(storage: ArrowArray, spec: Spec, owned: bool) -> Column:
    kind = spec["kind"]
    if kind == "tensor":
        dtype = getattr(torch, spec["dtype"])
        shape = (len(storage), *spec["shape"])
        if 0 in spec["shape"]:
            return TensorColumn(torch.empty(shape, dtype=dtype))
        while pa.types.is_fixed_size_list(storage.type):
            storage = storage.flatten()
        tensor = _to_tensor(storage, owned)
        if dtype in _COMPLEX:
            return TensorColumn(torch.view_as_complex(tensor.reshape(*shape, 2)))
        return TensorColumn(tensor.view(dtype).reshape(shape))
    if kind == "number":
        dtype = np.dtype(spec["dtype"])
        if dtype.kind == "c":
            return NumberColumn(_to_numpy(storage.flatten()).view(dtype))
        values = _to_numpy(storage)
        return NumberColumn(
            values.view(dtype) if values.dtype.kind == "i" else values.astype(dtype)
        )
    if kind == "zoned":
        import pandas as pd

        return ExtensionColumn(storage.to_pandas().astype(spec["dtype"]).array)
    if kind == "category":
        return ExtensionColumn(_categorical(storage, spec))
    if kind == "string":
        return StringColumn(storage.dictionary, storage.indices.to_numpy())
    if kind == "extension":
        import pandas as pd

        return ExtensionColumn(pd.array(storage.to_pandas(), dtype=spec["dtype"]))
    return ObjectColumn(cells_from_arrow(storage, spec))


# Numbers and datetimes


def _numbers_to_arrow(array: np.ndarray[Any, Any], name: str) -> ArrowArray:
    dtype = array.dtype
    if not dtype.isnative:
        array = array.astype(dtype.newbyteorder("="))
    if dtype.kind == "c" and dtype.itemsize <= 16:
        parts = np.ascontiguousarray(array).view(f"f{dtype.itemsize // 2}")
        return _extended(
            pa.FixedSizeListArray.from_arrays(pa.array(parts), 2),
            {"kind": "number", "dtype": array.dtype.str},
        )
    if dtype.kind in "mM" and np.datetime_data(dtype) not in _PORTABLE_UNITS:
        return _extended(_portable_time(array), {"kind": "number", "dtype": dtype.str})
    try:
        return pa.array(array, from_pandas=False)
    except pa.ArrowNotImplementedError as error:
        raise WrongType(
            f"Column {name!r} of dtype {dtype} cannot be stored in Arrow; convert it first."
        ) from error


def _portable_time(array: np.ndarray[Any, Any]) -> ArrowArray:
    """Days as dates, other units as milliseconds; as plain integers where that would overflow."""
    unit = "D" if array.dtype.kind == "M" and np.datetime_data(array.dtype) == ("D", 1) else "ms"
    portable = array.astype(f"{array.dtype.kind}8[{unit}]")
    if np.array_equal(portable.astype(array.dtype), array, equal_nan=True):
        return pa.array(portable)
    return pa.array(np.ascontiguousarray(array).view(np.int64))


def _primitive_from_arrow(array: ArrowArray) -> Column:
    kind = array.type
    if (pa.types.is_timestamp(kind) and kind.tz is None) or pa.types.is_duration(kind):
        return NumberColumn(_to_numpy(array))
    if _is_numeric(kind) and (array.null_count == 0 or pa.types.is_floating(kind)):
        return NumberColumn(_to_numpy(array))
    return _pandas_from_arrow(array)


def _pandas_from_arrow(array: ArrowArray) -> Column:
    """Datetimes with zones, categories, integers with missing values, dates, decimals."""
    import pandas as pd

    kind = array.type
    if _is_numeric(kind):
        if pa.types.is_boolean(kind):
            dtype: Any = pd.BooleanDtype()
        else:
            dtype = pd.api.types.pandas_dtype(str(kind).replace("i", "I", 1).replace("uI", "UI"))
        return ExtensionColumn(dtype.__from_arrow__(array))
    if pa.types.is_timestamp(kind) or pa.types.is_dictionary(kind):
        return ExtensionColumn(array.to_pandas().array)
    try:
        return ExtensionColumn(kind.to_pandas_dtype().__from_arrow__(array))
    except (NotImplementedError, AttributeError, TypeError):
        return ExtensionColumn(pd.arrays.ArrowExtensionArray(array))


def _extension_to_arrow(array: Any, name: str) -> ArrowArray:
    import pandas as pd

    dtype = array.dtype
    try:
        arrow = pa.array(array, from_pandas=True)
    except (pa.ArrowException, TypeError, ValueError) as error:
        raise WrongType(
            f"Column {name!r} of dtype {dtype} cannot be stored in Arrow; convert it first."
        ) from error
    if isinstance(arrow, pa.ChunkedArray):
        arrow = arrow.combine_chunks()
    if isinstance(dtype, pd.DatetimeTZDtype) and not _portable_zone(dtype):
        unit = "ms" if dtype.unit == "s" else dtype.unit
        arrow = arrow.cast(pa.timestamp(unit, "UTC"))
        return _extended(arrow, {"kind": "zoned", "dtype": str(dtype)})
    back = column_from_arrow(arrow)
    if isinstance(back, ExtensionColumn) and back.array.dtype == dtype:
        return arrow
    return _extended(arrow, {"kind": "extension", "dtype": str(dtype)})


def _categories_to_arrow(array: Any, coded: bool) -> ArrowArray:
    """The values, or the codes, with all categories beside them: used or not, in their order."""
    categories = from_pandas(array.categories)
    stored = column_to_arrow(categories, "categories")
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, pa.schema([("categories", stored.type)])) as writer:
        writer.write_batch(pa.record_batch([stored], ["categories"]))
    text = base64.b64encode(sink.getvalue()).decode()
    spec = {"kind": "category", "ordered": bool(array.ordered), "categories": text}
    codes = np.asarray(array.codes)
    indices = pa.array(codes, mask=codes < 0)
    plain = stored.storage if isinstance(stored, pa.ExtensionArray) else stored
    if coded:
        return _extended(pa.DictionaryArray.from_arrays(indices, plain), spec)
    return _extended(plain.take(indices), spec)


def _categorical(storage: ArrowArray, spec: Spec) -> Any:
    import pandas as pd

    with pa.ipc.open_stream(base64.b64decode(spec["categories"])) as reader:
        stored = reader.read_all().column(0).combine_chunks()
    categories = pd.Index(column_from_arrow(stored).present(""), name=None)
    dtype = pd.CategoricalDtype(categories, spec["ordered"])
    plain = stored.storage if isinstance(stored, pa.ExtensionArray) else stored
    if isinstance(storage, pa.DictionaryArray):
        indices = storage.indices
    else:
        indices = pc.call_function(
            "index_in", [storage.cast(plain.type)], pc.SetLookupOptions(plain)
        )
    codes = np.asarray(indices.fill_null(-1))
    return pd.Categorical.from_codes(codes, dtype=dtype)


def _portable_zone(dtype: Any) -> bool:
    """Whether any reader of Arrow knows the unit, and the zone by its name."""
    return dtype.unit != "s" and ("/" in str(dtype.tz) or str(dtype.tz) == "UTC")


# Memory


def _to_numpy(array: ArrowArray) -> np.ndarray[Any, Any]:
    return array.to_numpy(zero_copy_only=False)


def _to_tensor(array: ArrowArray, owned: bool) -> torch.Tensor:
    """The numbers of an array without missing values, in memory that may be written to."""
    if owned and len(array) and not pa.types.is_boolean(array.type):
        return torch.from_dlpack(array)
    values = _to_numpy(array)
    return torch.from_numpy(values if values.flags.writeable else values.copy())


def _leaf(kind: ArrowType) -> ArrowType | None:
    while pa.types.is_fixed_size_list(kind):
        kind = kind.value_type
    return kind if _is_numeric(kind) else None


def _is_numeric(kind: ArrowType) -> bool:
    return pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)


def _is_list(kind: ArrowType) -> bool:
    return pa.types.is_list(kind) or pa.types.is_large_list(kind)


def _is_string_view(kind: ArrowType) -> bool:
    return str(kind) == "string_view"


def _has_nulls(array: ArrowArray) -> bool:
    while True:
        if array.null_count:
            return True
        kind = array.type
        if pa.types.is_fixed_size_list(kind):
            array = array.flatten()
        elif _is_list(kind):
            array = array.values
        else:
            return False
