"""Notes that people wrote about a run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, final

from fireworks.errors import WrongType


@final
class Notes(Sequence[str]):
    """Texts, oldest first; ``append`` commits a further one.

    Args:
        texts: The notes.
        write: Writes one more, or raises.
    """

    def __init__(self, texts: list[str], write: Callable[[str], None]) -> None:
        self._texts = texts
        self._write = write

    def append(self, text: str) -> None:
        """Add a note."""
        if not isinstance(text, str):
            raise WrongType(f"A note must be a string; got {type(text).__name__}: {text!r:.60}.")
        self._write(text)
        self._texts.append(text)

    def __getitem__(self, index: Any) -> Any:
        return self._texts[index]

    def __len__(self) -> int:
        return len(self._texts)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return repr(self._texts)
