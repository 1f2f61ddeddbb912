"""Rows that cannot be changed: left out and remembered, tried again, or an error at their place."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from fireworks import Graph, Message, Source
from fireworks.errors import ColumnNotFound, WrongLength, WrongType, WrongValue
from fireworks.source import Retry
from fireworks.sources import (
    BatchingSource,
    IterableSource,
    LabelerSource,
    MapSource,
    MessageSource,
    ShufflerSource,
    TensorSource,
    ZipSource,
)

BAD = {3, 4, 17, 22}


def rows(count: int = 23) -> MessageSource:
    return MessageSource({"i": np.arange(count)})


def picky(message: Message) -> Message:
    for number in message["i"]:
        if number in BAD:
            raise ValueError(f"{number} is bad")
    return message


def noisy(message: Message, generators) -> Message:
    message["drawn"] = generators.integers(1000)
    return picky(message)


class Picky(Source):
    """A user's own transform."""

    def transform(self, message: Message) -> Message:
        return picky(message)


def numbers(items) -> list[int]:
    return [number for item in items for number in item["i"].tolist()]


GOOD = [number for number in range(23) if number not in BAD]


@pytest.mark.parametrize(
    "make",
    [
        lambda: rows() >> MapSource(picky, on_error="skip"),
        lambda: rows() >> Picky(on_error="skip"),
        lambda: rows() >> BatchingSource(5) >> Picky(on_error="skip"),
        lambda: IterableSource([rows().message]) >> MapSource(picky, on_error="skip"),
        lambda: rows() >> MapSource(noisy, seed=1, on_error="skip"),
    ],
)
def test_rows_that_cannot_be_changed_are_left_out_with_their_reasons(make):
    source = make()
    assert not source.indexed
    assert numbers(source) == GOOD
    assert source.skipped_count == len(BAD)
    assert [each.where for each in source.skipped] == [f"row {n} of epoch 0" for n in sorted(BAD)]
    assert source.skipped[0].reason == "ValueError: 3 is bad"


def test_what_is_left_makes_exact_batches_and_resumes_at_every_step():
    def make() -> Source:
        changed = rows() >> ShufflerSource(1) >> MapSource(noisy, seed=2, on_error="skip")
        return changed >> BatchingSource(4)

    expected = list(make())
    assert [len(batch) for batch in expected] == [4, 4, 4, 4, 3]
    assert sorted(numbers(expected)) == GOOD
    going = make()
    one_pass = iter(going)
    for step in range(1, len(expected)):
        next(one_pass)
        fresh = make()
        fresh.load_state_dict(json.loads(json.dumps(going.state_dict())))
        assert list(fresh) == expected[step:]


def test_rows_drawn_for_are_the_same_whether_others_are_left_out_or_not():
    drawn = (rows() >> MapSource(noisy, seed=1, on_error="skip")).read_all()
    BAD_BEFORE = set(BAD)
    BAD.clear()
    try:
        everything = (rows() >> MapSource(noisy, seed=1)).read_all()
    finally:
        BAD.update(BAD_BEFORE)
    assert drawn["drawn"].tolist() == everything.take(np.array(GOOD))["drawn"].tolist()


def test_sources_of_the_library_leave_rows_out():
    texts = MessageSource({"i": np.arange(4), "animal": ["cat", "eel", "dog", "cat"]})
    labeled = texts >> LabelerSource("animal", labels=["cat", "dog"], on_error="skip")
    assert numbers(labeled) == [0, 2, 3]
    assert "eel" in labeled.skipped[0].reason
    mixed = MessageSource(Message({"i": np.arange(3), "x": [1, "two", 3]}))
    tensors = mixed >> TensorSource("x", on_error="skip")
    assert numbers(tensors) == [0, 2]


def test_rows_are_named_where_nothing_is_left_out():
    source = rows() >> ShufflerSource(0) >> Picky() >> BatchingSource(4)
    with pytest.raises(ValueError, match="is bad") as caught:
        list(source)
    notes = " ".join(caught.value.__notes__)
    assert "Picky() read 4 rows" in notes
    assert "BatchingSource() read 4 rows" in notes


