"""Labels as ids."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from fireworks.errors import WrongType
from fireworks.message import Message
from fireworks.source import OnError, Source
from fireworks.sources.labelling import Given, LabellingSource


class LabelerSource(LabellingSource):
    """Columns of labels as columns of ids: int64 tensors of shape (n,), as losses want them.

    The ids are 0 to k - 1 in the sorted order of the labels, which one scan over epoch 0 of the
    input finds when they are first needed, or in the order in which labels are given. From
    downstream, ``source.labels``, ``source.to_ids``, ``source.to_labels`` and ``source.to_tensor``
    lead here.

    Args:
        columns: The columns with labels (strings, numbers, booleans, dates); one name or several.
            Each column has labels of its own.
        labels: The labels in the order of their ids; a list, or a dict of lists by column.
        unknown: The id of values that are no label or are missing, for example -100, which
            torch's losses leave out. By default such a value is an error.
        fitted: Another LabelerSource whose labels are used: for validation and test data.
        on_error: ``"raise"``, ``"skip"`` to leave out rows that cannot be changed (see
            ``skipped``; the source then streams), or ``Retry(n)``.
        inputs: The source of the rows.
        name: Tells this source from others of its class.

    Raises:
        WrongValue: No columns are named, labels occur twice or are for other columns; or (when
            read) a value is no label, or there are no labels at all.
        WrongType: ``fitted`` is no LabelerSource, ``unknown`` no integer, or (when read) a column
            holds no single values of one type.
    """

    def __init__(
        self,
        columns: str | Sequence[str],
        *,
        labels: Given | None = None,
        unknown: int | None = None,
        fitted: LabelerSource | None = None,
        on_error: OnError = "raise",
        inputs: Source | Mapping[str, Source] | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(
            columns, labels=labels, fitted=fitted, on_error=on_error, inputs=inputs, name=name
        )
        if unknown is not None and not isinstance(unknown, int | np.integer):
            raise WrongType(f"unknown is the id of what is no label, an integer, not {unknown!r}.")
        self.unknown = None if unknown is None else int(unknown)

    def transform(self, message: Message) -> Message:
        """Return the rows with ids in place of labels."""
        changed = message.copy(deep=False)
        for column in self.labelled:
            changed[column] = torch.from_numpy(self._ids(message, column, self.unknown))
        return changed

    def to_tensor(self, message: Message) -> Message:
        """Return a Message, of whatever origin, with ids in place of the labels it has.

        Columns that are not there are left out, so that data without labels passes too.
        """
        changed = message.copy(deep=False)
        for column in self.labelled:
            if column in message:
                changed[column] = torch.from_numpy(self._ids(message, column, self.unknown))
        return changed

    def to_ids(self, labels: Any, column: str | None = None) -> NDArray[np.int64]:
        """Return the ids of labels.

        Args:
            labels: Labels, shape (n,): a list, array or Series.
            column: Whose labels; may be left out where there is one column.

        Returns:
            Ids, int64, shape (n,).

        Raises:
            WrongValue: One is no label and no ``unknown`` id was set; or there is no such column.
        """
        return self._labels_of(column).ids(labels, self.unknown)

    def to_labels(self, ids: Any, column: str | None = None) -> NDArray[Any]:
        """Return the labels of ids; None for an id that no label has.

        Args:
            ids: Integers of any shape: a list, array or tensor, on any device.
            column: Whose labels; may be left out where there is one column.

        Returns:
            Labels, in the shape of the ids; dtype object, or that of numbers.
        """
        return self._labels_of(column).of(ids)

    def describe(self) -> dict[str, Any]:
        """Return the columns, digests of the labels that were given, and the unknown id."""
        return {**super().describe(), "unknown": self.unknown}
