"""The Message: a table whose columns are tensors or vectors of one length."""

from __future__ import annotations

import copy
from abc import ABCMeta
from collections.abc import (
    Callable,
    ItemsView,
    Iterable,
    Iterator,
    KeysView,
    Mapping,
    Sequence,
    ValuesView,
)
from typing import TYPE_CHECKING, Any, cast, overload

import numpy as np
import torch

from fireworks.errors import (
    ColumnNotFound,
    DuplicateColumn,
    WrongLength,
    WrongType,
    WrongValue,
    suggest,
)
from fireworks.message import construction, frames
from fireworks.message.column import Column, Field
from fireworks.message.combination import concat_columns, merge_columns
from fireworks.message.conversion import column_from
from fireworks.message.display import as_html, as_text
from fireworks.message.habits import DataFrameHabits
from fireworks.message.interchange import Interchange
from fireworks.message.joining import join_columns
from fireworks.message.kinds.tensor import TensorColumn
from fireworks.message.rows import Rows, last_of_each, resolve
from fireworks.message.sorting import sorted_rows
from fireworks.message.vectors import as_vector

if TYPE_CHECKING:
    import pandas as pd


class Message(DataFrameHabits, Interchange):
    """A dict of columns that share one length: a DataFrame and a tensor batch at once.

    A column is a tensor, whose first dimension is the rows, or a vector, which is presented as a
    pandas Series. Only a torch tensor becomes a tensor column; lists and arrays become vectors.

        m = Message({"x": torch.randn(4, 3), "label": [0, 1, 1, 0], "name": ["a", "b", "c", "d"]})
        m["x"], m["name"], m[1:3], m[[2, 0]], m[m["label"] == 1], m[["x", "label"]]

    Memory: construction shares the tensors and arrays that it is given, slices share the memory of
    the Message that they are taken from, and other selections copy. Assigning to columns or rows of
    a Message never changes another Message: the changed column is a new one. Only writing into a
    tensor itself (``m["x"][0] = 1``) is seen by all that share it.

    Args:
        data: A mapping of names to columns, a Message, a DataFrame, a pyarrow Table, a TensorDict,
            a numpy structured array, a list of records (mappings), or anything with
            ``__arrow_c_stream__``. Scalars are repeated over the rows.
        vectors: With it, ``data`` are the tensors, and these the vectors, for example a DataFrame.

    Raises:
        WrongLength: Columns of different lengths.
        WrongType: Something that cannot be a column.
        DuplicateColumn: A name that occurs twice.
    """

    __slots__ = ("__weakref__", "_length", "stored")
    __hash__ = None  # type: ignore[assignment]

    stored: dict[str, Column]  #: The columns as they are kept; never changed in place.
    _length: int

    def __init__(self, data: Any = None, vectors: Any = None) -> None:
        columns = construction.columns_from(data)
        if vectors is not None:
            columns = merge_columns([columns, construction.columns_from(vectors)])
        self.stored = columns
        self._length = construction.shared_length(columns)

    @classmethod
    def from_columns(cls, columns: dict[str, Column], length: int | None = None) -> Message:
        """A Message of stored columns that are known to agree in length; checks nothing."""
        message = object.__new__(cls)
        message.stored = columns
        if length is None:
            length = len(next(iter(columns.values()))) if columns else 0
        message._length = length
        return message

    # What it holds

    def __len__(self) -> int:
        return self._length

    @property
    def columns(self) -> list[str]:
        """The names of the columns."""
        return list(self.stored)

    @property
    def schema(self) -> dict[str, Field]:
        """Kind, dtype, shape of one row and device of each column."""
        return {name: column.field for name, column in self.stored.items()}

    @property
    def nbytes(self) -> int:
        """Bytes that the values of the rows take."""
        return sum(column.nbytes for column in self.stored.values())

    @property
    def shape(self) -> tuple[int, int]:
        """How many rows and columns there are."""
        return self._length, len(self.stored)

    def __iter__(self) -> Iterator[str]:
        return iter(self.stored)

    def __contains__(self, name: object) -> bool:
        return name in self.stored

    def keys(self) -> KeysView[str]:
        """The names of the columns."""
        return self.stored.keys()

    def values(self) -> ValuesView[Any]:
        """The tensors and Series."""
        return ValuesView(self)  # type: ignore[arg-type]

    def items(self) -> ItemsView[str, Any]:
        """Pairs of a name and its tensor or Series."""
        return ItemsView(self)  # type: ignore[arg-type]

    def get(self, name: str, default: Any = None) -> Any:
        """The tensor or Series of a column, or a default where there is no such column."""
        return self[name] if name in self.stored else default

    def array(self, name: str) -> Any:
        """The stored array of a column, without building a Series.

        Returns:
            The tensor, a read-only numpy array (numbers, datetimes, objects), an Arrow array
            (strings, ragged columns) or a pandas array.

        Raises:
            ColumnNotFound: There is no such column.
        """
        column = self.stored.get(name)
        return (self._column(name) if column is None else column).array

    # Rows and columns

    @overload
    def __getitem__(self, key: str) -> Any: ...
    @overload
    def __getitem__(self, key: Any) -> Message: ...
    def __getitem__(self, key: Any) -> Any:
        if type(key) is str:
            return self._column(key).present(key)
        if type(key) is slice:
            return self._slice(key)
        if construction.names_columns(key):
            return self._select(key)
        return self._gather(self.stored, resolve(key, self._length))

    def take(self, rows: Any, columns: str | Iterable[str] | None = None) -> Message:
        """The given rows, in that order, of some or all columns, as a Message of its own.

        Args:
            rows: Row numbers, from 0 or, if negative, from the end; or a mask.
            columns: Which columns; all by default.

        Raises:
            RowOutOfRange: A row that is not there.
            ColumnNotFound: A column that is not there.
        """
        chosen = self.stored if columns is None else self._chosen(columns)
        return self._gather(chosen, resolve(rows, self._length))

    def _gather(self, columns: dict[str, Column], rows: Rows) -> Message:
        return Message.from_columns(
            {name: column.take(rows) for name, column in columns.items()},
            len(rows) if columns else 0,
        )

    def _slice(self, rows: slice) -> Message:
        start, stop, step = rows.indices(self._length)
        if step < 0:  # torch has no views that run backwards
            return self._gather(self.stored, Rows(np.arange(start, stop, step)))
        span = slice(start, max(start, stop), step)
        return Message.from_columns(
            {name: column.slice(span) for name, column in self.stored.items()},
            len(range(start, stop, step)) if self.stored else 0,
        )

    def _select(self, names: Iterable[str]) -> Message:
        chosen = self._chosen(names)
        return Message.from_columns(chosen, self._length if chosen else 0)

    def _column(self, name: str) -> Column:
        try:
            return self.stored[name]
        except KeyError:
            raise ColumnNotFound(
                f"There is no column {name!r}.{suggest(name, self.stored)}"
            ) from None

    def _chosen(self, columns: str | Iterable[str]) -> dict[str, Column]:
        names = [columns] if isinstance(columns, str) else list(columns)
        stored = self.stored
        try:
            chosen = {name: stored[name] for name in names}
        except (KeyError, TypeError):
            chosen = {name: self._column(name) for name in names}  # names the one that is missing
        if len(chosen) != len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise DuplicateColumn(f"Column {twice!r} is asked for twice in {names}.")
        return chosen

    def rows(self) -> Iterator[dict[str, Any]]:
        """The rows one by one, each as a dict of its cells."""
        stored = {name: self[name] for name in self.stored}
        cells = {
            name: values if isinstance(values, torch.Tensor) else values.array
            for name, values in stored.items()
        }
        for row in range(self._length):
            yield {name: values[row] for name, values in cells.items()}

    # Changing it

    def __setitem__(self, key: Any, value: Any) -> None:
        if isinstance(key, str):
            self._set_column(key, value)
        else:
            self._set_rows(resolve(key, self._length), value)

    def _set_column(self, name: str, value: Any) -> None:
        # A Message without columns takes the length of its first one.
        column = _column_from(name, value, self._length if self.stored else None)
        self.stored = {**self.stored, name: column}
        self._length = len(column)

    def _set_rows(self, rows: Rows, values: Any) -> None:
        given = construction.columns_from(values, length=len(rows))
        for name in given:
            self._column(name)
        if isinstance(values, Message):
            for name in self.stored:
                if name not in given:
                    raise ColumnNotFound(
                        f"The rows to be assigned lack the column {name!r}. To assign some "
                        f"columns only, give a dict.{suggest(name, given)}"
                    )
        if construction.shared_length(given) != len(rows) and given:
            raise WrongLength(
                f"{construction.shared_length(given)} rows cannot be assigned to {len(rows)}."
            )
        last = last_of_each(rows.numpy)
        changed = dict(self.stored)
        for name, column in given.items():
            try:
                old = changed[name]
                new = construction.fitted(column, old)
                if last is None:
                    changed[name] = old.put(rows, new)
                else:
                    changed[name] = old.put(Rows(rows.numpy[last]), new.take(Rows(last)))
            except WrongType as error:
                raise WrongType(f"Column {name!r} cannot be assigned to: {error}.") from None
        self.stored = changed

    def __delitem__(self, key: Any) -> None:
        if isinstance(key, str):
            self._column(key)
            self.stored = {name: each for name, each in self.stored.items() if name != key}
            self._length = self._length if self.stored else 0
            return
        keep = np.ones(self._length, bool)
        keep[resolve(key, self._length).numpy] = False
        kept = self._gather(self.stored, Rows(keep.nonzero()[0]))
        self.stored, self._length = kept.stored, kept._length

    # Combining

    def append(self, other: Any) -> Message:
        """This Message followed by the rows of another, as a new Message; see `concat`."""
        return concat([self, other])

    def merge(self, other: Any) -> Message:
        """The columns of both Messages side by side, as a new Message; see `merge`."""
        return merge([self, other])

    def join(self, other: Any, on: str | Iterable[str], how: str = "inner") -> Message:
        """Add the columns of another Message where keys agree, as a database joins tables.

        Args:
            other: What to join; anything that Message can be made of.
            on: The column or columns that both have and that must be equal.
            how: ``"inner"`` drops rows without a match; ``"left"`` keeps them, with missing values
                in the other's columns, which then must be vectors.

        Returns:
            One row for each pair of rows that match, in the order of this Message.

        Raises:
            ColumnNotFound: A key is missing.
            DuplicateColumn: A column that is no key is in both.
            WrongType: Keys that cannot be compared; a tensor that would have missing rows.
        """
        other = other if isinstance(other, Message) else Message(other)
        keys = [on] if isinstance(on, str) else list(on)
        self._chosen(keys)
        other._chosen(keys)
        return Message.from_columns(join_columns(self.stored, other.stored, keys, how))

    # Transforming

    def map(self, function: Callable[..., Any] | Mapping[str, Callable[[Any], Any]]) -> Message:
        """Change the columns.

        Args:
            function: A function of the Message that returns a Message or a mapping of columns
                (which then is the result); or a dict of functions, each of which gets one
                column's tensor or Series and returns the new column.
        """
        # A dict cannot be called: that is seen much faster than that it is a Mapping.
        if not callable(function) or isinstance(function, Mapping):
            changed = {name: each(self[name]) for name, each in function.items()}
            return self._replaced(changed)
        result = function(self)
        return result if isinstance(result, Message) else Message(result)

    def _replaced(self, changed: Mapping[str, Any]) -> Message:
        # A Message without columns takes the length of its first one.
        columns, length = dict(self.stored), self._length if self.stored else None
        for name, value in changed.items():
            columns[name] = column = _column_from(name, value, length)
            if length is None:
                length = len(column)
        return Message.from_columns(columns, length)

    def filter(self, keep: Any) -> Message:
        """The rows for which a mask, or a function of the Message that returns one, is true."""
        mask = keep(self) if callable(keep) else keep
        return self._gather(self.stored, resolve(mask, self._length))

    def sort(self, by: str | Iterable[str], ascending: bool | Sequence[bool] = True) -> Message:
        """The rows in the order of one or several columns; stable, missing values last.

        Args:
            by: A column, or several, the first of which counts most.
            ascending: The direction of all, or of each.

        Raises:
            WrongType: A column whose values have no order.
        """
        keys = self._chosen(by)
        rows = sorted_rows(list(keys), list(keys.values()), ascending)
        return self._gather(self.stored, rows)

    def sample(self, n: int, seed: int) -> Message:
        """Draw ``n`` different rows, in random order; equal seeds draw equal rows.

        Raises:
            WrongValue: There are fewer rows.
        """
        if not 0 <= n <= self._length:
            raise WrongValue(f"{n} different rows cannot be drawn from {self._length}.")
        drawn = np.random.default_rng(seed).choice(self._length, n, replace=False)
        return self._gather(self.stored, Rows(drawn.astype(np.int64, copy=False)))

    def permute(self, rows: Any) -> Message:
        """All rows in another order.

        Raises:
            WrongValue: The rows are no permutation.
        """
        return self._gather(self.stored, construction.permutation(rows, self._length))

    def rename(self, names: Mapping[str, str] | None = None, /, **more: str) -> Message:
        """Give columns new names: ``m.rename({"x": "image"})`` or ``m.rename(x="image")``."""
        new = {**(names or {}), **more}
        self._chosen(new)
        renamed: dict[str, Column] = {}
        for name, column in self.stored.items():
            target = new.get(name, name)
            if target in renamed:
                raise DuplicateColumn(f"Two columns would be named {target!r}.")
            renamed[target] = column
        return Message.from_columns(renamed, self._length)

    def drop(self, columns: str | Iterable[str]) -> Message:
        """All columns but these."""
        gone = self._chosen(columns)
        return self._select([name for name in self.stored if name not in gone])

    # Kinds and devices

    def tensors(self, columns: str | Iterable[str] | None = None) -> Message:
        """A Message of tensors: tensor columns as they are, vectors converted.

        Raises:
            WrongType: A vector cannot be a tensor; its first offending row and value are named.
        """
        chosen = self.stored if columns is None else self._chosen(columns)
        return Message.from_columns(
            {name: _as_tensor(name, column) for name, column in chosen.items()},
            self._length if chosen else 0,
        )

    def to_tensors(self, columns: str | Iterable[str] | None = None) -> Message:
        """All columns, the given ones as tensors."""
        return Message.from_columns({**self.stored, **self.tensors(columns).stored}, self._length)

    def to_vectors(self, columns: str | Iterable[str] | None = None) -> Message:
        """All columns, the given ones as vectors; a tensor of several dimensions as objects."""
        chosen = self.stored if columns is None else self._chosen(columns)
        vectors = {name: as_vector(column) for name, column in chosen.items()}
        return Message.from_columns({**self.stored, **vectors}, self._length)

    def dataframe(self, columns: str | Iterable[str] | None = None) -> pd.DataFrame:
        """A pandas DataFrame; tensors of several dimensions become object cells."""
        return frames.dataframe(self.stored if columns is None else self._chosen(columns))

    def to(
        self,
        device: torch.device | str | int,
        columns: str | Iterable[str] | None = None,
        *,
        non_blocking: bool = False,
    ) -> Message:
        """Move tensors to a device; vectors stay where they are, in main memory."""
        target = torch.device(device)
        chosen = self.stored if columns is None else self._chosen(columns)
        moved = {
            name: TensorColumn(column.array.to(target, non_blocking=non_blocking))
            for name, column in chosen.items()
            if isinstance(column, TensorColumn)
        }
        return Message.from_columns({**self.stored, **moved}, self._length)

    def cpu(self, columns: str | Iterable[str] | None = None) -> Message:
        """Move tensors to main memory."""
        return self.to("cpu", columns)

    def cuda(self, columns: str | Iterable[str] | None = None) -> Message:
        """Move tensors to the current CUDA device."""
        return self.to("cuda", columns)

    def pin_memory(self, device: Any = None) -> Message:
        """Copy tensors to page-locked memory, for transfers that do not block."""
        pinned = {
            name: TensorColumn(column.array.pin_memory())
            for name, column in self.stored.items()
            if isinstance(column, TensorColumn)
        }
        return Message.from_columns({**self.stored, **pinned}, self._length)

    @property
    def device(self) -> torch.device | None:
        """The device of the tensors; None where there are none, or several devices."""
        devices = {
            column.array.device
            for column in self.stored.values()
            if isinstance(column, TensorColumn)
        }
        return devices.pop() if len(devices) == 1 else None

    # Equality and copies

    def __eq__(self, other: object) -> bool:
        return self.equals(other)

    def equals(self, other: object, rtol: float = 0.0, atol: float = 0.0) -> bool:
        """Whether another Message has the same columns, in any order, with equal dtypes and values.

        NaN equals NaN, and missing values equal each other; devices do not count.

        Args:
            other: What to compare with; anything but a Message is not equal.
            rtol: Relative tolerance for floating point values, relative to ``other``.
            atol: Absolute tolerance for floating point values.
        """
        if not isinstance(other, Message) or self.stored.keys() != other.stored.keys():
            return False
        if self._length != other._length:
            return False
        for name, column in self.stored.items():
            theirs = other.stored[name]
            if type(column) is not type(theirs) or not column.equals(theirs, rtol, atol):
                return False
        return True

    def __copy__(self) -> Message:
        return Message.from_columns(dict(self.stored), self._length)

    def __deepcopy__(self, memo: dict[int, Any]) -> Message:
        return Message.from_columns(
            {name: each.copy() for name, each in self.stored.items()}, self._length
        )

    def copy(self, deep: bool = True) -> Message:
        """A copy with memory of its own or, if not ``deep``, one that shares the columns."""
        if deep:
            return copy.deepcopy(self)
        return Message.from_columns(self.stored, self._length)  # stored is never changed in place

    def __getstate__(self) -> dict[str, Column]:
        return self.stored

    def __setstate__(self, state: dict[str, Column]) -> None:
        self.stored = state
        self._length = construction.shared_length(state)

    # Looking at it

    def __repr__(self) -> str:
        return as_text(self.stored, self._length)

    def _repr_html_(self) -> str:
        return as_html(self.stored, self._length)


