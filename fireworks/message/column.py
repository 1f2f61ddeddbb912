"""What a column is: one array, and the few things that a Message asks of it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from fireworks.errors import WrongType
from fireworks.message.rows import Rows

if TYPE_CHECKING:
    import torch


# pyarrow has no types of its own yet: these names say what is meant.
ArrowArray: TypeAlias = Any
ArrowTable: TypeAlias = Any
ArrowType: TypeAlias = Any


@dataclass(frozen=True)
class Field:
    """What is known of a column without its values.

    Attributes:
        kind: ``"tensor"``, ``"number"``, ``"string"``, ``"datetime"``, ``"category"``,
            ``"ragged"``, ``"object"`` or ``"extension"`` (any other pandas array).
        dtype: The name of the dtype, as torch, numpy or pandas print it.
        shape: The shape of one row: ``()`` for a vector.
        device: The device of a tensor, ``None`` for a vector, which lives in main memory.
    """

    kind: str
    dtype: str
    shape: tuple[int, ...] = ()
    device: str | None = None


class Column(ABC):
    """A column of a Message. Immutable as seen from outside: every change makes a new one.

    A subclass wraps one array (or the two or three that are one in effect). Selecting rows by a
    slice may share memory with the column; `take` copies, except for immutable Arrow strings.
    """

    __slots__ = ()

    @abstractmethod
    def __len__(self) -> int:
        """How many rows there are."""

    @property
    @abstractmethod
    def field(self) -> Field:
        """Kind, dtype, shape and device."""

    @property
    @abstractmethod
    def nbytes(self) -> int:
        """Bytes that the values of these rows take."""

    @property
    @abstractmethod
    def array(self) -> Any:
        """The stored array: a tensor, a numpy array, an Arrow array or a pandas array."""

    @abstractmethod
    def present(self, name: str) -> Any:
        """What a user gets for ``message[name]``: a tensor, or a Series of that name."""

    @abstractmethod
    def take(self, rows: Rows) -> Column:
        """The rows asked for, in that order, as a column of its own."""

    @abstractmethod
    def slice(self, rows: slice) -> Column:
        """A range of rows, as a view where the storage allows it. The step is positive."""

    @abstractmethod
    def concat(self, others: Sequence[Column]) -> Column:
        """This column followed by others of the same class.

        Raises:
            WrongType: They do not fit together.
        """

    @abstractmethod
    def equals(self, other: Column, rtol: float, atol: float) -> bool:
        """Whether another column of the same class has the same dtype and the same values."""

    def fits(self, other: Column) -> bool:
        """Whether another column could be rows of this one as it is: same kind, dtype and shape."""
        return type(self) is type(other) and self.field == other.field

    @abstractmethod
    def tensor(self) -> torch.Tensor:
        """The values as a new tensor.

        Raises:
            WrongType: A value cannot be part of a tensor; the first such row is named.
        """

    @abstractmethod
    def copy(self) -> Column:
        """The same values in memory of their own."""

    def put(self, rows: Rows, values: Column) -> Column:
        """A new column in which the given rows have other values.

        Args:
            rows: Where the values go, each row once.
            values: As many values as rows, of the same class.

        Raises:
            WrongType: The values do not fit this column's dtype.
        """
        origin = np.arange(len(self))
        origin[rows.numpy] = np.arange(len(self), len(self) + len(values))
        both = self.concat([values])
        if both.field.dtype != self.field.dtype:
            raise WrongType(
                f"values of dtype {values.field.dtype} do not fit a column of dtype "
                f"{self.field.dtype}"
            )
        return both.take(Rows(origin))

    def objects(self) -> np.ndarray[Any, Any]:
        """The values as a new numpy array of Python objects."""
        array = np.empty(len(self), object)
        array[:] = list(self.present(""))
        return array
