"""A change of rows by a function of the user."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from fireworks.errors import WrongLength, WrongValue
from fireworks.message import Message
from fireworks.source import OnError, Rows, Run, Source
from fireworks.source.failures import changed_chunks
from fireworks.source.rings import Flow, Position
from fireworks.sources.callables import check_callable, check_travels, name_of
from fireworks.sources.random_rows import RowGenerators


class MapSource(Source):
    """The rows of a source, changed by a function.

    The function gets a Message of any number of rows and returns a Message, or a dict of columns,
    of as many rows in the same order: the result. It may change the Message that it gets. A dict of
    functions instead changes single columns and keeps the others, as in ``Message.map``.

    With a seed the function gets `RowGenerators` too, which draw for each row by its number and
    epoch: augmentation that is the same whatever the batch size, the order of reading and the
    number of workers, and new in every epoch::

        def augment(message, generators):
            noise = generators.normal(size=(64,), dtype=torch.float32)  # one row of noise a row
            message["x"] = message["x"] + 0.1 * noise
            return message

        train = digits >> ShufflerSource(seed=0) >> MapSource(augment, seed=1)

    Args:
        function: ``function(message)``, or with a seed ``function(message, generators)``; or a dict
            of such functions by column, each of a column's tensor or Series.
        seed: The seed of the generators, an integer from 0; None for a function that draws nothing.
        on_error: ``"raise"``, ``"skip"`` to leave out the rows for which the function raises (see
            ``skipped``; the source then streams), or ``Retry(n)`` to call it again.
        inputs: The source of the rows.
        name: Tells this source from others of its class; two with the same seed and different names
            draw different numbers.

    Raises:
        WrongType: What is given is no function.
        WrongValue: The seed is negative or no integer.
        WrongLength: (when read) the function returned another number of rows.
    """

    def __init__(
        self,
        function: Callable[..., Any] | Mapping[str, Callable[..., Any]],
        seed: int | None = None,
        *,
        on_error: OnError = "raise",
        inputs: Source | Mapping[str, Source] | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(inputs=inputs, name=name, on_error=on_error)
        self.function = dict(function) if isinstance(function, Mapping) else function
        for each in self._functions():
            check_callable(self, each)
        if seed is not None and (not isinstance(seed, int | np.integer) or seed < 0):
            raise WrongValue(f"{self!r} takes a seed from 0, or None; it got {seed!r}.")
        self.seed = None if seed is None else int(seed)

    @property
    def varies(self) -> bool:
        """Whether an epoch differs from others: with a seed always."""
        return self.seed is not None or super().varies

    def change(self, message: Message, rows: Rows) -> Message:
        """Return the rows, changed."""
        if self.seed is None:
            return self._changed(message, rows, 0)
        epochs, places = np.divmod(rows, max(1, self.num_rows))
        return self._changed(message, places, epochs)

    def flow(self, run: Run, start: Position) -> Flow:
        """Yield the chunks of a streamed input, changed."""

        def change(message: Message, rows: Rows) -> Message:
            return self._changed(message, rows, run.epoch)

        return changed_chunks(self, run, start, change, self._skip)

    def describe(self) -> dict[str, Any]:
        """Return the names of the functions, and the seed."""
        return {"function": [name_of(each) for each in self._functions()], "seed": self.seed}

    def _functions(self) -> list[Callable[..., Any]]:
        return list(self.function.values()) if isinstance(self.function, dict) else [self.function]

    def _changed(self, message: Message, rows: Rows, epochs: Rows | int) -> Message:
        function: Any = self.function
        # A function may change the Message that it gets; those of columns get no Message.
        given = message if type(function) is dict else message.copy(deep=False)
        if self.seed is not None:
            function = self._with(RowGenerators(rows, epochs, seed=self.seed, name=self.name))
        changed = given.map(function)
        if len(changed) != len(message):
            names = ", ".join(name_of(each) for each in self._functions())
            raise WrongLength(
                f"The function of {self!r}, {names}, got {len(message)} rows and returned "
                f"{len(changed)}. It must return as many; FilterSource leaves rows out."
            )
        return changed

    def _with(self, generators: RowGenerators) -> Any:
        def bound(function: Callable[..., Any]) -> Callable[[Any], Any]:
            return lambda values: function(values, generators)

        if isinstance(self.function, dict):
            return {column: bound(each) for column, each in self.function.items()}
        return bound(self.function)

    def __getstate__(self) -> dict[str, Any]:
        for each in self._functions():
            check_travels(self, each)
        return super().__getstate__()
