"""Some rows of a source, chosen by what they hold; and several such choices as branches."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fireworks.errors import ColumnNotFound, WrongLength, WrongType, WrongValue, suggest
from fireworks.message import Message
from fireworks.source import Rows, Run, Source
from fireworks.source.rings import Flow, Position
from fireworks.sources.callables import check_callable, check_travels, name_of

Keep = Callable[[Message], Any]

_ROUTES_TOLD = 10


class FilterSource(Source):
    """The rows for which a function says yes.

    A stream, until `prepare` has scanned the input once and kept the numbers of the rows (8 bytes
    each); then it is indexed, where its input is and gives the same rows in every epoch.

    Args:
        keep: Takes a Message and returns one boolean per row (a tensor, an array or a Series).
        inputs: The source to choose from.
        name: Tells this source from others of its class.

    Raises:
        WrongLength: (when read) ``keep`` returned another number of values.
        WrongType: (when read) ``keep`` returned something else than booleans.
    """

    def __init__(
        self,
        keep: Keep,
        *,
        inputs: Source | Mapping[str, Source] | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(inputs=inputs, name=name)
        check_callable(self, keep)
        self._keep = keep
        self._kept: Rows | None = None

    @property
    def indexed(self) -> bool:
        """Whether the input has been scanned."""
        return self._kept is not None and bool(self.inputs) and self.input.indexed

    @property
    def num_rows(self) -> int:
        """Rows that pass, once the input has been scanned."""
        if self._kept is None:
            _ = self.input
            raise WrongType(
                f"{self!r} does not know its rows before it has scanned its input: prepare() does."
            )
        return len(self._kept)

    def prepare(self) -> None:
        """Scan the input once, where that serves: an indexed one, the same in every epoch."""
        if not self.input.indexed or self.input.varies:
            return
        with self._lock:
            if self._kept is None:
                seen = self._seen()
                masks = [seen.noted(block, self._mask(block)) for block in self.input.blocks()]
                seen.check(self)
                self._kept = np.flatnonzero(np.concatenate([np.empty(0, bool), *masks]))

    def rows_moved(self, kept: int) -> None:
        """Scan the input again where it was scanned; that rows were added does not matter to it."""
        if self._kept is not None:
            self._kept = None
            self.prepare()
        super().rows_moved(0)

    def flow(self, run: Run, start: Position) -> Flow:
        """Yield what passes of each chunk."""
        seen = self._seen()
        for message, position in run.open(self.input, start, reader=self):
            mask = seen.noted(message, self._mask(message))
            yield (message if mask.all() else message[mask]), position
        if start is None:
            seen.check(self)

    def reorder(self, rows: Rows) -> Rows:
        """Return the numbers that rows that pass have in the input."""
        kept = self._kept
        if kept is None or not len(rows):
            return rows
        epochs, places = np.divmod(rows, len(kept))
        return epochs * self.input.num_rows + kept[places]

    def describe(self) -> dict[str, Any]:
        """Return the function's name."""
        keep = self._keep
        return {"keep": str(keep) if isinstance(keep, _GoesTo) else name_of(keep)}

    def __getstate__(self) -> dict[str, Any]:
        if not isinstance(self._keep, _GoesTo):  # a router looks after its own
            check_travels(self, self._keep)
        return super().__getstate__()

    def _seen(self) -> _Routes:
        return _Routes(self._keep if isinstance(self._keep, _GoesTo) else None)

    def _mask(self, message: Message) -> NDArray[np.bool_]:
        mask = np.asarray(self._keep(message))
        if mask.dtype != bool:
            raise WrongType(
                f"{self!r}: keep must return booleans, one per row; it returned {mask.dtype}."
            )
        if mask.shape != (len(message),):
            raise WrongLength(
                f"{self!r}: keep got {len(message)} rows and returned shape {mask.shape}."
            )
        return mask


@dataclass(frozen=True)
class _GoesTo:
    """The rows that a router sends to one of its outputs."""

    by: str | Callable[[Message], Any]
    route: Hashable

    def __call__(self, message: Message) -> NDArray[np.bool_]:
        return np.asarray(self.routes(message) == self.route, bool)

    def routes(self, message: Message) -> NDArray[Any]:
        """Return the route of each row."""
        if callable(self.by):
            return np.asarray(self.by(message))
        if self.by in message:
            return np.asarray(message[self.by])
        hint = suggest(self.by, message.columns)
        raise ColumnNotFound(f"RouterSource: there is no column {self.by!r}.{hint}")

    def __str__(self) -> str:
        return f"{name_of(self.by) if callable(self.by) else self.by} == {self.route!r}"


class _Routes:
    """Where the rows of one pass go that an output does not get, as long as it has got none.

    Args:
        goes: The output; None for a filter that is none.
    """

    def __init__(self, goes: _GoesTo | None) -> None:
        self._goes = goes
        self._others: dict[Hashable, None] = {}

    def noted(self, message: Message, mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Look at rows and at which of them the output gets; return the latter."""
        if self._goes is not None:
            if mask.any():
                self._goes = None  # it is no mistake
            elif len(self._others) < _ROUTES_TOLD:
                self._others |= dict.fromkeys(self._goes.routes(message).tolist())
        return mask

    def check(self, source: Source) -> None:
        """Refuse an output to which no row went, at the end of all rows.

        Raises:
            WrongValue: There were rows, and all went elsewhere.
        """
        if self._goes is None or not self._others:
            return
        route = self._goes.route
        names = [each for each in self._others if isinstance(each, str)]
        hint = suggest(route, names) if isinstance(route, str) else ""
        told = ", ".join(repr(each) for each in list(self._others)[:_ROUTES_TOLD])
        raise WrongValue(
            f"{source!r}: no row goes to {route!r}.{hint} Rows go to {told}. Where that is no "
            "mistake, FilterSource gives no rows and says nothing."
        )


class RouterSource(Source):
    """Sends each row to one of several outputs: ``router["train"]``, ``router["test"]``.

    The router itself passes all rows on. Its outputs are sources like any other; in one pass the
    router's rows are computed once, whoever reads them. An output to which no row goes is an error
    at the end of its first whole pass (or scan): its name was misspelt.

    Args:
        by: The column that names each row's output, or a function from a Message to one name (or
            other value) per row.
        inputs: The source of the rows.
        name: Tells this source from others of its class.
    """

    def __init__(
        self,
        by: str | Callable[[Message], Any],
        *,
        inputs: Source | Mapping[str, Source] | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(inputs=inputs, name=name)
        self._by = by
        self._routes: dict[Hashable, FilterSource] = {}

    def __getitem__(self, route: Any) -> Any:
        """Return an output by its name (a str); anything else selects items, as in any source."""
        return self.route(route) if isinstance(route, str) else super().__getitem__(route)

    def route(self, route: Hashable) -> FilterSource:
        """Return the output for a value of ``by``, the same one each time."""
        found = self._routes.get(route)
        if found is None:
            name = route if isinstance(route, str) else None
            found = FilterSource(_GoesTo(self._by, route), inputs=self, name=name)
            self._routes[route] = found
        return found

    def transform(self, message: Message) -> Message:
        """Return the rows as they are."""
        return message

    def describe(self) -> dict[str, Any]:
        """Return what decides the routes."""
        return {"by": name_of(self._by) if callable(self._by) else self._by}

    def __getstate__(self) -> dict[str, Any]:
        if callable(self._by):
            check_travels(self, self._by)
        return super().__getstate__()
