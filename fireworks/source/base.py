"""Source: a table of rows that may not exist yet."""

from __future__ import annotations

import functools
import threading
import weakref
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Self, cast

import numpy as np
from numpy.typing import NDArray

from fireworks.errors import RowOutOfRange, WiringError, WrongLength, WrongType
from fireworks.message import Message, concat
from fireworks.message.rows import resolve
from fireworks.source import lookup, wiring
from fireworks.source.passes import Pass

Rows = NDArray[np.int64]
Read = Callable[[Any, Rows], Message]


class _NumRowsOfTheInput:
    """``num_rows`` of the input, until a subclass or an object has its own."""

    def __get__(self, source: Source | None, owner: type) -> Any:
        if source is None:
            return self
        if source.inputs or source.needs_inputs:
            above = source.input
            if source.indexed:
                return above.num_rows
        elif source.indexed:
            raise WrongType(
                f"{owner.__name__} implements read; it needs num_rows beside it, as an attribute "
                "or a property."
            )
        raise WrongType(_no_rows_by_index(source))


def _guarded(read: Read) -> Read:
    """Wrap a ``read``: rows checked and brought into its range, errors located."""

    @functools.wraps(read)
    def guarded(self: Source, rows: Rows) -> Message:
        rows = np.asarray(rows, dtype=np.int64)
        if len(rows):
            num_rows = self.num_rows
            if rows.min() < 0 or not num_rows:
                raise RowOutOfRange(
                    f"{self!r} was asked for row {rows.min()}; it has {num_rows} rows an epoch, "
                    "numbered from 0."
                )
            if rows.max() >= num_rows and not (self.epoch_aware and self.varies):
                rows = rows % num_rows
        try:
            return read(self, rows)
        except Exception as error:
            shown = ", ".join(map(str, rows[:5])) + (", …" if len(rows) > 5 else "")
            error.add_note(f"while {self!r} read {len(rows)} rows: {shown}")
            raise

    return guarded


