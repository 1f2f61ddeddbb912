"""Values as JSON text, so that what is read back equals what was written.

NaN and infinities are written as ``NaN`` and ``Infinity``: JSON5, which Python reads.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, cast

from fireworks.errors import DamagedFile, WrongType, WrongValue

_DEEPEST = 200


def encode(value: object, *, what: str) -> str:
    """Return ``value`` as JSON text.

    None, booleans, numbers, strings, and lists, tuples (as lists) and dicts of them are
    accepted; NumPy scalars and zero-dimensional tensors become Python numbers.

    Args:
        value: The value.
        what: What it is, to begin an error message with: ``"The parameter 'lr'"``.

    Raises:
        WrongType: A value of another type, or a dict with keys that are not strings.
        WrongValue: A number too long to write, or a nesting too deep.
    """
    try:
        return json.dumps(plain(value, what=what), separators=(",", ":"))
    except ValueError as error:  # int() beyond the digits that Python converts
        raise WrongValue(f"{what} cannot be written as JSON: {error}.") from None


def plain(value: object, *, what: str, depth: int = 0) -> Any:
    """Return ``value`` as the JSON types that it equals; raises like ``encode``."""
    if value is None or isinstance(value, bool):
        return value
    # Of a subclass (an enum, numpy.float64) the plain value is taken, whatever its str() says.
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int):
        return int.__int__(value)
    if isinstance(value, float):
        return float.__float__(value)
    if depth > _DEEPEST:
        raise WrongValue(f"{what} is nested more than {_DEEPEST} deep, or holds itself.")
    if isinstance(value, list | tuple):
        items = cast("list[object] | tuple[object, ...]", value)
        return [plain(each, what=what, depth=depth + 1) for each in items]
    if isinstance(value, Mapping):
        pairs = cast("Mapping[object, object]", value)
        for key in pairs:
            if not isinstance(key, str):
                raise WrongType(f"{what} has a key that is not a string: {key!r}.")
        return {str(key): plain(each, what=what, depth=depth + 1) for key, each in pairs.items()}
    item = getattr(value, "item", None)
    if callable(item) and getattr(value, "ndim", None) == 0:
        return plain(item(), what=what, depth=depth + 1)
    raise WrongType(
        f"{what} must be JSON (None, bool, number, string, list or dict); "
        f"got {type(value).__name__}: {value!r:.100}. Convert it, for example with str()."
    )


def decode(text: str) -> Any:
    """The value that ``encode`` wrote.

    Raises:
        DamagedFile: The text is not JSON.
    """
    try:
        return json.loads(text)
    except (TypeError, ValueError, RecursionError) as error:
        raise DamagedFile(f"A value in the record is damaged: {error} in {text!r:.100}.") from None


def check_unicode(text: str, *, what: str) -> str:
    """Return ``text``, if it can be written as UTF-8.

    Raises:
        WrongValue: It holds half of a surrogate pair.
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        raise WrongValue(f"{what} is not valid Unicode: {text!r:.100}.") from None
    return text
