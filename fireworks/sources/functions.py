"""Rows made by a function of their numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from fireworks.errors import WrongLength, WrongValue
from fireworks.message import Message
from fireworks.source import Retry, Rows, Source
from fireworks.sources.callables import check_callable, check_travels, name_of


class FunctionSource(Source):
    """Rows that a function makes when they are asked for, indexed: an API, a simulation, a store.

    The function gets row numbers, an int64 array of shape (n,) with values from 0 to
    ``num_rows - 1``, in any order and possibly repeated, and returns those rows in that order, as a
    Message or what a Message is made of. It must return the same for a row each time, and be safe
    to call from several threads.

    Args:
        function: The function of row numbers.
        num_rows: How many rows there are, at least 0.
        on_error: ``"raise"``, or ``Retry(n)`` to call again when it fails, as servers do at times.
        name: Tells this source from others of its class.

    Raises:
        WrongType: What is given is no function, or (when read) it returns no Message.
        WrongValue: ``num_rows`` is negative or no integer, or ``on_error`` is something else.
        WrongLength: (when read) the function returned another number of rows.
    """

    def __init__(
        self,
        function: Callable[[Rows], Message | Mapping[str, Any]],
        num_rows: int,
        *,
        on_error: str | Retry = "raise",
        name: str | None = None,
    ) -> None:
        super().__init__(name=name)
        check_callable(self, function)
        if not isinstance(num_rows, int | np.integer) or num_rows < 0:
            raise WrongValue(f"num_rows must be an integer of at least 0; it is {num_rows!r}.")
        if on_error != "raise" and not isinstance(on_error, Retry):
            raise WrongValue(
                f"{self!r} takes on_error='raise' or Retry(n), not {on_error!r}: rows asked for by "
                "number cannot be skipped. IterableSource takes rows as they come."
            )
        self.function = function
        self._num_rows = int(num_rows)

    @property
    def num_rows(self) -> int:
        """Rows in one epoch."""
        return self._num_rows

    def read(self, rows: Rows) -> Message:
        """Return what the function makes of these rows."""
        if not len(rows) and self._num_rows:
            # A function of no rows at all need not know its columns.
            return self.read(np.zeros(1, np.int64))[:0]
        made = self.function(rows.copy())
        message = made if isinstance(made, Message) else Message(made)
        if len(message) != len(rows):
            raise WrongLength(
                f"The function of {self!r}, {name_of(self.function)}, was asked for {len(rows)} "
                f"rows and returned {len(message)}."
            )
        return message

    def describe(self) -> dict[str, Any]:
        """Return the name of the function and the number of rows."""
        return {"function": name_of(self.function), "num_rows": self._num_rows}

    def __getstate__(self) -> dict[str, Any]:
        check_travels(self, self.function)
        return super().__getstate__()
