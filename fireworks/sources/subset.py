"""Some rows of a source, and the split of a source into such parts."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fireworks.errors import RowOutOfRange, RowsVanished, WrongType, WrongValue
from fireworks.source import Rows, Source
from fireworks.source.wiring import upstream
from fireworks.sources.sampler import SamplerSource
from fireworks.sources.shuffler import ShufflerSource


class SubsetSource(Source):
    """Chosen rows of an indexed source, in the order given.

    Args:
        chosen: Row indices of the input, shape (n,), integers; a row may be chosen more than once.
        inputs: The source to choose from.
        name: Tells this source from others of its class.

    Raises:
        WrongType: The indices are no one-dimensional array of integers.
        RowOutOfRange: (when read) an index lies outside of the input.
    """

    def __init__(
        self,
        chosen: ArrayLike,
        *,
        inputs: Source | Mapping[str, Source] | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(inputs=inputs, name=name)
        indices = np.asarray(chosen)
        if indices.ndim != 1 or (indices.size and indices.dtype.kind not in "iu"):
            raise WrongType(
                "SubsetSource takes row indices, a one-dimensional array of integers; it got "
                f"shape {indices.shape} of {indices.dtype}."
            )
        self.chosen: NDArray[np.int64] = indices.astype(np.int64)
        self._digest: str | None = None

    @property
    def num_rows(self) -> int:
        """Rows chosen."""
        return len(self.chosen)

    def rows_moved(self, kept: int) -> None:
        """Refuse to go on where the numbers chosen would be those of other rows.

        Raises:
            RowsVanished: They would: a row of the test set could become one of the training set.
        """
        if self.chosen.size and self.chosen.max() >= kept:
            raise RowsVanished(
                f"{self!r} chose rows by their numbers, and the rows of {self.input!r} from {kept} "
                "on are others now. Choose again (train_test_split does), or choose by what rows "
                "hold: FilterSource, RouterSource."
            )
        super().rows_moved(self.num_rows)

    def describe(self) -> dict[str, Any]:
        """Return a digest of the choice."""
        if self._digest is None:
            self._digest = hashlib.sha256(self.chosen.tobytes()).hexdigest()[:16]
        return {"rows": len(self.chosen), "digest": self._digest}

    def reorder(self, rows: Rows) -> Rows:
        """Return which rows of the input were chosen."""
        epochs, places = np.divmod(rows, max(1, self.num_rows))
        chosen, num_rows = self.chosen[places], self.input.num_rows
        if chosen.size and (chosen.min() < 0 or chosen.max() >= num_rows):
            raise RowOutOfRange(
                f"{self!r} chooses rows {chosen.min()} to {chosen.max()} of {self.input!r}, "
                f"which has {num_rows}, numbered from 0."
            )
        return epochs * num_rows + chosen


def train_test_split(
    source: Source,
    *,
    test: float = 0.2,
    seed: int = 0,
    stratify: str | None = None,
    group: str | None = None,
) -> tuple[SubsetSource, SubsetSource]:
    """Split a source into two, at random, each row in exactly one of them.

    The rows keep their order within each part. The split depends on the seed and the number of
    rows (and on the columns named), never on when or where it is made.

    Args:
        source: An indexed source.
        test: The part of the rows that goes into the second source, above 0 and below 1.
        seed: The seed of the split.
        stratify: A column; each of its values is split by itself, so that both parts hold the same
            proportions. The column is read once, now.
        group: A column; rows with the same value stay together, all in one part, so that nothing of
            a patient or a document seen in training is tested on. Whole groups go to the test part
            until it holds its share of the rows, or would hold more. The column is read once, now.

    Returns:
        The two sources, train and test.

    Raises:
        WrongValue: ``test`` lies outside of its range, or leaves a part without a row; both
            ``stratify`` and ``group`` are given; or the source draws its rows anew each epoch.
        ColumnNotFound: There is no such column.
    """
    if not 0 < test < 1:
        raise WrongValue(f"test is a part of the rows, above 0 and below 1; it is {test}.")
    if stratify is not None and group is not None:
        raise WrongValue("A split is stratified or grouped, not both: choose stratify or group.")
    drawn = [each for each in upstream(source) if isinstance(each, ShufflerSource | SamplerSource)]
    if drawn:
        raise WrongValue(
            f"{drawn[0]!r} draws its rows anew each epoch: rows that are tested on in one would be "
            "trained on in the next. Split first, then shuffle the training part."
        )
    generator = np.random.default_rng(seed)
    num_rows = source.num_rows
    chosen = np.zeros(num_rows, dtype=bool)
    if group is not None:
        _, groups, counts = np.unique(
            _column(source, group), return_inverse=True, return_counts=True
        )
        order = generator.permutation(len(counts))
        fits = np.cumsum(counts[order]) <= round(num_rows * test)
        chosen = np.isin(groups, order[fits])
    else:
        labels = np.zeros(num_rows) if stratify is None else _column(source, stratify)
        for value in np.unique(labels):
            stratum = np.flatnonzero(labels == value)
            chosen[generator.permutation(stratum)[: round(len(stratum) * test)]] = True
    if chosen.all() or not chosen.any():
        raise WrongValue(
            f"a split of {num_rows} rows with test={test} leaves one part without a row."
        )
    return (
        SubsetSource(np.flatnonzero(~chosen), inputs=source, name="train"),
        SubsetSource(np.flatnonzero(chosen), inputs=source, name="test"),
    )


def _column(source: Source, name: str) -> NDArray[np.generic]:
    """Return one column of all rows, shape (num_rows,), read block by block."""
    blocks = [np.asarray(block[name]) for block in source.blocks()]
    return np.concatenate(blocks) if blocks else np.empty(0)
