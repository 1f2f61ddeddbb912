"""Transformers of scikit-learn as sources."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from fireworks.errors import DuplicateColumn, WrongType, WrongValue
from fireworks.message import Message, concat
from fireworks.message.kinds.tensor import TensorColumn
from fireworks.optional import require
from fireworks.source import OnError, Source
from fireworks.sources.fitting import FittingSource

if TYPE_CHECKING:
    import pandas as pd

_ROWS_PER_STEP = 4096


class SklearnSource(FittingSource[Any]):
    """Columns changed by any transformer of scikit-learn, a Pipeline or ColumnTransformer too.

    The transformer gets the columns as a DataFrame, so that it can pick them by name; a tensor
    column of shape (n, d) as d columns ``c_0``, ``c_1``, …; one that reads texts (TfidfVectorizer)
    gets its column's strings. A transformer that is fitted already is used as it is. Any other is
    cloned, and the clone fitted in one pass over epoch 0 of the input, when it is first needed.

    The columns give way to the transformer's: one for each feature, with the names of
    ``get_feature_names_out``, or one tensor with all of them.

    Args:
        transformer: The transformer; None takes that of ``fitted``.
        columns: The columns that it gets, one name or several; all by default, or those of
            ``fitted``.
        output: The name of one tensor column for all features, shape (n, features), which may be
            that of a column given. By default each feature becomes a vector column.
        dtype: The dtype of that tensor.
        target: A column that the transformer gets as ``y`` when it is fitted.
        incremental: Fit by ``partial_fit``, block by block, in bounded memory. Otherwise the
            columns of all rows are held in memory while ``fit`` runs.
        fitted: Another SklearnSource whose transformer is used: for validation and test data.
        on_error: ``"raise"``, ``"skip"`` to leave out rows that cannot be changed (see
            ``skipped``; the source then streams), or ``Retry(n)``.
        inputs: The source of the rows.
        name: Tells this source from others of its class.

    Raises:
        MissingDependency: scikit-learn is not installed.
        WrongType: It is no transformer, or cannot be fitted incrementally; or (when read) a column
            is not such as it takes.
        WrongValue: No columns are named, neither or both of a transformer and ``fitted`` are given,
            or (when read) there are no rows to fit to.
        DuplicateColumn: (when read) a feature has the name of a column that stays.
    """

    def __init__(
        self,
        transformer: Any = None,
        columns: str | Sequence[str] | None = None,
        *,
        output: str | None = None,
        dtype: torch.dtype = torch.float32,
        target: str | None = None,
        incremental: bool = False,
        fitted: SklearnSource | None = None,
        on_error: OnError = "raise",
        inputs: Source | Mapping[str, Source] | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(inputs=inputs, name=name, on_error=on_error)
        require("sklearn", extra="sklearn", purpose="SklearnSource")
        self.learn_from(fitted)
        if (transformer is None) == (fitted is None):
            raise WrongValue(f"{self!r} takes a transformer or fitted=, and not both.")
        if fitted is not None:
            columns = fitted.transformed if columns is None else columns
            transformer = fitted.transformer
        if isinstance(transformer, type) or not callable(getattr(transformer, "transform", None)):
            raise WrongType(
                f"{transformer!r:.60} is no transformer; give an object with fit and transform, "
                "for example sklearn.preprocessing.StandardScaler()."
            )
        if incremental and not hasattr(transformer, "partial_fit"):
            raise WrongType(f"{_kind(transformer)} has no partial_fit; leave incremental= away.")
        if not isinstance(dtype, torch.dtype):
            raise WrongType(f"dtype is a dtype of torch, for example torch.float32, not {dtype!r}.")
        self.transformer = transformer
        self.transformed = [columns] if isinstance(columns, str) else columns and list(columns)
        if self.transformed is not None and not self.transformed:
            raise WrongValue(f"{self!r} needs the name of at least one column.")
        self.output = output
        self.dtype = dtype
        self.target = target
        self.incremental = incremental

    @property
    def estimator(self) -> Any:
        """The fitted transformer; the first access fits it."""
        return self.learned

    def learn(self) -> Any:
        """Return the transformer if it is fitted, else a clone of it, fitted to all rows."""
        from sklearn.base import clone

        stateless = _is_stateless(self.transformer)
        if not stateless and _is_fitted(self.transformer):
            return self.transformer
        estimator: Any = clone(self.transformer)
        wanted = None
        if self.transformed is not None:
            wanted = [*self.transformed, *([self.target] if self.target else [])]
        # One without a state learns nothing but the names of its columns.
        seen = iter([self.input.take(1)]) if stateless else self.input.blocks()
        blocks = (rows if wanted is None else rows[wanted] for rows in seen)
        if self.incremental:
            fit, steps = estimator.partial_fit, _large(blocks)
        else:
            held = [block for block in blocks if len(block)]
            fit, steps = estimator.fit, iter([concat(held)] if held else [])
        count = 0
        for rows in steps:
            count += len(rows)
            fit(self._given(rows), *([] if self.target is None else [_labels(rows, self.target)]))
        if not count:
            raise WrongValue(f"{self!r} has nothing to fit to: {self.input!r} has no rows.")
        return estimator

    def transform(self, message: Message) -> Message:
        """Return the rows with the features in place of the columns."""
        made = self._features(message)
        gone = set(message.columns if self.transformed is None else self.transformed)
        if self.transformed is None and self.target in message:
            gone.discard(self.target)
        kept = [column for column in message.columns if column not in gone]
        changed = message[kept] if kept else Message()
        for column, values in made.items():
            if column in changed:
                raise DuplicateColumn(
                    f"{self!r} makes a feature {column!r}, and there is such a column already; "
                    "rename it, or give output= for one tensor of all features."
                )
            changed[column] = values
        return changed

    def describe(self) -> dict[str, Any]:
        """Return the transformer with its parameters, and the columns."""
        return {
            "transformer": repr(self.transformer),
            "columns": self.transformed,
            "output": self.output,
            "dtype": str(self.dtype),
            "incremental": self.incremental,
        }

    def _features(self, message: Message) -> dict[str, Any]:
        estimator = self.estimator
        given = self._given(message)
        if len(message):
            made = estimator.transform(_nameless(given, estimator))
        else:
            # Transformers refuse tables without rows: let them see one, and keep none of it.
            seen = self._given(self.input.take(1))
            made = estimator.transform(_nameless(seen, estimator))[:0]
        if hasattr(made, "toarray"):
            made = made.toarray()
        names = [str(each) for each in getattr(made, "columns", ())]
        table: NDArray[Any] = np.asarray(made)
        table = table[:, None] if table.ndim == 1 else table
        if self.output is not None:
            if table.dtype.kind not in "biuf":
                raise WrongType(
                    f"The features of {_kind(estimator)} are {table.dtype}s, which cannot be in a "
                    f"tensor; leave output={self.output!r} away."
                )
            return {self.output: torch.tensor(table, dtype=self.dtype)}
        if names:
            return {name: made.iloc[:, i] for i, name in enumerate(names)}
        names = self._names(estimator, given, table.shape[1])
        return {name: np.ascontiguousarray(table[:, i]) for i, name in enumerate(names)}

    def _names(self, estimator: Any, given: Any, width: int) -> list[str]:
        known = [str(each) for each in getattr(given, "columns", ())]
        try:
            names = [str(each) for each in estimator.get_feature_names_out(known or None)]
        except (AttributeError, ValueError):
            # A function, say, that does not tell what it makes: of as many columns, the same.
            names = known
        if len(names) != width:
            raise WrongType(
                f"{_kind(estimator)} does not name its {width} features (get_feature_names_out); "
                "give output= for one tensor of all."
            )
        return names

    def _given(self, message: Message) -> Any:
        """Return what the transformer gets of a Message: a DataFrame, or texts."""
        columns = self.transformed
        if columns is None:
            columns = [each for each in message.columns if each != self.target]
        if len(columns) == 1 and _reads_texts(self.transformer):
            return message[columns[0]].to_numpy(dtype=object)
        frames: list[pd.DataFrame] = [self._frame(message, column) for column in columns]
        if len(frames) == 1:
            return frames[0]
        import pandas as pd

        return pd.concat(frames, axis=1)

    def _frame(self, message: Message, column: str) -> pd.DataFrame:
        import pandas as pd

        _ = message.array(column)  # says which columns there are
        stored = message.stored[column]
        if isinstance(stored, TensorColumn) and stored.array.ndim > 1:
            matrix = stored.array.detach().cpu().flatten(1).numpy()
            names = [f"{column}_{i}" for i in range(matrix.shape[1])]
            return pd.DataFrame(matrix, columns=names)
        if stored.field.kind == "ragged":
            raise WrongType(
                f"Column {column!r} has rows of several lengths, which {_kind(self.transformer)} "
                "does not take; PadSource makes them one."
            )
        return message.dataframe(column)


def _large(blocks: Iterator[Message]) -> Iterator[Message]:
    """Yield blocks of some thousand rows, none smaller than that unless there are no more.

    Decompositions refuse blocks with fewer rows than components, so what is left at the end, which
    may be little, is given together with the block before it.
    """
    waiting: list[Message] = []
    count = 0
    for block in blocks:
        waiting.append(block)
        count += len(block)
        if count < 2 * _ROWS_PER_STEP:
            continue
        rows = concat(waiting)
        stop = (count // _ROWS_PER_STEP - 1) * _ROWS_PER_STEP
        for start in range(0, stop, _ROWS_PER_STEP):
            yield rows[start : start + _ROWS_PER_STEP]
        waiting, count = [rows[stop:]], count - stop
    if count:
        yield concat(waiting)


def _labels(message: Message, target: str) -> NDArray[Any]:
    values = message[target]
    return values.detach().cpu().numpy() if isinstance(values, torch.Tensor) else values.to_numpy()


def _reads_texts(transformer: Any) -> bool:
    while (steps := getattr(transformer, "steps", None)) is not None:
        transformer = steps[0][1]
    tags = getattr(transformer, "__sklearn_tags__", None)
    return tags is not None and bool(tags().input_tags.string) and not tags().input_tags.two_d_array


def _is_stateless(transformer: Any) -> bool:
    tags = getattr(transformer, "__sklearn_tags__", None)
    return tags is not None and not tags().requires_fit


def _is_fitted(transformer: Any) -> bool:
    from sklearn.exceptions import NotFittedError
    from sklearn.utils.validation import check_is_fitted

    try:
        check_is_fitted(transformer)
    except NotFittedError:
        return False
    return True


def _nameless(given: Any, estimator: Any) -> Any:
    """Take the names away for a transformer that was fitted to an array, which warns of them."""
    if hasattr(given, "columns") and not hasattr(estimator, "feature_names_in_"):
        return given.to_numpy()
    return given


def _kind(transformer: Any) -> str:
    return type(transformer).__name__
