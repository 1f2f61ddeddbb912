"""What people say about a run: tags and notes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, final

from fireworks.errors import WrongType
from fireworks.record.json_values import check_unicode


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
        check_text(text, what="A note")
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


def check_text(text: object, *, what: str) -> str:
    """Return a text that can be recorded.

    Raises:
        WrongType: It is not a string.
        WrongValue: It is not valid Unicode.
    """
    if not isinstance(text, str):
        raise WrongType(f"{what} must be a string; got {type(text).__name__}: {text!r:.60}.")
    return check_unicode(text, what=what)


def check_tags(tags: Iterable[str]) -> list[str]:
    """Return tags as a list without doubles; raises like ``check_text``."""
    if isinstance(tags, str):
        raise WrongType(f"tags must be a list of strings; got the string {tags!r}. Use [{tags!r}].")
    return list(dict.fromkeys(check_text(each, what="A tag") for each in tags))