class Source:
    """A table of rows that may not exist yet; it reads from its inputs, lazily.

    A subclass implements one of three methods, and the base gives the rest:

    - ``read(rows)`` with ``num_rows``: an *indexed* source, any of whose rows can be asked for;
    - ``stream(start=None)``: a *streamed* source, whose rows come in their own order;
    - ``transform(message)``: a row-wise change of the one input; indexed where its input is.

    A class that implements both ``read`` and ``stream`` is indexed where its inputs are.

    ``read`` and ``num_rows`` speak rows. ``len``, iteration and ``source[i]`` speak *items*: an
    item is one row until a ``BatchingSource`` makes it a batch, and sources after it inherit that.

    A public attribute or method that a source does not have is looked up on its inputs, upwards,
    until a source has it.

    Args:
        inputs: The source to read from, or a dict of named ones. It can also be bound later, once,
            with ``reader >> source``.
        name: Tells this source from others of its class where that matters (seeds, messages).

    Attributes:
        num_rows: Rows in one epoch; the input's, where a subclass says nothing else.
        item_rows: Rows in one item (the last may have fewer); the input's, or 1.
        epoch_aware: Whether ``read`` understands epoch-extended rows (see ``read``).
        needs_inputs: Whether a source of this class is useless without an input. By itself, a class
            that transforms, or that both reads and streams, is.
    """

    epoch_aware: ClassVar[bool] = False
    needs_inputs: ClassVar[bool] = False
    _methods: ClassVar[frozenset[str]] = frozenset()

    name: str | None
    _inputs: dict[str, Source]
    _outputs: list[weakref.ref[Source]]
    _next_epoch: int
    _lock: threading.Lock  # for what a subclass works out once

    if TYPE_CHECKING:

        @property
        def num_rows(self) -> int:
            """Rows in one epoch."""
            ...
    else:
        num_rows = _NumRowsOfTheInput()

    # -- making one -------------------------------------------------------------------------------

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        own = {name for name in ("read", "stream", "transform") if name in cls.__dict__}
        cls._methods = cls._methods | own
        if "read" in own:
            cls.read = _guarded(cls.__dict__["read"])
        if "transform" in own:
            cls.epoch_aware = True  # the rows are handed up as they come
        if "needs_inputs" not in cls.__dict__:
            cls.needs_inputs = "transform" in cls._methods or {"read", "stream"} <= cls._methods

    def __new__(
        cls, *args: object, inputs: object = None, name: str | None = None, **options: object
    ) -> Self:
        """Set everything up: a subclass whose ``__init__`` forgets ``super()`` works too."""
        if not cls._methods:
            raise WrongType(
                f"{cls.__name__} must implement one of read (with num_rows), stream, transform."
            )
        self = super().__new__(cls)
        self._inputs = {}
        self._outputs = []
        self._next_epoch = 0
        self._lock = threading.Lock()
        self.name = name
        if inputs is not None:
            self._bind(inputs)
        return self

    def __init__(
        self, *, inputs: Source | Mapping[str, Source] | None = None, name: str | None = None
    ) -> None:
        """Take what ``__new__`` has used already."""

    # -- what a subclass implements (one of the three) --------------------------------------------

    @_guarded
    def read(self, rows: Rows) -> Message:
        """Return the rows asked for, in that order, as one Message.

        Pure, and safe to call from several threads. Rows are epoch-extended: row ``i`` of epoch
        ``e`` is ``e * num_rows + i``. A subclass's ``read`` gets rows of one epoch, 0 to
        ``num_rows - 1``, unless the class says ``epoch_aware = True``; then it gets the extended
        rows and asks its inputs for extended rows too.

        Args:
            rows: Row indices, shape (n,), int64, not negative.

        Raises:
            WrongType: The source is a stream.
            RowOutOfRange: A row is negative, or there are no rows.
        """
        if "transform" not in self._methods or not self.input.indexed:
            raise WrongType(_no_rows_by_index(self))
        return self._checked(self.input.read(rows))

    def stream(self, start: object = None) -> Iterator[Message | tuple[Message, object]]:
        """Yield Messages of any length, or ``(message, position)`` pairs.

        Args:
            start: A position that was yielded before, to go on behind it; ``None`` for the start.
        """
        raise NotImplementedError(f"{self!r} does not stream")

    def transform(self, message: Message) -> Message:
        """Return the rows of ``message``, changed: as many, in the same order."""
        raise NotImplementedError(f"{self!r} does not transform")

    # -- wiring -----------------------------------------------------------------------------------

    @property
    def inputs(self) -> Mapping[str, Source]:
        """The sources this one reads from, by name; a single one is called ``"input"``."""
        return MappingProxyType(self._inputs)

    @property
    def input(self) -> Source:
        """The one source this one reads from.

        Raises:
            WiringError: No input is bound, or there are several.
        """
        if len(self._inputs) == 1:
            return next(iter(self._inputs.values()))
        if self._inputs:
            names = ", ".join(map(repr, self._inputs))
            raise WiringError(f"{self!r} has several inputs: {names}; use inputs[name].")
        raise WiringError(
            f"{self!r} has no input yet. Pass inputs=source, or write: "
            f"source >> {type(self).__name__}(…)"
        )

    @property
    def outputs(self) -> list[Source]:
        """The sources that read from this one and are still in use, in the order of binding."""
        return [source for each in self._outputs if (source := each()) is not None]

    def __rshift__(self, after: object) -> Source:
        if not isinstance(after, Source):
            return NotImplemented
        wiring.the_open_end(after)._bind(self)
        return after

    def __rrshift__(self, before: object) -> Source:
        wiring.the_open_end(self)._bind(before)
        return self

    def _bind(self, inputs: object) -> None:
        sources = wiring.named(inputs)
        wiring.check_bindable(self, sources)
        self._inputs = sources
        for each in sources.values():
            each._outputs = [ref for ref in each._outputs if ref() is not None]
            each._outputs.append(weakref.ref(self))

    # -- calling upstream -------------------------------------------------------------------------

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        if lookup.has_own(self, name):
            # A property of our own raised an AttributeError: that one is the news.
            return object.__getattribute__(self, name)
        return lookup.find(self, name)

    def upstream(self, name: str) -> Any:
        """Return the attribute that sources upstream have, this source's own left aside.

        Raises:
            AttributeError: None has it; the message shows the path searched.
        """
        return lookup.find(self, name)

    def __dir__(self) -> Iterable[str]:
        names = set(super().__dir__())
        for source in wiring.upstream(self):
            names.update(each for each in object.__dir__(source) if not each.startswith("_"))
        return sorted(names)

    # -- rows -------------------------------------------------------------------------------------

    @property
    def indexed(self) -> bool:
        """Whether rows can be read in any order, by index."""
        if self._methods == frozenset({"read"}):
            return True
        if self._methods == frozenset({"stream"}):
            return False
        return all(each.indexed for each in self._inputs.values()) and bool(self._inputs)

    @property
    def varies(self) -> bool:
        """Whether an epoch's rows differ from those of other epochs (in order, or in themselves).

        ``rows % num_rows`` addresses the same rows where it does not.
        """
        return any(each.varies for each in self._inputs.values())

    def read_all(self) -> Message:
        """Return all rows of epoch 0 (of a stream: all it yields) as one Message."""
        if self.indexed:
            return self.read(np.arange(self.num_rows))
        return concat(list(self))

    def take(self, n: int) -> Message:
        """Return the first ``n`` rows, or fewer where there are no more."""
        if self.indexed:
            return self.read(np.arange(min(n, self.num_rows)))
        taken: list[Message] = []
        count = 0
        with iter(self) as chunks:
            for chunk in chunks:
                taken.append(chunk)
                count += len(chunk)
                if count >= n:
                    break
        return concat(taken)[:n] if taken else Message()

    def blocks(self, max_rows: int = 4096) -> Iterator[Message]:
        """Yield the rows of epoch 0 in order, for work that looks at each once; it is no pass.

        Args:
            max_rows: Rows in a block of an indexed source; a stream comes in its own chunks.
        """
        if not self.indexed:
            yield from self.streamed()
            return
        for start in range(0, self.num_rows, max_rows):
            yield self.read(np.arange(start, min(start + max_rows, self.num_rows)))

    @property
    def schema(self) -> Mapping[str, Any]:
        """The columns and their kinds, from the first row."""
        return self.take(1).schema

    def _checked(self, message: Message) -> Message:
        changed = self.transform(message)
        if not isinstance(cast("object", changed), Message):
            raise WrongType(
                f"{self!r}.transform must return a Message, not {type(changed).__name__}."
            )
        if len(changed) != len(message):
            raise WrongLength(
                f"{self!r}.transform got {len(message)} rows and returned {len(changed)}. "
                "It must return as many; a source that drops or adds rows implements stream."
            )
        return changed

    # -- items ------------------------------------------------------------------------------------

    @property
    def item_rows(self) -> int:
        """Rows in one item: the batch size after a ``BatchingSource``, otherwise 1."""
        return self.input.item_rows if len(self._inputs) == 1 else 1

    def __len__(self) -> int:
        if not self.indexed:
            raise WrongType(f"{self!r} is a stream: its length is not known before its end.")
        return -(-self.num_rows // self.item_rows)

    def __bool__(self) -> bool:
        return True  # a source is there even when it has no rows, and asking must not count them

    def __getitem__(self, index: Any) -> Message:
        if not self.indexed:
            raise WrongType(_no_rows_by_index(self))
        return self.read(self._rows_of(index))

    def _rows_of(self, index: Any) -> Rows:
        items = resolve(index, len(self)).numpy
        size = self.item_rows
        if size == 1:
            return items
        rows = (items[:, None] * size + np.arange(size)).ravel()
        return rows[rows < self.num_rows]

    def __iter__(self) -> Pass:
        return Pass(self, self._next_epoch, self.item_rows)

    def rows(self) -> Generator[Message]:
        """Yield the rows of one pass one by one, as one-row Messages."""
        for item in self:
            for i in range(len(item)):
                yield item[i : i + 1]

    def chunks(self, max_rows: int = 1024) -> Pass:
        """Open a pass whose items are as large as suits bulk work.

        Args:
            max_rows: Rows in an item where this source's own items are single rows; its batches
                stay as they are, and a stream comes in its own chunks.
        """
        size = self.item_rows if self.indexed else 1
        return Pass(self, self._next_epoch, max_rows if size == 1 else size)

    def streamed(self) -> Generator[Message]:
        """Yield what a streamed source has, chunk by chunk, without positions."""
        if "transform" in self._methods:
            with iter(self.input) as items:
                for item in items:
                    yield self._checked(item)
            return
        for each in self.stream():
            yield each[0] if isinstance(each, tuple) else each

    def finish_epoch(self, epoch: int) -> None:
        """Note that a pass over ``epoch`` has come to its end: the next pass is of the next."""
        self._next_epoch = epoch + 1

    # -- being an object --------------------------------------------------------------------------

    def __repr__(self) -> str:
        return f"{type(self).__name__}({'' if self.name is None else repr(self.name)})"

    def __getstate__(self) -> dict[str, Any]:
        left_out = ("_outputs", "_lock")
        return {key: value for key, value in self.__dict__.items() if key not in left_out}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._outputs = []
        self._lock = threading.Lock()
        for each in self._inputs.values():
            each._outputs.append(weakref.ref(self))


def _no_rows_by_index(source: Source) -> str:
    return (
        f"{source!r} is a stream: its rows cannot be asked for by index. Hold its rows in "
        "memory first: MessageSource(source.read_all())."
    )
