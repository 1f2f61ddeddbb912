"""Rows drawn at random, some more often than others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fireworks.errors import WrongLength, WrongType, WrongValue
from fireworks.message import Message
from fireworks.source import Rows, Run, Source
from fireworks.source.rings import Flow, Position

Weights = NDArray[np.float64]

_BLOCK = 4_096
_BLOCKS_KEPT = 8


class SamplerSource(Source):
    """Rows of an indexed source, drawn at random with given weights.

    With fixed weights it is indexed: which row stands at a place depends on the seed, the epoch and
    the place alone. With ``lookahead=k`` it is a stream of batches, and the weights can be changed
    while it runs: step t is drawn with the weights as they were before step t - k, however far
    sources after it read ahead, so that a loop through it is deterministic and what it announces
    upstream stays true.

    Args:
        weights: How often each row is drawn: numbers from 0, shape (rows of the input,), or the
            name of a column that holds them; all rows alike by default.
        seed: The seed of the draws.
        balance: Instead of weights: a column each of whose values shall be drawn equally often.
        num_draws: Draws in an epoch; as many as the input has rows by default.
        replacement: Whether a row may be drawn twice in an epoch.
        lookahead: How many steps a change of weights takes to come into effect; makes the source a
            stream whose weights `update` changes.
        batch_size: Rows in a step; for ``lookahead``.
        row_column: The name of a column to add, with the number of each row drawn: what `update`
            needs.
        inputs: The source to draw from.
        name: Tells this source from others of its class.

    Raises:
        WrongType: The seed is no integer; (when read) the input's rows differ between epochs.
        WrongValue: Weights are negative, not finite or all 0; options that exclude each other; more
            draws without replacement than rows with a weight.
        WrongLength: (when read) not one weight per row.
    """

    epoch_aware = True

    def __init__(
        self,
        weights: ArrayLike | str | None = None,
        *,
        seed: int,
        balance: str | None = None,
        num_draws: int | None = None,
        replacement: bool = True,
        lookahead: int | None = None,
        batch_size: int | None = None,
        row_column: str | None = None,
        inputs: Source | Mapping[str, Source] | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(inputs=inputs, name=name)
        if not isinstance(seed, int | np.integer) or seed < 0:
            raise WrongType(f"SamplerSource needs a seed, an integer from 0; it got {seed!r}.")
        if balance is not None and weights is not None:
            raise WrongValue("Give weights or balance, not both.")
        if num_draws is not None and num_draws < 1:
            raise WrongValue(f"num_draws must be at least 1; it is {num_draws}.")
        if (lookahead is None) != (batch_size is None):
            raise WrongValue("lookahead and batch_size go together: steps are of batch_size rows.")
        if lookahead is not None and (lookahead < 0 or (batch_size or 0) < 1 or not replacement):
            raise WrongValue(
                "lookahead is at least 0, batch_size at least 1, and draws are with replacement."
            )
        self.seed = int(seed)
        self._num_draws = num_draws
        self._replacement = replacement
        self._steps_ahead = lookahead
        self._batch_size = batch_size or 1
        self._row_column = row_column
        self.reorders = row_column is None
        self._balance = balance
        self._column = weights if isinstance(weights, str) else None
        self._weights: Weights | None = None
        if weights is not None and not isinstance(weights, str):
            self._weights = _checked(np.array(weights, np.float64))
        self._sums: Weights | None = None
        self._drawn: dict[tuple[int, int], Rows] = {}
        self._step = 0  # handed out so far, those of earlier epochs included
        self._drawn_ahead: dict[int, Rows] = {}  # the rows of steps behind it
        self._updates: list[tuple[int, Rows, Weights]] = []  # from which step on, rows, weights
        # Changes that steps drawn ahead have seen already, with the weights that they replaced.
        self._ahead: list[tuple[int, Rows, Weights, Weights]] = []

    # -- what is drawn ----------------------------------------------------------------------------

    @property
    def indexed(self) -> bool:
        """Whether the weights are fixed."""
        return self._steps_ahead is None and bool(self.inputs) and self.input.indexed

    @property
    def varies(self) -> bool:
        """Always: every epoch draws anew."""
        return True

    @property
    def num_rows(self) -> int:
        """Draws in one epoch."""
        return self.input.num_rows if self._num_draws is None else self._num_draws

    @property
    def weights(self) -> Weights:
        """The weights, one per row of the input; a copy."""
        return self._current_weights().copy()

    def read(self, rows: Rows) -> Message:
        """Return the rows drawn at these places."""
        return self._with_numbers(self.reorder(rows))

    def rows_above(self, rows: Rows) -> Mapping[str, Rows]:
        """Return the rows drawn at these places."""
        return dict.fromkeys(self.inputs, self.reorder(rows))

    def prepare(self) -> None:
        """Read the column that holds the weights, or count the values to balance."""
        self._current_weights()

    def describe(self) -> dict[str, Any]:
        """Return what the draws depend on, but for the weights."""
        return {
            "seed": self.seed,
            "weights": self._column,
            "balance": self._balance,
            "num_draws": self._num_draws,
            "replacement": self._replacement,
            "lookahead": self._steps_ahead,
            "batch_size": self._batch_size,
        }

    # -- weights that change ----------------------------------------------------------------------

    def update(self, rows: ArrayLike, weights: ArrayLike) -> None:
        """Change the weights of rows, from the step on that is ``lookahead`` steps ahead.

        Args:
            rows: Row numbers of the input, shape (n,).
            weights: Their new weights, numbers from 0, shape (n,).

        Raises:
            WrongType: The source has no ``lookahead``: its weights are fixed.
            WrongValue: A weight is negative or not finite.
            WrongLength: Not as many weights as rows.
        """
        if self._steps_ahead is None:
            raise WrongType(
                f"The weights of {self!r} are fixed; give it lookahead= and batch_size=."
            )
        numbers = np.asarray(rows, np.int64) % self.input.num_rows
        values = np.array(weights, np.float64)
        if numbers.shape != values.shape or numbers.ndim != 1:
            raise WrongLength(f"{values.shape} weights for rows of shape {numbers.shape}.")
        if not np.isfinite(values).all() or (values < 0).any():
            raise WrongValue("weights must be finite numbers from 0; none was changed.")
        with self._lock:
            self._updates.append((self._step + self._steps_ahead, numbers, values))

    def flow(self, run: Run, start: Position) -> Flow:
        """Yield batches, each drawn with the weights of ``lookahead`` steps before."""
        if self._steps_ahead is None:
            raise WrongType(
                f"{self!r} has a stream as its input, whose rows cannot be drawn by index. Hold "
                "them in memory: MessageSource(source.read_all())."
            )
        step = 0 if start is None else start["step"]
        steps = -(-self.num_rows // self._batch_size)
        before = run.epoch * steps
        if self._step != before + step:  # what was drawn ahead does not follow
            self._step, self._drawn_ahead = before + step, {}
        drawn = self._drawn_ahead
        while step < steps:
            # The last steps of an epoch look into the next one.
            for later in range(before + step, before + step + self._steps_ahead + 1):
                if later not in drawn:
                    drawn[later] = self._drawn_at(*divmod(later, steps), later)
                    self.input.will_need(drawn[later])
            message = self._with_numbers(drawn.pop(before + step))
            step += 1
            self._step = before + step
            yield message, {"step": step}

    def own_state(self) -> dict[str, Any] | None:
        """Return that weights were changed, where they were."""
        if self._steps_ahead is None or self._weights is None:
            return None
        return {"rows": True, "step": self._step}

    def own_rows(self) -> Message | None:
        """Return the weights, and the changes that are still to come into effect."""
        if self.own_state() is None:
            return None
        weights, later = self._current_weights().copy(), self._updates
        for step, rows, new, old in reversed(self._ahead):
            if step > self._step:
                weights[rows] = old
                later = [(step, rows, new), *later]
        changes = [(np.full(len(weights), -1), np.arange(len(weights)), weights)]
        changes += [(np.full(len(rows), step), rows, new) for step, rows, new in later]
        step, row, weight = (np.concatenate(each) for each in zip(*changes, strict=True))
        return Message({"step": step, "row": row, "weight": weight})

    def restore_own(self, state: Mapping[str, Any] | None, rows: Message | None) -> None:
        """Take the weights back."""
        if state is None or rows is None:
            return
        step, row, weight = (np.array(rows[name]) for name in ("step", "row", "weight"))
        self._step, self._drawn_ahead = state["step"], {}
        self._weights, self._sums, self._ahead = weight[step == -1], None, []
        self._updates = [
            (int(each), row[step == each], weight[step == each])
            for each in np.unique(step[step >= 0])
        ]

    # -- drawing ----------------------------------------------------------------------------------

    def _drawn_at(self, epoch: int, step: int, since_start: int) -> Rows:
        """Return the rows of a step, with the changes that are in effect by then.

        Args:
            epoch: The epoch.
            step: The step within it.
            since_start: The step counted from epoch 0 on, as changes of weights are.
        """
        with self._lock:
            due = [each for each in self._updates if each[0] <= since_start]
            self._updates = [each for each in self._updates if each[0] > since_start]
        weights = self._current_weights()
        if due:
            self._ahead = [each for each in self._ahead if each[0] > self._step]
            for since, rows, values in due:
                self._ahead.append((since, rows, values, weights[rows]))
                weights[rows] = values
            _checked(weights)
            self._sums = None
        size = min(self._batch_size, self.num_rows - step * self._batch_size)
        uniform = np.random.default_rng([self.seed, epoch, step]).random(size)
        return epoch * self.input.num_rows + self._chosen(uniform)

    def reorder(self, rows: Rows) -> Rows:
        """Return the rows drawn at these places."""
        if not len(rows):
            return rows
        epochs, places = np.divmod(rows, self.num_rows)
        drawn = np.empty_like(rows)
        blocks = places // _BLOCK if self._replacement else np.zeros_like(places)
        keys = np.unique(np.stack([epochs, blocks]), axis=1).T.tolist()
        for epoch, block in keys:
            here = (epochs == epoch) & (blocks == block)
            drawn[here] = self._block(epoch, block)[places[here] - block * _BLOCK]
        return epochs * self.input.num_rows + drawn

    def _block(self, epoch: int, block: int) -> Rows:
        """Return a block of draws: 4,096, or without replacement all of the epoch's."""
        weights = self._current_weights()
        with self._lock:
            drawn = self._drawn.get((epoch, block))
            if drawn is None:
                generator = np.random.default_rng([self.seed, epoch, block])
                if self._replacement:
                    drawn = self._chosen(generator.random(_BLOCK))
                else:
                    drawn = _without_replacement(weights, self.num_rows, generator)
                while len(self._drawn) >= _BLOCKS_KEPT:
                    del self._drawn[next(iter(self._drawn))]
                self._drawn[epoch, block] = drawn
            return drawn

    def _chosen(self, uniform: Weights) -> Rows:
        if self._sums is None:
            assert self._weights is not None
            self._sums = np.cumsum(self._weights)
        sums = self._sums
        chosen = np.searchsorted(sums, uniform * sums[-1], side="right")
        # Rounding can push the last draw past the last row that has a weight.
        return np.minimum(chosen, np.searchsorted(sums, sums[-1])).astype(np.int64)

    def _current_weights(self) -> Weights:
        if self.input.varies:
            raise WrongType(
                f"The weights of {self!r} belong to rows, but the rows of {self.input!r} differ "
                "between epochs. Put what shuffles or augments behind the sampler."
            )
        with self._lock:
            if self._weights is None:
                self._weights = self._found_weights()
            if len(self._weights) != self.input.num_rows:
                raise WrongLength(
                    f"{self!r} has {len(self._weights)} weights for the {self.input.num_rows} rows "
                    f"of {self.input!r}."
                )
            return self._weights

    def _found_weights(self) -> Weights:
        column = self._column or self._balance
        if column is None:
            return np.ones(self.input.num_rows)
        blocks = [np.asarray(block[column]) for block in self.input.blocks()]
        values = np.concatenate(blocks) if blocks else np.empty(0)
        if self._balance is None:
            return _checked(values.astype(np.float64))
        _, which, counts = np.unique(values, return_inverse=True, return_counts=True)
        return 1.0 / counts[which]

    def _with_numbers(self, rows: Rows) -> Message:
        message = self.input.read(rows)
        if self._row_column is not None:
            message = message.copy(deep=False)
            message[self._row_column] = rows % max(1, self.input.num_rows)
        return message


def _without_replacement(weights: Weights, draws: int, generator: np.random.Generator) -> Rows:
    """Draw rows one after the other, each in proportion to its weight among those left.

    Efraimidis and Spirakis, Weighted random sampling with a reservoir (2006): the rows with the
    smallest exponential variates of rate ``weight``, in that order.
    """
    possible = np.flatnonzero(weights)
    if draws > len(possible):
        raise WrongValue(
            f"{draws} rows cannot be drawn without replacement from {len(possible)} that have a "
            "weight."
        )
    times = generator.exponential(size=len(possible)) / weights[possible]
    return possible[np.argsort(times, kind="stable")[:draws]]


def _checked(weights: Weights) -> Weights:
    if weights.ndim != 1 or not np.isfinite(weights).all() or (weights < 0).any():
        raise WrongValue("weights must be a one-dimensional array of finite numbers from 0.")
    if not weights.any():
        raise WrongValue("all weights are 0: there is nothing to draw.")
    return weights
