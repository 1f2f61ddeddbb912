"""Columns brought to mean 0 and standard deviation 1."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from fireworks.errors import WrongType, WrongValue
from fireworks.message import Message
from fireworks.source import OnError, Source
from fireworks.sources.fitting import FittingSource


@dataclass(frozen=True)
class Moments:
    """Count, mean and spread of the rows seen of one column, per element.

    Attributes:
        count: Rows seen.
        mean: Their mean, the column's trailing shape, float64.
        squares: The sum of squared deviations from the mean, same shape, float64.
    """

    count: int
    mean: torch.Tensor
    squares: torch.Tensor

    @classmethod
    def of(cls, values: torch.Tensor) -> Moments:
        """Measure some rows, shape (n, ...)."""
        values = values.to(torch.float64)
        mean = values.mean(0) if len(values) else torch.zeros(values.shape[1:], dtype=torch.float64)
        return cls(len(values), mean, (values - mean).square().sum(0))

    def merge(self, other: Moments) -> Moments:
        """Return the moments of both together.

        Chan, Golub, LeVeque: Updating formulae and a pairwise algorithm for computing sample
        variances (1979). Stable where a sum of squares would cancel.
        """
        count = self.count + other.count
        delta = other.mean - self.mean
        part = other.count / max(1, count)
        return Moments(
            count,
            self.mean + delta * part,
            self.squares + other.squares + delta.square() * (self.count * part),
        )

    @property
    def deviation(self) -> torch.Tensor:
        """The population standard deviation; 1 where a value never changes, to divide by."""
        deviation = (self.squares / max(1, self.count)).sqrt()
        # What rounding leaves of a constant is no spread to divide by.
        constant = deviation <= self.mean.abs() * torch.finfo(torch.float64).eps
        return torch.where(constant, 1.0, deviation)


class NormalizerSource(FittingSource[dict[str, Moments]]):
    """Numeric columns with the mean taken away, divided by the standard deviation.

    Mean and deviation are measured per element of the trailing shape, in one streaming pass over
    epoch 0 of the input, when they are first needed. The columns become float32 tensors
    (float64 where they were); elements that never change become 0.

    Args:
        columns: The columns to normalize; one name or several.
        fitted: Another NormalizerSource whose ``moments`` are used, instead of measuring: for
            validation and test data.
        on_error: ``"raise"``, ``"skip"`` to leave out rows that cannot be changed (see
            ``skipped``; the source then streams), or ``Retry(n)``.
        inputs: The source to normalize.
        name: Tells this source from others of its class.

    Raises:
        WrongValue: No columns are named, or (when read) the input has no rows to measure.
        WrongType: ``fitted`` is no NormalizerSource, or (when read) a column is not numeric.
    """

    def __init__(
        self,
        columns: str | Sequence[str],
        *,
        fitted: NormalizerSource | None = None,
        on_error: OnError = "raise",
        inputs: Source | Mapping[str, Source] | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(inputs=inputs, name=name, on_error=on_error)
        self.normalized = [columns] if isinstance(columns, str) else list(columns)
        if not self.normalized:
            raise WrongValue("NormalizerSource needs the name of at least one column.")
        self.learn_from(fitted)
        self._is_fitted = fitted is not None  # a copy by pickle holds what was learned instead

    @property
    def moments(self) -> Mapping[str, Moments]:
        """The moments by column; the first access measures them."""
        return self.learned

    def describe(self) -> dict[str, Any]:
        """Return the columns."""
        return {"columns": self.normalized, "fitted": self._is_fitted}

    def transform(self, message: Message) -> Message:
        """Return the rows with the columns normalized."""
        changed = message[message.columns]
        for column in self.normalized:
            moments = self.moments[column]
            values = self._values(message, column)
            kind = torch.float64 if values.dtype == torch.float64 else torch.float32
            changed[column] = ((values.to(torch.float64) - moments.mean) / moments.deviation).to(
                kind
            )
        return changed

    def learn(self) -> dict[str, Moments]:
        """Measure the moments in one streaming pass over the input."""
        moments: dict[str, Moments] = {}
        for rows in self.input.blocks():
            for column in self.normalized:
                block = Moments.of(self._values(rows, column))
                moments[column] = moments[column].merge(block) if column in moments else block
        if not moments:
            raise WrongValue(f"{self!r} has nothing to measure: {self.input!r} has no rows.")
        return moments

    def _values(self, message: Message, column: str) -> torch.Tensor:
        values = message.tensors([column])[column]
        if values.is_complex():
            raise WrongType(f"{self!r} normalizes real numbers; {column!r} is {values.dtype}.")
        return values
