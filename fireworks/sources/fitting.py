"""What sources share that learn something from all rows before they change any."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Generic, TypeVar

from fireworks.errors import WrongType
from fireworks.source import Source

Learned = TypeVar("Learned")


class FittingSource(Source, ABC, Generic[Learned]):
    """A transform that learns from its input once, when it is first needed, or from another.

    A subclass implements `learn` beside ``transform``, takes what was learned from `learned`, and
    hands the constructor's ``fitted`` to `learn_from`.
    """

    _fitted: FittingSource[Learned] | None = None
    _learned: Learned | None = None

    @abstractmethod
    def learn(self) -> Learned:
        """Look at all rows of the input; called once, by one thread."""

    @property
    def learned(self) -> Learned:
        """What was learned; the first access looks at all rows of the input."""
        if self._fitted is not None:
            return self._fitted.learned
        with self._lock:
            if self._learned is None:
                self._learned = self.learn()
            return self._learned

    def prepare(self) -> None:
        """Learn now."""
        _ = self.learned

    def learn_from(self, fitted: FittingSource[Learned] | None) -> None:
        """Use what another source of this class has learned, instead of learning.

        Raises:
            WrongType: It is of another class.
        """
        if fitted is not None and not isinstance(fitted, type(self)):
            kind = type(self).__name__
            raise WrongType(f"fitted must be another {kind}, not {type(fitted).__name__}.")
        self._fitted = fitted

    def _known(self) -> Learned | None:
        return self._learned if self._fitted is None else self._fitted._known()

    def __getstate__(self) -> dict[str, Any]:
        state = super().__getstate__()
        if self._fitted is not None and (known := self._known()) is not None:
            # The other source need not travel along, and with it all that it reads from.
            state |= {"_fitted": None, "_learned": known}
        return state
