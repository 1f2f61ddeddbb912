"""The loop in a graph: what happened at one step, read at a later one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from fireworks.errors import WrongType
from fireworks.message import Message, concat
from fireworks.source import Run, Source
from fireworks.source.rings import Flow, Position


class FeedbackSource(Source):
    """Yields at each step what was sent to it since the step before.

    Every loop in a graph passes through one: losses back to the weights of a sampler, predictions
    back into the training set. The first step yields ``initial``; a step before which nothing was
    sent yields no rows. What downstream sources give can be sent by wiring them to it
    (``source >> feedback`` closes the loop) or by calling `send`. It is an endless stream; what
    reads it decides when to stop.

    Args:
        initial: The rows of the first step; its columns are those of all later ones.
        inputs: The source whose rows are sent to it as they are handed out.
        name: Tells this source from others of its class.
    """

    needs_inputs = False
    closes_loops: ClassVar[bool] = True

    def __init__(
        self,
        initial: Message,
        *,
        inputs: Source | Mapping[str, Source] | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(inputs=inputs, name=name)
        if not isinstance(initial, Message):
            raise WrongType(f"initial must be a Message, not {type(initial).__name__}.")
        self._initial = initial
        self._sent: list[Message] = []

    @property
    def indexed(self) -> bool:
        """Never: what it yields is not there before it was sent."""
        return False

    @property
    def varies(self) -> bool:
        """Always."""
        return True

    @property
    def item_rows(self) -> int:
        """As many as were sent."""
        return 1

    @property
    def ranks(self) -> int:
        """What is sent is sent on one rank."""
        return 1

    def lookahead(self) -> int:
        """Nothing can be announced through a loop."""
        return 0

    def send(self, message: Message) -> None:
        """Give rows to the next step.

        Raises:
            ColumnNotFound, WrongType: The columns are not those of ``initial``.
        """
        with self._lock:
            self._sent.append(message[self._initial.columns])

    def flow(self, run: Run, start: Position) -> Flow:
        """Yield what was sent, step by step."""
        step = 0 if start is None else start["step"]
        while True:
            step += 1
            if step == 1:
                yield self._initial, {"step": 1}
                continue
            with self._lock:
                sent, self._sent = self._sent, []
            yield (concat(sent) if sent else self._initial[:0]), {"step": step}

    def own_state(self) -> dict[str, Any] | None:
        """Return whether something was sent that no step has yielded yet."""
        return {"rows": True} if self._sent else None

    def own_rows(self) -> Message | None:
        """Return what was sent and not yielded yet."""
        return concat(self._sent) if self._sent else None

    def restore_own(self, state: Mapping[str, Any] | None, rows: Message | None) -> None:
        """Take back what had been sent."""
        self._sent = [rows] if state and rows is not None else []
