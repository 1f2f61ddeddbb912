"""Sources side by side: the columns of several, row by row."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

import numpy as np

from fireworks.errors import WrongLength
from fireworks.message import Message, concat, merge
from fireworks.source import Reader, Rows, Run, Source
from fireworks.source.rings import Flow, Position
from fireworks.source.run import ROWS_PER_READ


class ZipSource(Source):
    """The columns of several sources side by side: row ``i`` is made of row ``i`` of each.

    Indexed where all inputs are. Inputs that branch from one source meet again here: what they
    share is computed once.

    Args:
        strict: Whether inputs of different lengths are an error; otherwise the shortest decides.
        inputs: The sources by name; no two may have a column of the same name.
        name: Tells this source from others of its class.

    Raises:
        WrongLength: (when read) ``strict``, and the inputs have different numbers of rows.
        DuplicateColumn: (when read) two inputs have a column of one name.
    """

    epoch_aware = True

    def __init__(
        self,
        *,
        strict: bool = True,
        inputs: Mapping[str, Source] | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(inputs=inputs, name=name)
        self.strict = strict

    @property
    def num_rows(self) -> int:
        """Rows of the inputs, or of the shortest."""
        counts = {key: each.num_rows for key, each in self.inputs.items()}
        if self.strict and len(set(counts.values())) > 1:
            raise WrongLength(_different(self, counts))
        return min(counts.values(), default=0)

    @property
    def item_rows(self) -> int:
        """Rows in one item of the first input."""
        return next((each.item_rows for each in self.inputs.values()), 1)

    def read(self, rows: Rows) -> Message:
        """Return the rows of all inputs, side by side."""
        above = self.rows_above(rows)
        return merge([each.read(above[key]) for key, each in self.inputs.items()])

    def flow(self, run: Run, start: Position) -> Flow:
        """Yield rows that are there in every input."""
        readers = {
            key: Reader(run, each, None if start is None else start[key], reader=self)
            for key, each in self.inputs.items()
        }
        while True:
            waiting = {key: reader.peek() for key, reader in readers.items()}
            ready = [rows for rows in waiting.values() if rows is not None]
            if len(ready) < len(waiting):
                if ready and self.strict:
                    ended = {
                        key: "ended" if rows is None else "goes on" for key, rows in waiting.items()
                    }
                    raise WrongLength(_different(self, ended))
                return
            count = min(len(rows) for rows in ready)
            row = merge([rows[:count] for rows in ready])
            for reader in readers.values():
                reader.use(count)
            yield row, {key: reader.position for key, reader in readers.items()}

    def rows_above(self, rows: Rows) -> Mapping[str, Rows]:
        """Return the same rows of each input, in its own numbering of later epochs."""
        num_rows = self.num_rows
        if not len(rows) or rows.max() < num_rows:
            return dict.fromkeys(self.inputs, rows)
        epochs, places = np.divmod(rows, num_rows)
        return {key: epochs * each.num_rows + places for key, each in self.inputs.items()}

    def describe(self) -> dict[str, Any]:
        """Return whether lengths must agree."""
        return {"strict": self.strict}


class _OneOfSeveralSource(Source):
    """Each row is a row of one of the inputs. Abstract.

    Args:
        inputs: The sources by name, in order; all with the same columns.
        name: Tells this source from others of its class.
    """

    epoch_aware = True

    def __init__(
        self, *, inputs: Mapping[str, Source] | None = None, name: str | None = None
    ) -> None:
        super().__init__(inputs=inputs, name=name)

    @abstractmethod
    def _owners(self, rows: Rows) -> tuple[Rows, Rows]:
        """Return from which input each row comes, by its place among them, and which row it is."""

    @property
    def num_rows(self) -> int:
        """Rows of all inputs together."""
        return sum(each.num_rows for each in self.inputs.values())

    @property
    def item_rows(self) -> int:
        """Rows in one item of the first input."""
        return next((each.item_rows for each in self.inputs.values()), 1)

    def read(self, rows: Rows) -> Message:
        """Return the rows asked for; each input is read once."""
        owners, above = self._owners(rows)
        parts: list[Message] = []
        order = np.empty(len(rows), np.int64)
        done = 0
        for n, each in enumerate(self.inputs.values()):
            here = np.flatnonzero(owners == n)
            if len(here) or not len(rows):
                parts.append(each.read(above[here]))
                order[here] = np.arange(done, done + len(here))
                done += len(here)
        if len(parts) == 1:
            return parts[0]
        return concat(parts).take(order)

    def rows_above(self, rows: Rows) -> Mapping[str, Rows]:
        """Return each input's part of the rows."""
        owners, above = self._owners(rows)
        return {key: above[owners == n] for n, key in enumerate(self.inputs)}


