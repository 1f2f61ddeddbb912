"""What the sources share that look values up among labels."""

from __future__ import annotations

from abc import ABC
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pyarrow import compute

from fireworks.errors import FireworksError, WrongType, WrongValue
from fireworks.message import Message
from fireworks.source import OnError, Source
from fireworks.sources.fitting import FittingSource
from fireworks.sources.labels import Labels, arrow_values, union

pc: Any = compute  # its functions are made when it is loaded, unseen by type checkers

Given = Sequence[Any] | Mapping[str, Sequence[Any]]
"""Labels of the one column, or of each column by name."""


class LabellingSource(FittingSource[dict[str, Labels]], ABC):
    """A source that knows the labels of some columns: given, found by a scan, or of another source.

    Args:
        columns: The columns with labels; one name or several.
        labels: The labels in the order of their ids; one list for all columns, or a dict by column.
        fitted: Another source of the same class whose labels are used.
        on_error: What to do about rows that cannot be looked up.
        inputs: The source of the rows.
        name: Tells this source from others of its class.
    """

    def __init__(
        self,
        columns: str | Sequence[str],
        *,
        labels: Given | None,
        fitted: LabellingSource | None,
        on_error: OnError,
        inputs: Source | Mapping[str, Source] | None,
        name: str | None,
    ) -> None:
        super().__init__(inputs=inputs, name=name, on_error=on_error)
        self.labelled = [columns] if isinstance(columns, str) else list(columns)
        if not self.labelled:
            raise WrongValue(f"{self!r} needs the name of at least one column.")
        self.learn_from(fitted)
        self._given: dict[str, str] | None = None
        if labels is not None:
            if fitted is not None:
                raise WrongValue(f"{self!r} takes labels= or fitted=, not both.")
            self._learned = self._taken(labels)
            self._given = {column: each.digest for column, each in self._learned.items()}

    @property
    def labels(self) -> Mapping[str, Labels]:
        """The labels by column, in the order of their ids; the first access looks for them."""
        return self.learned

    def learn(self) -> dict[str, Labels]:
        """Find the labels of each column in one scan: sorted, missing values left aside."""
        found: dict[str, Any] = {}
        for rows in self.input.blocks():
            for column in self.labelled:
                try:
                    fresh = pc.unique(pc.drop_null(arrow_values(rows.array(column))))
                    found[column] = union(found[column], fresh) if column in found else fresh
                except WrongType as error:
                    raise WrongType(f"Column {column!r}: {error}") from None
        for column in self.labelled:
            if not len(found.get(column, ())):
                raise WrongValue(
                    f"{self!r} found no labels: {self.input!r} has no rows with {column!r} in them."
                )
        return {column: Labels(each.take(pc.sort_indices(each))) for column, each in found.items()}

    def describe(self) -> dict[str, Any]:
        """Return the columns, and digests of the labels that were given."""
        return {"columns": self.labelled, "labels": self._given}

    def _labels_of(self, column: str | None) -> Labels:
        if column is None and len(self.labelled) == 1:
            column = self.labelled[0]
        if column not in self.labelled:
            raise WrongValue(
                f"{self!r} knows the labels of {', '.join(map(repr, self.labelled))}; name one of "
                f"these as column=, not {column!r}."
            )
        return self.labels[column]

    def _ids(self, message: Message, column: str, unknown: int | None) -> NDArray[np.int64]:
        values = message.array(column)
        try:
            return self._labels_of(column).ids(values, unknown)
        except (WrongType, WrongValue) as error:
            raise type(error)(f"Column {column!r}: {error}") from None

    def _taken(self, labels: Given) -> dict[str, Labels]:
        if not isinstance(labels, Mapping):
            labels = dict.fromkeys(self.labelled, labels)
        if set(labels) != set(self.labelled):
            raise WrongValue(
                f"{self!r} got labels of {sorted(labels)}; its columns are {sorted(self.labelled)}."
            )
        taken: dict[str, Labels] = {}
        for column, each in labels.items():
            if isinstance(each, str) or not isinstance(each, Sequence | np.ndarray):
                raise WrongType(f"The labels of {column!r} are a list, not {each!r:.60}.")
            try:
                taken[column] = each if isinstance(each, Labels) else Labels(each)
            except FireworksError as error:
                raise type(error)(f"Column {column!r}: {error}") from None
        return taken
