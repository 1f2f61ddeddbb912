"""An evaluator's outputs, into a table."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Self, final

from ignite.engine import Engine, Events

from fireworks.database import WriterSource
from fireworks.errors import WrongType, WrongValue
from fireworks.message import Message, concat
from fireworks.sources import MessageSource

_ROWS_AT_ONCE = 4_096


@final
class PredictionWriter:
    """Writes what an evaluator gives for each row into a table, as a `WriterSource` does.

    A row that is there already is replaced: evaluating again brings the table up to date. What a
    run wrote is committed when it has completed.

    Args:
        table: The table, its name or model; its key identifies the rows.
        engine: A SQLAlchemy engine, or the URL or path of a database.
        columns: ``columns(batch, output)`` returns a Message or dict of the columns to write, the
            key among them; ``output`` is the evaluator's ``state.output``.
    """

    def __init__(
        self, table: Any, engine: Any, columns: Callable[[Any, Any], Message | Mapping[str, Any]]
    ) -> None:
        self._table = table
        self._engine = engine
        self._columns = columns
        self._rows: list[Message] = []
        self._waiting = 0

    def attach(self, evaluator: Engine) -> Self:
        """Attach to an evaluator; returns the writer itself."""
        evaluator.add_event_handler(Events.STARTED, self._begin)
        evaluator.add_event_handler(Events.ITERATION_COMPLETED, self._take)
        evaluator.add_event_handler(Events.COMPLETED | Events.TERMINATE, self._write)
        return self

    def _begin(self) -> None:
        self._rows, self._waiting = [], 0

    def _take(self, evaluator: Engine) -> None:
        given: Any = self._columns(evaluator.state.batch, evaluator.state.output)
        if not isinstance(given, Message):
            if not isinstance(given, Mapping):
                kind = type(given).__name__
                raise WrongType(f"columns must return a Message or a dict of columns, not {kind}.")
            given = Message(given)
        if not len(given.columns):
            raise WrongValue("columns returned no columns to write.")
        self._rows.append(given.to("cpu"))
        self._waiting += len(given)
        if self._waiting >= _ROWS_AT_ONCE:
            self._write()

    def _write(self) -> None:
        if self._rows:
            rows = MessageSource(concat(self._rows))
            WriterSource(self._table, self._engine, inputs=rows).drain()
        self._begin()
