"""Rows that are in memory already."""

from __future__ import annotations

from typing import Any

from fireworks.message import Message
from fireworks.message.rows import Rows as Selection
from fireworks.source import Rows, Source


class MessageSource(Source):
    """The rows of a Message, indexed.

    Args:
        message: The rows, or anything that a Message is made from. It is not copied.
        name: Tells this source from others of its class.
    """

    def __init__(self, message: Message | Any, *, name: str | None = None) -> None:
        super().__init__(name=name)
        self.message = message if isinstance(message, Message) else Message(message)

    @property
    def num_rows(self) -> int:
        """Rows of the Message."""
        return len(self.message)

    def read(self, rows: Rows) -> Message:
        """Return the rows asked for, as a copy."""
        return self.message.take(Selection(rows))  # the rows were checked on their way here

    def describe(self) -> dict[str, Any]:
        """Return how many rows of which columns there are."""
        return {"rows": len(self.message), "columns": self.message.columns}
