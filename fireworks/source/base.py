"""Source: a table of rows that may not exist yet."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from typing import Any, ClassVar, Self

import numpy as np

from fireworks.errors import WrongLength, WrongType, WrongValue
from fireworks.message import Message, concat
from fireworks.message.rows import resolve
from fireworks.source import state, wiring
from fireworks.source.failures import (
    OnError,
    Skipped,
    changed_chunks,
    check_on_error,
    persistent,
    read_blocks,
    tried,
)
from fireworks.source.node import Node
from fireworks.source.passes import Pass
from fireworks.source.reading import Rows, apart, guarded
from fireworks.source.rings import Flow, Position
from fireworks.source.run import ROWS_PER_READ, Reader, Run, current_run
from fireworks.source.statistics import Statistics
from fireworks.source.stepping import stepped_chunks

_SKIPPED_KEPT = 1_000

_WAYS = frozenset({"read", "stream", "transform", "flow"})
_WAYS_OF_THE_LIBRARY = frozenset({"reorder", "change"})


class _NumRowsOfTheInput:
    """``num_rows`` of the input, until a subclass or an object has its own."""

    def __get__(self, source: Source | None, owner: type) -> Any:
        if source is None:
            return self
        # Asked at every read, by every source below: the dict itself, not a view of it.
        inputs = source._inputs  # pyright: ignore[reportPrivateUsage]
        if len(inputs) == 1:
            (above,) = inputs.values()
            return above.num_rows  # a stream further up says that it is one
        if inputs or source.needs_inputs:
            return source.input.num_rows
        source.require_index()
        raise WrongType(
            f"{owner.__name__} implements read; it needs num_rows beside it, as an attribute or a "
            "property."
        )


WAYS_OUT = (
    "Files of lines, filters and routes are scanned once by Graph(source).prepare(), and then it "
    "works; of any other stream hold the rows in memory: MessageSource(source.read_all())."
)
"""What to do where rows are needed by index and there is a stream."""


class Source(Node):
    """A table of rows that may not exist yet; it reads from its inputs, lazily.

    A subclass implements one of three methods, and the base gives the rest:

    - ``read(rows)`` with ``num_rows``: an *indexed* source, any of whose rows can be asked for;
    - ``stream(start=None)``: a *streamed* source, whose rows come in their own order;
    - ``transform(message)``: a row-wise change of the one input; indexed where its input is.

    ``read`` and ``num_rows`` speak rows. ``len``, iteration and ``source[i]`` speak *items*: an
    item is one row until a ``BatchingSource`` makes it a batch, and sources after it inherit that.

    A public attribute or method that a source does not have is looked up on its inputs, upwards,
    until a source has it.

    Sources of the library that only choose and order rows implement ``reorder`` instead; a change
    that depends on the row's number implements ``change`` in place of ``transform``; and those that
    combine streams implement ``flow`` in place of ``stream``.

    Args:
        inputs: The source to read from, or a dict of named ones. It can also be bound later, once,
            with ``reader >> source``.
        name: Tells this source from others of its class: in seeds, states and messages.
        on_error: What to do where `read` or `transform` raises: ``"raise"``; ``"skip"`` to leave
            the rows out for which it does (see ``skipped``), which makes the source a stream; or
            ``Retry(n)``, which also opens a `stream` that raises again, behind its last chunk.

    Attributes:
        num_rows: Rows in one epoch; the input's, where a subclass says nothing else.
        item_rows: Rows in one item (the last may have fewer); the input's, or 1.
        statistics: What this source has done so far.
        epoch_aware: Whether ``read`` understands epoch-extended rows (see ``read``).
        passes_rows: Whether `read` hands its rows up as they come, so that they are checked
            further up.
        reorders: Whether its rows are its one input's, in the order that `reorder` tells.
        changes: Whether its rows are its one input's, put through `change`.
        handles_errors: Whether this class itself does what ``on_error`` says.
        needs_inputs: Whether a source of this class is useless without an input. By itself, a class
            that transforms, or that reads in more than one way, is.
        skipped: The last rows that were left out, with their reasons, at most 1,000.
        skipped_count: How many were left out.
    """

    epoch_aware: ClassVar[bool] = False
    passes_rows: bool = False
    on_error: OnError = "raise"
    handles_errors: ClassVar[bool] = False
    reorders: bool = False
    changes: bool = False
    _methods: ClassVar[frozenset[str]] = frozenset()

    statistics: Statistics
    skipped: list[Skipped]
    skipped_count: int
    items_of_last_pass: int | None
    announced: tuple[int, int]  # by the pass advanced last: the row it reads next, and up to which
    _next_epoch: int
    _where: tuple[int, Position] | None  # the epoch and position of the pass advanced last
    _resume: tuple[int, Position] | None  # where the next pass begins, after load_state_dict
    _description: tuple[int, dict[str, Source], list[str]] | None

    # Typed so that a subclass may have an attribute or a property.
    num_rows: Any = _NumRowsOfTheInput()

    # -- making one -------------------------------------------------------------------------------

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        own = _WAYS & cls.__dict__.keys()
        cls._methods = cls._methods | own
        if not cls._methods & {"read", "stream"}:  # with these, a "change" is something else
            own |= _WAYS_OF_THE_LIBRARY & cls.__dict__.keys()
            cls._methods = cls._methods | own
        cls.reorders = "reorder" in cls._methods and "read" not in cls._methods
        cls.changes = bool(cls._methods & {"transform", "change"}) and "read" not in cls._methods
        if "read" in own:
            read = cls.__dict__["read"]
            cls.read = guarded(read if cls.handles_errors else persistent(read))
        if own & {"transform", "change"}:
            cls.epoch_aware = cls.passes_rows = True
        if "reorder" in own:
            cls.epoch_aware = True
        if own and "needs_inputs" not in cls.__dict__:
            reads_one = cls.reorders or cls.changes or "transform" in cls._methods
            cls.needs_inputs = reads_one or len(cls._methods) > 1

    def __new__(
        cls,
        *args: object,
        inputs: object = None,
        name: str | None = None,
        on_error: OnError | None = None,
        **options: object,
    ) -> Self:
        """Set everything up: a subclass whose ``__init__`` forgets ``super()`` works too."""
        if not cls._methods:
            raise WrongType(
                f"{cls.__name__} must implement one of read (with num_rows), stream, transform."
            )
        self = super().__new__(cls, *args, inputs=inputs, name=name, **options)
        if on_error is not None:
            self.on_error = check_on_error(on_error)
            if self.leaves_rows_out and cls._methods <= {"stream"}:
                raise WrongValue(
                    f'{self!r} takes on_error="raise" or Retry(n), not "skip": a stream that '
                    "raises has ended, and what would come next is unknown. Leave rows out inside "
                    "of its stream."
                )
        self.statistics = Statistics()
        self.skipped = []
        self.skipped_count = 0
        self.items_of_last_pass = None
        self.announced = (0, 0)
        self._next_epoch = 0
        self._where = self._resume = self._description = None
        return self

    def __init__(
        self,
        *,
        inputs: Source | Mapping[str, Source] | None = None,
        name: str | None = None,
        on_error: OnError = "raise",
    ) -> None:
        """Take what ``__new__`` has used already."""

    # -- what a subclass implements: one of these -------------------------------------------------

    @guarded
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
        if self.reorders:
            return self.input.read(self.reorder(rows))
        if not self.changes or self.leaves_rows_out:
            self.require_index()
        return tried(self, self.change, self.input.read(rows), rows)

    def stream(self, start: Any = None) -> Iterator[Message | tuple[Message, Any]]:
        """Yield Messages of any length, or ``(message, position)`` pairs.

        Args:
            start: A position that was yielded before (it has been through JSON), to go on behind
                it; ``None`` for the start. A stream that yields none is stepped forward instead.
        """
        raise NotImplementedError(f"{self!r} does not stream")

    def transform(self, message: Message) -> Message:
        """Return the rows of ``message``, changed: as many, in the same order."""
        raise NotImplementedError(f"{self!r} does not transform")

    def reorder(self, rows: Rows) -> Rows:
        """Return which epoch-extended rows of the one input stand at these places."""
        raise NotImplementedError(f"{self!r} does not reorder")

    def change(self, message: Message, rows: Rows) -> Message:
        """Return rows of the one input, changed.

        Args:
            message: The rows; to be left as they are.
            rows: Their epoch-extended numbers.
        """
        return self.checked(message)

    def flow(self, run: Run, start: Position) -> Flow:
        """Yield ``(message, position)`` pairs behind a position, within a run.

        For sources that combine streams: they open their inputs with ``run`` and put the inputs'
        positions into their own, so that a state covers everything upstream.
        """
        if self.leaves_rows_out and "read" in self._methods:
            size = self.item_rows if self.item_rows > 1 else ROWS_PER_READ
            yield from read_blocks(self, run, start, size, self._skip)
            return
        if self.leaves_rows_out:
            yield from changed_chunks(
                self, run, start, lambda message, rows: self.checked(message), self._skip
            )
            return
        if self.changes:
            for message, position in run.open(self.input, start, reader=self):
                yield tried(self, self.checked, message), position
            return
        yield from stepped_chunks(self, run, start)

    # -- what a subclass may add ------------------------------------------------------------------

    @property
    def indexed(self) -> bool:
        """Whether rows can be read in any order, by index."""
        if self.leaves_rows_out or not self._methods - {"stream", "flow"}:
            return False
        if self._methods == frozenset({"read"}):
            return True
        return bool(self._inputs) and all(each.indexed for each in self._inputs.values())

    @property
    def leaves_rows_out(self) -> bool:
        """Whether the base leaves out rows that cannot be read or changed, as asked for."""
        return self.on_error == "skip" and not self.handles_errors

    @property
    def varies(self) -> bool:
        """Whether an epoch's rows differ from those of other epochs (in order, or in themselves).

        ``rows % num_rows`` addresses the same rows where it does not.
        """
        return any(each.varies for each in self._inputs.values())

    @property
    def item_rows(self) -> int:
        """Rows in one item: the batch size after a ``BatchingSource``, otherwise 1."""
        return self.input.item_rows if len(self._inputs) == 1 else 1

    @property
    def ranks(self) -> int:
        """Processes among which the rows are dealt out upstream: a ``ShardSource`` does."""
        return max((each.ranks for each in self._inputs.values()), default=1)

    def prepare(self) -> None:
        """Do early what else is done at the first read: scan, fit, build an index."""

    def begins(self, run: Run) -> None:
        """Hear that a run over this source begins: only then may its rows be others than before."""

    def rows_moved(self, kept: int) -> None:
        """Hear that the input's rows from ``kept`` on are others than before; tell it downstream.

        A source that keeps something by row numbers drops it here.
        """
        moves = self.reorders and self.varies  # an order drawn anew for another number of rows
        below = kept if self.passes_rows and not moves else 0
        for source in self.outputs:
            if not source.closes_loops:
                source.rows_moved(below)

    def describe(self) -> dict[str, Any]:
        """Return what decides the rows besides class and inputs; small, JSON-able, unchanging."""
        return {}

    def rows_above(self, rows: Rows) -> Mapping[str, Rows]:
        """Return which rows of each input the given epoch-extended rows are made of."""
        above = self.reorder(rows) if self.reorders else rows
        return dict.fromkeys(self._inputs, above)

    def expect(self, rows: Rows, deadline: float | None) -> Rows:
        """Hear that rows will be needed; return those that have to come from upstream."""
        return rows

    def release(self, rows: Rows) -> None:
        """Hear that announced rows will not be needed after all."""

    def lookahead(self) -> int:
        """Return how many rows ahead this source and those upstream can use announcements."""
        return max((each.lookahead() for each in self._inputs.values()), default=0)

    @property
    def reads_together(self) -> bool:
        """Whether a source upstream reads announced rows together: it has to hear of all first."""
        return any(each.reads_together for each in self._inputs.values())

    def own_state(self) -> dict[str, Any] | None:
        """Return what decides this source's future besides the position; None for nothing."""
        return None

    def own_rows(self) -> Message | None:
        """Return the part of `own_state` that is too large for it; None for nothing."""
        return None

    def restore_rows(self, state: Mapping[str, Any] | None) -> None:
        """Take back, from `own_state`, which rows the epoch has; positions are among these.

        Raises:
            StateMismatch: They are no longer to be had; nothing has been changed yet.
        """

    def restore_own(self, state: Mapping[str, Any] | None, rows: Message | None) -> None:
        """Take back what `own_state` and `own_rows` gave."""

    # -- hints ------------------------------------------------------------------------------------

    def will_need(self, rows: Rows, deadline: float | None = None) -> None:
        """Announce rows that will be read; caches and files upstream get ready for them.

        Args:
            rows: Epoch-extended row indices, shape (n,), in the order in which they will be read.
            deadline: When, in seconds of ``time.monotonic()``; None for as soon as possible.
        """
        left = self.expect(np.asarray(rows, np.int64), deadline)
        if len(left):
            for name, above in self.rows_above(left).items():
                self._inputs[name].will_need(above, deadline)

    def wont_need(self, rows: Rows) -> None:
        """Take an announcement back."""
        self.release(np.asarray(rows, np.int64))
        for name, above in self.rows_above(rows).items():
            self._inputs[name].wont_need(above)

    # -- rows -------------------------------------------------------------------------------------

    def read_all(self) -> Message:
        """Return all rows of epoch 0 (of a stream: all it yields) as one Message."""
        return concat(list(self.blocks())) if not self.indexed else self.read(self._all_rows())

    def take(self, n: int) -> Message:
        """Return the first ``n`` rows, or fewer where there are no more."""
        if self.indexed:
            return self.read(self._all_rows()[:n])
        run = Run([self], 0)
        try:
            rows = Reader(run, self).take(n)
        finally:
            run.close()
        return Message() if rows is None else rows

    def blocks(self, max_rows: int = 4096) -> Iterator[Message]:
        """Yield the rows of epoch 0 in order, for work that looks at each once; it is no pass.

        Args:
            max_rows: Rows in a block of an indexed source; a stream comes in its own chunks.
        """
        if not self.indexed:
            run = Run([self], 0)
            for message, _ in run.open(self):
                yield message
            run.close()
            return
        for start in range(0, self.num_rows, max_rows):
            with apart():
                block = self.read(np.arange(start, min(start + max_rows, self.num_rows)))
            yield block

    @property
    def schema(self) -> Mapping[str, Any]:
        """The columns and their kinds, from the first row."""
        return self.take(1).schema

    def checked(self, message: Message) -> Message:
        """Return ``transform(message)``, or raise where it broke its contract.

        Raises:
            WrongType: It returned no Message.
            WrongLength: It returned another number of rows.
        """
        changed = self.transform(message)
        if not isinstance(changed, Message):
            raise WrongType(
                f"{self!r}.transform must return a Message, not {type(changed).__name__}."
            )
        if len(changed) != len(message):
            raise WrongLength(
                f"{self!r}.transform got {len(message)} rows and returned {len(changed)}. "
                "It must return as many; a source that drops or adds rows implements stream."
            )
        return changed

    def require_index(self) -> None:
        """Raise unless rows can be asked for by index.

        Raises:
            WiringError: There is no input yet.
            WrongType: The source is a stream.
        """
        if self.needs_inputs and not self._inputs:
            _ = self.input
        if not self.indexed:
            if self.leaves_rows_out:
                what = "read" if "read" in self._methods else "change"
                raise WrongType(
                    f'{self!r} leaves out rows that it cannot {what} (on_error="skip"): it is a '
                    "stream, since its rows cannot be numbered before all are read. Hold them in "
                    "memory: MessageSource(source.read_all())."
                )
            raise WrongType(
                f"{self!r} is a stream: it has no length, and its rows cannot be asked for by "
                f"index. {WAYS_OUT}"
            )

    def _all_rows(self) -> Rows:
        return np.arange(self.num_rows)

    def _skip(self, where: str, reason: str) -> None:
        """Remember rows that are left out."""
        self.skipped_count += 1
        self.skipped.append(Skipped(where, reason))
        del self.skipped[:-_SKIPPED_KEPT]

    # -- items ------------------------------------------------------------------------------------

    def __len__(self) -> int:
        self.require_index()
        return -(-self.num_rows // self.item_rows)

    def __bool__(self) -> bool:
        return True  # a source is there even when it has no rows, and asking must not count them

    def __getitem__(self, index: Any) -> Message:
        self.require_index()
        items, size = resolve(index, len(self)).numpy, self.item_rows
        if size == 1:
            return self.read(items)
        rows = (items[:, None] * size + np.arange(size)).ravel()
        return self.read(rows[rows < self.num_rows])

    def rows(self) -> Generator[Message]:
        """Yield the rows of one pass one by one, as one-row Messages."""
        for item in self:
            for i in range(len(item)):
                yield item[i : i + 1]

    # -- passes -----------------------------------------------------------------------------------

    def __iter__(self) -> Pass:
        if (run := current_run()) is not None:
            return Pass(self, run, owns_run=False)
        epoch, start = self.take_resume()
        return Pass(self, Run([self], epoch), start)

    def take_resume(self) -> tuple[int, Position]:
        """Return the epoch and the position at which the next pass begins, once."""
        begin, self._resume = self._resume or (self._next_epoch, None), None
        return begin

    def note(self, epoch: int, position: Position, *, finished: bool) -> None:
        """Note where the pass advanced last stands; a finished one makes the next epoch current."""
        self._where = (epoch, position)
        if finished:
            self._next_epoch = epoch + 1

    # -- state ------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Return where the pass advanced last stands, everything upstream included.

        A plain dict that survives ``json.dumps``. What is large (the weights of a sampler, rows
        fed back) is in `state_rows`, to be stored beside it.
        """
        return state.saved(self, *(self._resume or self._where or (self._next_epoch, None)))

    def state_rows(self) -> dict[str, Message]:
        """Return the part of the state that is too large for `state_dict`, by source."""
        return state.rows_of(self)

    def load_state_dict(
        self, saved: Mapping[str, Any], rows: Mapping[str, Message] | None = None
    ) -> None:
        """Make the next pass over this source go on where a state was taken.

        Args:
            saved: What `state_dict` returned, of this graph or an equal one.
            rows: What `state_rows` returned then.

        Raises:
            StateMismatch: The state belongs to another graph; the difference is named.
            WrongType: It is no state.
        """
        self._resume = state.restore(self, saved, rows or {})
        self._next_epoch = self._resume[0]

    def graph_description(self) -> tuple[dict[str, Source], list[str]]:
        """Return every source from here upwards by its key, and a line that describes each."""
        version = wiring.version()
        if self._description is None or self._description[0] != version:
            graph = state.nodes(self)
            self._description = (version, graph, state.described(graph))
        return self._description[1], self._description[2]

    def __getstate__(self) -> dict[str, Any]:
        return {
            **super().__getstate__(),
            "_description": None,
            "statistics": None,
            "announced": (0, 0),
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self.statistics = Statistics()
