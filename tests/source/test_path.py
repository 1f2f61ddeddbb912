"""A pass reads along a straight path what `source.read` reads through every source."""

from __future__ import annotations

import logging
import time

import numpy as np
import pytest
import torch

from fireworks import Graph, Message, Source
from fireworks.errors import RowOutOfRange
from fireworks.sources import (
    BatchingSource,
    CachingSource,
    MapSource,
    MessageSource,
    RepeaterSource,
    SamplerSource,
    ShardSource,
    ShufflerSource,
    SubsetSource,
    ZipSource,
)


class Log(Source):
    """Numbers, and which of them were asked for in each read."""

    def __init__(self, num_rows):
        self.num_rows = num_rows
        self.asked = []

    def read(self, rows):
        self.asked.append(rows.tolist())
        return Message({"i": rows, "x": torch.from_numpy(rows).float()})


class Add(Source):
    def transform(self, message):
        message["i"] = message["i"] + 1
        return message


def noisy(message, generators):
    message["drawn"] = generators.integers(10**6)
    return message


PATHS = {
    "shuffle": lambda top: top >> ShufflerSource(1) >> BatchingSource(7),
    "long shuffle": lambda top: top >> RepeaterSource(700) >> ShufflerSource(1),
    "changes": lambda top: top >> Add() >> BatchingSource(7) >> Add() >> ShufflerSource(2),
    "draws": lambda top: top >> ShufflerSource(1) >> RepeaterSource(2) >> MapSource(noisy, seed=1),
    "shards": lambda top: top >> ShufflerSource(1) >> ShardSource(1, 3) >> MapSource(noisy, seed=1),
    "chosen": lambda top: top >> SubsetSource([5, 3, 99, 3]) >> BatchingSource(3),
    "drawn": lambda top: top >> SamplerSource(seed=1, row_column="row") >> BatchingSource(7),
    "drawn, no numbers": lambda top: top >> SamplerSource(seed=1) >> BatchingSource(7),
    "cached": lambda top: top >> CachingSource(max_rows=20) >> ShufflerSource(1) >> Add(),
    "padded": lambda top: top >> ShufflerSource(1) >> BatchingSource(8, pad=True) >> Add(),
}


@pytest.mark.parametrize("make", PATHS.values(), ids=PATHS.keys())
def test_a_pass_gives_what_read_gives(make):
    source = make(Log(101))
    n = source.num_rows
    for epoch in range(2 if n < 1000 else 1):
        found = list(source)
        whole = source.read(np.arange(epoch * n, (epoch + 1) * n))
        start = 0
        for item in found:
            assert item == whole[start : start + len(item)]
            start += len(item)
        assert start == n


def test_each_batch_is_one_read_of_its_rows():
    top = Log(100)
    list(top >> ShufflerSource(0) >> Add() >> BatchingSource(30))
    assert [len(rows) for rows in top.asked] == [30, 30, 30, 10]


def test_every_source_on_the_path_is_counted():
    top = Log(100)
    source = top >> ShufflerSource(0) >> Add() >> BatchingSource(30)
    graph = Graph(source)
    next(iter(source))
    assert {each.rows for each in graph.statistics.values()} == {30}
    list(source)
    assert {(each.reads, each.rows) for each in graph.statistics.values()} == {(5, 130)}
    assert "bottleneck" in graph.explain()


def test_what_passes_do_counts_while_they_go_and_after():
    top = Log(100)
    graph = Graph(source := top >> ShufflerSource(0) >> Add() >> BatchingSource(30))
    first, second = iter(source), iter(source)
    next(first), next(second), next(second)
    seen = [(each.reads, each.rows, each.bytes) for each in graph.statistics.values()]
    assert seen == [(3, 90, seen[0][2])] * 4
    assert seen[0][2] == 3 * next(first).nbytes
    spent = graph.statistics["Log-3"]
    assert spent.seconds > 0
    assert spent.waiting == 0
    first.close(), second.close()
    assert {(each.reads, each.rows) for each in graph.statistics.values()} == {(4, 120)}
    below = graph.statistics["BatchingSource-0"]
    assert below.waiting >= spent.seconds
    assert repr(below).startswith("Statistics(reads=4, rows=120, seconds=0.0")