class ConcatSource(_OneOfSeveralSource):
    """The rows of several sources, one source after the other.

    Args:
        inputs: The sources by name, in order; all with the same columns.
        name: Tells this source from others of its class.
    """

    def flow(self, run: Run, start: Position) -> Flow:
        """Yield the inputs' rows, one input after the other."""
        keys = list(self.inputs)
        first, within = (0, None) if start is None else (keys.index(start["input"]), start["at"])
        for key in keys[first:]:
            for message, position in run.open(self.inputs[key], within, reader=self):
                yield message, {"input": key, "at": position}
            within = None

    def _owners(self, rows: Rows) -> tuple[Rows, Rows]:
        counts = np.array([each.num_rows for each in self.inputs.values()], np.int64)
        ends = np.cumsum(counts)
        epochs, places = np.divmod(rows, max(1, int(ends[-1])))
        owners = np.searchsorted(ends, places, side="right")
        return owners, epochs * counts[owners] + places - (ends - counts)[owners]


class InterleaveSource(_OneOfSeveralSource):
    """The rows of several sources in turn, one of each; a source that has ended is left out.

    Args:
        inputs: The sources by name, in order; all with the same columns.
        name: Tells this source from others of its class.
    """

    def flow(self, run: Run, start: Position) -> Flow:
        """Yield rows in turn; as many turns at once as make a good chunk."""
        readers = {
            key: Reader(run, each, None if start is None else start[key], reader=self)
            for key, each in self.inputs.items()
        }
        turns = max(1, ROWS_PER_READ // max(1, len(readers)))
        while True:
            taken = [rows for each in readers.values() if (rows := each.take(turns)) is not None]
            if not taken:
                return
            yield in_turn(taken), {key: reader.position for key, reader in readers.items()}

    def _owners(self, rows: Rows) -> tuple[Rows, Rows]:
        counts = np.array([each.num_rows for each in self.inputs.values()], np.int64)
        epochs, places = np.divmod(rows, max(1, int(counts.sum())))
        # After t full turns each input has given min(t, its rows); in between the order is theirs.
        lengths = np.unique(counts)
        before = np.minimum(lengths[:, None], counts).sum(1)  # rows given when a length is reached
        stage = np.searchsorted(before, places, side="right")
        earlier = np.where(stage > 0, before[stage - 1], 0)
        turn = np.where(stage > 0, lengths[stage - 1], 0)
        alive = (counts > np.concatenate([[0], lengths])[:-1, None]).sum(1)
        turns, seat = np.divmod(places - earlier, alive[stage])
        seats = [np.flatnonzero(counts > low) for low in [0, *lengths[:-1].tolist()]]
        table = np.full((len(lengths), len(counts)), -1, np.int64)
        for n, each in enumerate(seats):
            table[n, : len(each)] = each
        owners = table[stage, seat]
        return owners, epochs * counts[owners] + turn + turns


def in_turn(taken: list[Message]) -> Message:
    """Return the first row of each, then the second of each, and so on."""
    seats = np.concatenate([np.arange(len(rows)) for rows in taken])
    return concat(taken).take(np.argsort(seats, kind="stable"))


def _different(source: Source, what: Mapping[str, object]) -> str:
    shown = ", ".join(f"{key}: {value}" for key, value in what.items())
    return f"The inputs of {source!r} have different numbers of rows ({shown})."
