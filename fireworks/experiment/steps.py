"""The step of what is logged: checked, or the next one where none is given."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, final

from fireworks.errors import WrongType, WrongValue

_LARGEST = 2**63 - 1


@final
class Steps:
    """Knows the highest step so far, once somebody has asked for the next.

    Args:
        highest: Reads the highest step of the record; -1 where there is none.
    """

    def __init__(self, highest: Callable[[], int]) -> None:
        self._highest = highest
        self._next: int | None = None
        self.counting = False  # whether somebody has asked for the next

    def checked(self, step: Any) -> int:
        """Return ``step`` as an int that the record can hold; None: one past the highest.

        Raises:
            WrongType: It is not an integer.
            WrongValue: It does not fit in 64 bits.
        """
        if step is None:
            if self._next is None:
                self._next = self._highest() + 1
                self.counting = True
            number = self._next
        else:
            try:
                number = int(step.__index__())
            except (AttributeError, TypeError):
                raise WrongType(
                    f"A step must be an integer; got {type(step).__name__}: {step!r:.60}."
                ) from None
        if not -_LARGEST <= number < _LARGEST:
            raise WrongValue(f"A step must fit in 64 bits; got {number:.3e}.")
        if self._next is not None and number >= self._next:
            self._next = number + 1
        return number