def test_a_source_that_leaves_rows_out_has_no_length():
    source = rows() >> MapSource(picky, on_error="skip")
    for use in (len, lambda each: each[0], lambda each: each.read(np.arange(2))):
        with pytest.raises(WrongType, match="on_error"):
            use(source)


def test_mistakes_of_the_source_are_never_left_out():
    too_many = rows() >> MapSource(lambda m: {"i": [1, 2, 3]}, on_error="skip")
    with pytest.raises(WrongLength):
        list(too_many)
    with pytest.raises(ColumnNotFound):
        list(rows() >> TensorSource("j", on_error="skip"))
    with pytest.raises(WrongValue, match="on_error"):
        MapSource(picky, on_error="ignore")  # type: ignore[arg-type]
    with pytest.raises(WrongValue, match="on_error"):
        Picky(on_error="ignore")  # type: ignore[arg-type]


@pytest.mark.parametrize("stream", [False, True])
def test_a_change_is_tried_again(stream):
    left = [2]

    def fails_twice(message: Message) -> dict[str, torch.Tensor]:
        if left[0]:
            left[0] -= 1
            raise OSError("no answer")
        return {"i": torch.as_tensor(message["i"])}

    above = IterableSource([rows().message]) if stream else rows()
    source = above >> MapSource(fails_twice, on_error=Retry(2, wait=0.001))
    assert source.indexed is not stream
    assert numbers(source) == list(range(23))
    left[0] = 2
    with pytest.raises(OSError, match="no answer"):
        list(rows() >> MapSource(fails_twice, on_error=Retry(1, wait=0.001)))


def test_a_graph_runs_over_what_is_left():
    source = rows() >> MapSource(picky, on_error="skip", name="map")
    assert Graph(source).drain() == {"map": len(GOOD)}


class Flaky(Source):
    """Rows by number, of which some cannot be read; the rest fail at their first try."""

    def __init__(self, *, bad: set[int] = BAD, on_error="raise", name=None):
        super().__init__(on_error=on_error, name=name)
        self.num_rows = 23
        self.bad = bad
        self.tries = 0

    def read(self, rows: np.ndarray) -> Message:
        self.tries += 1
        for row in rows.tolist():
            if row in self.bad:
                raise OSError(f"{row} is gone")
        return Message({"i": rows})


class FailsAtFirst(Flaky):
    def read(self, rows: np.ndarray) -> Message:
        self.tries += 1
        if self.tries % 3:
            raise OSError("not yet")
        return Message({"i": rows})


class Interrupted(Source):
    """A stream that breaks off now and then, with positions or without."""

    def __init__(self, breaks: int, *, positions: bool, on_error="raise"):
        super().__init__(on_error=on_error)
        self.breaks, self.positions = breaks, positions
        self.opened: list[object] = []

    def stream(self, start=None):
        self.opened.append(start)
        for first in range(start or 0, 20, 4):
            if self.breaks and len(self.opened) * 4 == first:
                self.breaks -= 1
                raise ConnectionError("cut off")
            chunk = Message({"i": np.arange(first, first + 4)})
            yield (chunk, first + 4) if self.positions else chunk


