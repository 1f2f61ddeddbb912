"""Rows from whatever can be iterated over."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any, Literal, cast

import numpy as np
import torch

from fireworks.errors import ColumnNotFound, WrongType, WrongValue, suggest
from fireworks.message import Message
from fireworks.source import Source
from fireworks.sources.callables import check_travels, name_of

DictsAre = Literal["records", "columns"]


class IterableSource(Source):
    """The rows that an iterable gives, as a stream: generators, lists, loaders, message queues.

    An element is one of

    - a Message, a DataFrame or an Arrow table: its rows, which stay together as one chunk;
    - a record, which is one row: a mapping of cells, a named tuple or a dataclass;
    - a dict of columns, as Message takes it.

    Whether dicts are records or columns is decided by the first one, unless ``dicts`` says it: it
    is columns where every value is a list, array, tensor or Series. Records are gathered into
    chunks; a cell that a record lacks is None, and those of the first chunk say which columns
    there are.

    Args:
        elements: An iterable, or a function without arguments that returns one and is called for
            each pass. An iterator (a generator, an open file) can be run through only once.
        dicts: What a dict is: ``"records"``, ``"columns"``, or None to look at the first one.
        chunk_rows: Records in a chunk, at least 1.
        name: Tells this source from others of its class.

    Raises:
        WrongType: It is neither an iterable nor a function, or (when read) an element is no rows.
        WrongValue: ``chunk_rows`` is no integer of at least 1, ``dicts`` is something else, or
            (when read) an iterator is run through a second time.
        ColumnNotFound: (when read) a record has a column that the first chunk had not.
    """

    def __init__(
        self,
        elements: Iterable[Any] | Callable[[], Iterable[Any]],
        *,
        dicts: DictsAre | None = None,
        chunk_rows: int = 256,
        name: str | None = None,
    ) -> None:
        super().__init__(name=name)
        if isinstance(elements, str | bytes | Message | Mapping) or not (
            isinstance(elements, Iterable) or callable(elements)
        ):
            raise WrongType(
                f"{self!r} takes an iterable of Messages, dicts or records, or a function that "
                f"returns one, not {type(elements).__name__}. One Message or dict of columns goes "
                "into MessageSource."
            )
        if dicts not in (None, "records", "columns"):
            raise WrongValue(f"dicts is 'records', 'columns' or None, not {dicts!r}.")
        if not isinstance(chunk_rows, int | np.integer) or chunk_rows < 1:
            raise WrongValue(f"chunk_rows must be an integer of at least 1; it is {chunk_rows!r}.")
        self._elements = elements
        self._dicts: DictsAre | None = dicts
        self._chunk_rows = int(chunk_rows)
        self._spent = False

    def stream(self, start: Any = None) -> Iterator[Message | tuple[Message, Any]]:
        """Yield the rows; with the position behind them where the elements are a sequence."""
        elements, first = self._opened(), start or 0
        if not isinstance(elements, Sequence):
            for message, _ in self._chunks(iter(elements), 0):
                yield message
            return
        # What dicts are was decided by the first element, which a resumed pass does not see again.
        dicts = self._dicts or _first_dict(elements)
        yield from self._chunks((elements[i] for i in range(first, len(elements))), first, dicts)

    def describe(self) -> dict[str, Any]:
        """Return what dicts are, the size of chunks, and the function's name."""
        named = None if isinstance(self._elements, Iterable) else name_of(self._elements)
        return {"dicts": self._dicts, "chunk_rows": self._chunk_rows, "function": named}

    def _opened(self) -> Iterable[Any]:
        elements = self._elements
        if not isinstance(elements, Iterable):
            opened = elements()
            if not isinstance(cast("object", opened), Iterable):
                raise WrongType(
                    f"The function of {self!r}, {name_of(elements)}, must return an iterable; it "
                    f"returned {type(opened).__name__}."
                )
            return opened
        if not isinstance(elements, Iterator):
            return elements
        with self._lock:
            if self._spent:
                raise WrongValue(
                    f"{self!r} was given an iterator ({type(elements).__name__}), which can be run "
                    "through only once, and it has been begun already (a schema or a fit counts "
                    "too). Give a function that makes a new one: IterableSource(lambda: "
                    "generate(…)); or hold the rows: MessageSource(source.read_all())."
                )
            self._spent = True
        return elements

    def _chunks(
        self, elements: Iterator[Any], number: int, dicts: DictsAre | None = None
    ) -> Iterator[tuple[Message, int]]:
        """Yield Messages, each with the number of elements up to its end."""
        dicts = dicts or self._dicts
        columns: list[str] | None = None
        records: list[Mapping[str, Any]] = []
        for element in elements:
            if dicts is None and isinstance(element, dict):
                dicts = _meant(cast("dict[str, Any]", element))
            table = _table(element, dicts)
            if table is not None and records:
                columns, chunk = _gathered(records, columns, number)
                yield chunk, number
                records = []
            number += 1
            if table is not None:
                yield table, number
                continue
            records.append(_record(element, number - 1))
            if len(records) == self._chunk_rows:
                columns, chunk = _gathered(records, columns, number)
                yield chunk, number
                records = []
        if records:
            yield _gathered(records, columns, number)[1], number

    def __getstate__(self) -> dict[str, Any]:
        if isinstance(self._elements, Iterator):
            raise WrongType(
                f"{self!r} cannot be pickled: it was given an iterator "
                f"({type(self._elements).__name__}). Give a function of a module that makes one."
            )
        if not isinstance(self._elements, Iterable):
            check_travels(self, self._elements)
        return super().__getstate__()


