"""One small example of every concrete source, over rows that know their own number."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import sqlalchemy as sa
import torch

from fireworks import Message, Source, create_table
from fireworks.source import OnError
from fireworks.sources import (
    BatchingSource,
    CachingSource,
    ConcatSource,
    FilterSource,
    InterleaveSource,
    JoinSource,
    LoopingSource,
    MessageSource,
    MixSource,
    NormalizerSource,
    QuerySource,
    RepeaterSource,
    RouterSource,
    SamplerSource,
    ShardSource,
    ShufflerSource,
    SubsetSource,
    TableSource,
    WriterSource,
    ZipSource,
)
from tests.sources import columns_under_test, files_under_test


def rows(num_rows: int = 23, first: int = 0, column: str = "i") -> MessageSource:
    numbers = np.arange(first, first + num_rows)
    return MessageSource({column: numbers, f"x_{column}": torch.as_tensor(numbers).float() ** 2})


class Stream(Source):
    """A stream with positions, in chunks of a few rows."""

    def __init__(self, num_rows: int = 23, first: int = 0, chunk_rows: int = 4):
        self.first = first
        self.chunk_rows = chunk_rows
        self.end = first + num_rows

    def stream(self, start: int | None = None) -> Iterator[tuple[Message, int]]:
        at = self.first if start is None else start
        while at < self.end:
            stop = min(at + self.chunk_rows, self.end)
            numbers = np.arange(at, stop)
            yield Message({"i": numbers, "x_i": torch.as_tensor(numbers).float() ** 2}), stop
            at = stop


class Silent(Source):
    """A stream without positions."""

    def stream(self, start: None = None) -> Iterator[Message]:
        assert start is None
        for chunk, _ in Stream(19).stream():
            yield chunk


def even(message: Message) -> np.ndarray:
    return np.asarray(message["i"]) % 2 == 0


def parity(message: Message) -> np.ndarray:
    return np.where(even(message), "even", "odd")


_folder = tempfile.TemporaryDirectory(prefix="fireworks-conformance-")


def table(name: str) -> tuple[sa.Table, Path]:
    file = Path(_folder.name) / "rows.sqlite"
    return create_table(name, rows().message, file, key="i"), file


def filled() -> tuple[sa.Table, Path]:
    described, file = table("filled")
    for _ in WriterSource(described, file, inputs=rows()):
        pass
    return described, file


def table_source(on_error: OnError = "raise") -> Source:
    return TableSource(*filled(), on_error=on_error)


def query_source(**limits: object) -> Source:
    """All rows, in chunks of 4: by pages; with a limit, as the database gives them."""
    described, file = filled()
    query = sa.select(described).limit(limits.get("limit"))
    return QuerySource(query, file, chunk_rows=4)


def filtered() -> Source:
    source = rows() >> FilterSource(even)
    source.prepare()
    return source


INDEXED: dict[str, Callable[[], Source]] = {
    **columns_under_test.INDEXED,
    **files_under_test.INDEXED,
    "MessageSource": rows,
    "TableSource": table_source,
    "SubsetSource": lambda: rows() >> SubsetSource([7, 1, 20, 7, 3]),
    "ShufflerSource": lambda: rows() >> ShufflerSource(3),
    "ShufflerSource/window": lambda: rows() >> ShufflerSource(3, window=6),
    "ShufflerSource/long": lambda: rows(70_001) >> ShufflerSource(3) >> BatchingSource(9_000),
    "BatchingSource": lambda: rows() >> ShufflerSource(1) >> BatchingSource(5),
    "BatchingSource/drop_last": lambda: (
        rows() >> ShufflerSource(1) >> BatchingSource(5, drop_last=True)
    ),
    "BatchingSource/pad": lambda: rows() >> ShufflerSource(1) >> BatchingSource(5, pad=True),
    "BatchingSource/buckets": lambda: rows() >> BatchingSource(4, bucket_by="i", seed=2),
    "CachingSource": lambda: rows() >> CachingSource(max_rows=10) >> ShufflerSource(1),
    "CachingSource/forecast": lambda: (
        rows(100)
        >> CachingSource(max_rows=40, policy="forecast")
        >> ShufflerSource(1)
        >> BatchingSource(7)
    ),
    "NormalizerSource": lambda: rows() >> NormalizerSource("x_i"),
    "RepeaterSource": lambda: rows(9) >> ShufflerSource(1) >> RepeaterSource(3),
    "ConcatSource": lambda: ConcatSource(
        inputs={"a": rows(5) >> ShufflerSource(1), "b": rows(0), "c": rows(8, first=50)}
    ),
    "ZipSource": lambda: ZipSource(
        inputs={"a": rows(8) >> ShufflerSource(1), "b": rows(8, column="k")}
    ),
    "InterleaveSource": lambda: InterleaveSource(
        inputs={"a": rows(3), "b": rows(9, first=50) >> ShufflerSource(2), "c": rows(5, first=90)}
    ),
    "JoinSource": lambda: (
        JoinSource("i", inputs={"left": rows(9), "right": keyed()}) >> ShufflerSource(4)
    ),
    "FilterSource": filtered,
    "RouterSource": lambda: rows() >> RouterSource(parity),
    "SamplerSource": lambda: rows() >> SamplerSource(np.arange(23.0), seed=1),
    "SamplerSource/without replacement": lambda: (
        rows() >> SamplerSource("x_i", seed=1, num_draws=9, replacement=False)
    ),
    "ShardSource": lambda: rows() >> ShufflerSource(1) >> ShardSource(1, 3) >> BatchingSource(3),
    "LoopingSource": lambda: Stream() >> LoopingSource(),
}

STREAMED: dict[str, Callable[[], Source]] = {
    "TableSource/skip": lambda: table_source("skip"),
    **columns_under_test.STREAMED,
    **files_under_test.STREAMED,
    "Stream": Stream,
    "Silent": Silent,
    "WriterSource": lambda: (
        rows() >> ShufflerSource(1) >> BatchingSource(5) >> WriterSource(*table("written"))
    ),
    "QuerySource": query_source,
    "QuerySource/without a key": lambda: query_source(limit=19),
    "BatchingSource": lambda: Stream() >> BatchingSource(5),
    "BatchingSource/drop_last": lambda: Stream() >> BatchingSource(5, drop_last=True),
    "BatchingSource/pad": lambda: Stream() >> BatchingSource(5, pad=True),
    "NormalizerSource": lambda: Stream() >> NormalizerSource("x_i"),
    "ShufflerSource/window": lambda: Stream() >> ShufflerSource(1, window=10) >> BatchingSource(3),
    "FilterSource": lambda: (
        rows(600) >> ShufflerSource(1) >> FilterSource(even) >> BatchingSource(7)
    ),
    "FilterSource/stream": lambda: Silent() >> FilterSource(even) >> BatchingSource(2),
    "RouterSource": lambda: (Stream() >> RouterSource(parity))["odd"],
    "ZipSource": lambda: ZipSource(inputs={"a": Stream(11), "b": rows(11, column="k")}),
    "ConcatSource": lambda: ConcatSource(inputs={"a": Stream(5), "b": rows(5), "c": Silent()}),
    "InterleaveSource": lambda: (
        InterleaveSource(inputs={"a": Stream(300), "b": rows(9), "c": Silent()})
        >> BatchingSource(50)
    ),
    "MixSource": lambda: (
        MixSource({"a": 1, "b": 3}, seed=1, inputs={"a": Stream(300), "b": rows(900)})
        >> BatchingSource(100)
    ),
    "MixSource/all": lambda: (
        MixSource({"a": 1, "b": 3}, seed=1, stop="all", inputs={"a": Stream(300), "b": rows(200)})
        >> BatchingSource(100)
    ),
    "JoinSource": lambda: JoinSource("i", inputs={"left": Stream(9), "right": keyed()}),
    "JoinSource/shuffled": lambda: JoinSource(
        "i", inputs={"left": rows(9) >> ShufflerSource(4), "right": keyed() >> ShufflerSource(5)}
    ),
    "RepeaterSource": lambda: Stream(6) >> RepeaterSource(3),
    "SamplerSource/lookahead": lambda: (
        rows() >> SamplerSource(seed=1, lookahead=2, batch_size=5, row_column="row")
    ),
    "diamond": lambda: diamond(Stream(30)),
}


def keyed() -> MessageSource:
    """Partners for the rows 0 to 8, two for row 4."""
    return MessageSource({"i": [8, 7, 6, 5, 4, 3, 2, 1, 0, 4], "partner": list("abcdefghij")})


class Renamed(Source):
    def transform(self, message: Message) -> Message:
        return message.rename({"i": "k", "x_i": "x_k"})


def diamond(top: Source) -> Source:
    return ZipSource(inputs={"left": top >> FilterSource(even), "right": top >> Odd() >> Renamed()})


class Odd(Source):
    """The odd rows, made even: as many as `FilterSource(even)` leaves of an even number."""

    needs_inputs = True

    def flow(self, run, start):
        for message, position in run.open(self.input, start, reader=self):
            yield message[~even(message)], position