class TestReadsAndStreamsOfAUser:
    def test_rows_that_cannot_be_read_are_left_out_with_their_reasons(self):
        source = Flaky(on_error="skip") >> BatchingSource(4)
        assert not source.indexed
        expected = [GOOD[first : first + 4] for first in range(0, len(GOOD), 4)]
        for epoch in range(2):
            assert [batch["i"].tolist() for batch in source] == expected
            top = source.input
            assert [each.where for each in top.skipped[-4:]] == [
                f"row {row} of epoch {epoch}" for row in sorted(BAD)
            ]
            assert top.skipped[-1].reason == "OSError: 22 is gone"
        assert top.skipped_count == 8
        with pytest.raises(WrongType, match="leaves out rows that it cannot read"):
            len(top)

    def test_what_is_left_resumes_at_every_step(self):
        def make() -> Source:
            return Flaky(on_error="skip") >> BatchingSource(4)

        expected = list(make())
        going = iter(make())
        for step in range(len(expected)):
            fresh = make()
            fresh.load_state_dict(json.loads(json.dumps(going.state_dict())))
            assert list(fresh) == expected[step:]
            next(going)

    @pytest.mark.parametrize("make", [lambda top: top, lambda top: top >> BatchingSource(4)])
    def test_a_read_is_tried_again(self, make):
        source = make(FailsAtFirst(on_error=Retry(2, wait=0)))
        assert numbers(source) == list(range(23))
        assert source.read(np.array([5, 1]))["i"].tolist() == [5, 1]
        with pytest.raises(OSError, match="not yet"):
            list(make(FailsAtFirst(on_error=Retry(1, wait=0))))

    @pytest.mark.parametrize("positions", [True, False])
    def test_a_stream_is_opened_again_behind_its_last_chunk(self, positions):
        source = Interrupted(3, positions=positions, on_error=Retry(1, wait=0))
        assert numbers(source) == list(range(20))
        assert source.opened == ([None, 4, 8, 12] if positions else [None] * 4)
        assert numbers(source) == list(range(20))

    def test_a_stream_that_fails_at_one_place_again_and_again_is_an_error(self):
        class Broken(Interrupted):
            def stream(self, start=None):
                yield from (Message({"i": np.arange(4)}) for _ in range(2))
                self.opened.append(start)
                raise ConnectionError("cut off")

        source = Broken(0, positions=False, on_error=Retry(2, wait=0))
        one_pass = iter(source)
        next(one_pass), next(one_pass)
        with pytest.raises(ConnectionError, match="cut off"):
            next(one_pass)
        assert len(source.opened) == 3

    def test_a_stream_cannot_leave_rows_out(self):
        with pytest.raises(WrongValue, match="has ended"):
            Interrupted(0, positions=True, on_error="skip")


class TestAPassAfterAnError:
    """It stands where it stood: nothing is lost, and the epoch is not over."""

    def going_on(self, source: Source, errors: int) -> list[int]:
        one_pass, seen = iter(source), []
        for _ in range(100):
            try:
                if (item := next(one_pass, None)) is None:
                    break
            except OSError:
                errors -= 1
                assert source.state_dict() == one_pass.state_dict()
            else:
                seen += item["i"].tolist()
        assert errors == 0
        assert source.state_dict()["epoch"] == 0
        return seen

    def test_of_an_indexed_source(self):
        assert self.going_on(FailsAtFirst() >> BatchingSource(12), 4) == list(range(23))

    @pytest.mark.parametrize("positions", [True, False])
    def test_of_a_stream(self, positions):
        source = Interrupted(2, positions=positions) >> BatchingSource(3)
        assert self.going_on(source, 2) == list(range(20))

    @pytest.mark.parametrize("positions", [True, False])
    def test_of_a_stream_that_several_read(self, positions):
        top = Interrupted(2, positions=positions)
        both = ZipSource(inputs={"a": top, "b": top >> MapSource(renamed)})
        assert self.going_on(both >> BatchingSource(3), 2) == list(range(20))

    def test_of_a_graph_that_is_run_again(self):
        top = Interrupted(1, positions=True)
        graph = Graph({"a": top, "b": top >> MapSource(renamed)})
        seen: list[int] = []
        for _ in range(2):
            try:
                for step in graph.run():
                    assert step["a"]["i"].tolist() == step["b"]["j"].tolist()
                    state = graph.state_dict()
                    seen += step["a"]["i"].tolist()
            except ConnectionError:
                graph.load_state_dict(state)
        assert seen == list(range(20))


def renamed(message: Message) -> Message:
    return message.rename({"i": "j"})