def _first_dict(elements: Sequence[Any]) -> DictsAre | None:
    first = next((each for each in elements if isinstance(each, dict)), None)
    return None if first is None else _meant(first)


def _meant(first: dict[str, Any]) -> DictsAre:
    """Guess from the first dict whether dicts are rows or tables."""
    tables = bool(first) and all(
        isinstance(value, list | tuple)
        or (isinstance(value, np.ndarray | torch.Tensor) and value.ndim > 0)
        or hasattr(value, "__arrow_c_array__")
        or hasattr(value, "iloc")
        for value in first.values()
    )
    return "columns" if tables else "records"


def _table(element: Any, dicts: DictsAre | None) -> Message | None:
    """Return the rows of an element that is a table, None for one that may be a record."""
    if isinstance(element, Message):
        return element
    if isinstance(element, dict):
        return Message(element) if dicts == "columns" else None
    if hasattr(element, "__arrow_c_stream__") or hasattr(element, "__arrow_c_array__"):
        return Message(element)
    return None


def _record(element: Any, number: int) -> Mapping[str, Any]:
    if isinstance(element, Mapping):
        return cast("Mapping[str, Any]", element)
    if isinstance(element, tuple) and hasattr(element, "_asdict"):
        return element._asdict()  # pyright: ignore[reportAttributeAccessIssue]
    if is_dataclass(element) and not isinstance(element, type):
        return {field.name: getattr(element, field.name) for field in fields(element)}
    raise WrongType(
        f"Element {number} is {element!r:.60} ({type(element).__name__}); elements are Messages, "
        "tables, dicts, named tuples or dataclasses. A single value needs a name: "
        "({'value': each} for each in …)."
    )


def _gathered(
    records: list[Mapping[str, Any]], columns: list[str] | None, end: int
) -> tuple[list[str], Message]:
    """Return the columns that all chunks have, and records as a chunk with these."""
    if columns is None:
        message = Message(records)
        return message.columns, message
    known = set(columns)
    for offset, record in enumerate(records):
        if not known.issuperset(record):
            new = next(name for name in record if name not in known)
            raise ColumnNotFound(
                f"Element {end - len(records) + offset} has a column {new!r} that those of the "
                f"first chunk lack.{suggest(new, columns)}"
            )
    return columns, Message([{name: record.get(name) for name in columns} for record in records])