cast(ABCMeta, Mapping).register(Message)


def _column_from(name: str, value: Any, length: int | None) -> Column:
    try:
        return column_from(value, length)
    except (WrongLength, WrongType) as error:
        raise type(error)(f"Column {name!r} cannot be set: {error}.") from None


def _as_tensor(name: str, column: Column) -> TensorColumn:
    if isinstance(column, TensorColumn):
        return column
    try:
        return TensorColumn(column.tensor())
    except WrongType as error:
        raise WrongType(f"Column {name!r} cannot be a tensor: {error}.") from None


def concat(messages: Iterable[Any]) -> Message:
    """The rows of several Messages, one after the other, as a new Message.

    Args:
        messages: Messages, or what Message can be made of; all have the same columns. Those
            without columns are left out.

    Raises:
        ColumnNotFound: A Message lacks a column of the first, or has one more.
        WrongType: Columns of one name do not fit together: other trailing shapes, devices, or a
            tensor here and a vector there.
    """
    tables = [_columns_of(each) for each in messages]
    tables = [table for table in tables if table] or tables[:1]
    if not tables:
        return Message()
    columns = concat_columns(tables)
    return Message.from_columns(columns, construction.shared_length(columns))


def merge(messages: Iterable[Any]) -> Message:
    """The columns of several Messages side by side, as a new Message that shares them.

    Raises:
        DuplicateColumn: Two Messages have a column of the same name.
        WrongLength: The Messages have different numbers of rows.
    """
    columns = merge_columns([_columns_of(each) for each in messages])
    return Message.from_columns(columns, construction.shared_length(columns))


def _columns_of(data: Any) -> dict[str, Column]:
    return data.stored if isinstance(data, Message) else Message(data).stored