def test_who_waits_for_what_several_read():
    class Slow(Log):
        def read(self, rows):
            time.sleep(0.02)
            return Message({"i": rows})

    top = Slow(20) >> ShufflerSource(0)
    other = top >> Add()  # the shuffle is read by two: it counts by itself
    batches = top >> Add() >> BatchingSource(10)
    list(batches)
    assert len(other) == 20
    for below in (batches, batches.input):
        assert below.statistics.waiting >= 0.04


def test_an_error_names_every_source_below_it_and_its_rows():
    class Fails(Source):
        def transform(self, message):
            if 50 in message["i"].tolist():
                raise ValueError("50 is bad")
            return message

    source = Log(100) >> Fails() >> RepeaterSource(1) >> BatchingSource(20)
    seen = []
    with pytest.raises(ValueError, match="50 is bad") as caught:
        seen += iter(source)
    assert len(seen) == 2
    notes = caught.value.__notes__
    assert [note.partition(" read ")[0] for note in notes] == [
        "while Fails()",
        "while RepeaterSource()",
        "while BatchingSource()",
    ]
    assert all("read 20 rows: 40, 41" in note for note in notes)


def test_an_error_of_the_top_names_it_once():
    class Fails(Log):
        def read(self, rows):
            raise OSError("no disk")

    source = Fails(100) >> Add() >> BatchingSource(20)
    with pytest.raises(OSError, match="no disk") as caught:
        next(iter(source))
    assert len(caught.value.__notes__) == 3


def test_a_row_that_is_not_there_is_an_error_at_its_batch():
    source = Log(100) >> SubsetSource([1, 2, 3, 4, 100, 5]) >> BatchingSource(2)
    one_pass = iter(source)
    assert [next(one_pass)["i"].tolist() for _ in range(2)] == [[1, 2], [3, 4]]
    with pytest.raises(RowOutOfRange, match="100"):
        next(one_pass)


def test_what_several_sources_read_is_computed_once():
    top = Log(60)
    shared = top >> ShufflerSource(0) >> Add()
    both = ZipSource(inputs={"a": shared, "b": shared >> Rename()}) >> BatchingSource(10)
    assert len(list(both)) == 6
    assert len(top.asked) == 6


class Rename(Source):
    def transform(self, message):
        return message.rename({"i": "j", "x": "y"})


def test_ends_of_a_graph_that_read_each_other_share_rows():
    top = Log(60)
    batches = top >> BatchingSource(10)
    changed = batches >> Add()
    steps = list(Graph({"batches": batches, "changed": changed}).run())
    assert len(top.asked) == 6
    assert [step["changed"]["i"].tolist() for step in steps] == [
        (step["batches"]["i"] + 1).tolist() for step in steps
    ]


def test_a_transform_may_return_what_it_was_given_changed_without_touching_the_source():
    message = Message({"i": np.arange(10)})
    source = MessageSource(message) >> Add() >> BatchingSource(5)
    assert [batch["i"].tolist() for batch in source] == [[1, 2, 3, 4, 5], [6, 7, 8, 9, 10]]
    assert message["i"].tolist() == list(range(10))


def test_stepping_over_chunks_to_resume_is_told(caplog):
    class Silent(Source):
        def stream(self, start=None):
            for first in range(0, 40, 10):
                yield Message({"i": np.arange(first, first + 10)})

    source = Silent()
    one_pass = iter(source)
    next(one_pass), next(one_pass)
    fresh = Silent()
    fresh.load_state_dict(source.state_dict())
    with caplog.at_level(logging.WARNING, "fireworks.source"):
        assert [chunk["i"].tolist()[0] for chunk in fresh] == [20, 30]
    assert "stepped over 2 chunks" in caplog.text
