"""What the parts of Message know of each other."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import Any, Self

from fireworks.message.column import Column


class Table(ABC):
    """Columns of one length. Message is the only table; its methods lie in several modules.

    Attributes:
        stored: The columns as they are kept. The dict and its columns are never changed in place.
    """

    __slots__ = ()

    stored: dict[str, Column]

    @abstractmethod
    def __len__(self) -> int: ...

    @classmethod
    @abstractmethod
    def from_columns(cls, columns: dict[str, Column], length: int | None = None) -> Self:
        """A table of stored columns that are known to agree in length; checks nothing."""

    @abstractmethod
    def __getitem__(self, key: Any) -> Any: ...

    @abstractmethod
    def take(self, rows: Any, columns: str | Iterable[str] | None = None) -> Self:
        """The given rows of some or all columns."""

    @abstractmethod
    def _chosen(self, columns: str | Iterable[str]) -> dict[str, Column]:
        """Some of the stored columns, or an error that names the one that is missing."""

    @abstractmethod
    def _replaced(self, changed: Mapping[str, Any]) -> Self:
        """A table in which columns are new or changed, given as a user gives them."""
