"""A whole graph: its parts, its checks, its state, its pictures, where its time went."""

from __future__ import annotations

import json
import threading
import time
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
import torch

from fireworks import Graph, Message, Source
from fireworks.errors import StateMismatch, WiringError, WrongType, WrongValue
from fireworks.sources import (
    BatchingSource,
    CachingSource,
    ConcatSource,
    FilterSource,
    MessageSource,
    NormalizerSource,
    ShufflerSource,
    ZipSource,
)


class Slow(Source):
    def transform(self, message):
        time.sleep(0.02)
        return message


class Renamed(Source):
    def transform(self, message):
        return message.rename({"i": "k", "x": "y"})


def rows(num_rows: int = 100) -> MessageSource:
    return MessageSource({"i": np.arange(num_rows), "x": torch.arange(num_rows).float()})


def ordinary(seed: int = 0, batch_size: int = 8) -> Source:
    return (
        rows()
        >> NormalizerSource("x")
        >> CachingSource(max_rows=50)
        >> ShufflerSource(seed)
        >> BatchingSource(batch_size)
    )


class TestParts:
    def test_nodes_and_edges(self):
        top = rows() >> NormalizerSource("x", name="normal")
        graph = Graph({"train": top >> BatchingSource(8), "audit": top >> Slow()})
        assert list(graph.nodes) == ["BatchingSource-0", "normal", "MessageSource-2", "Slow-3"]
        assert set(graph.edges) == {
            ("MessageSource-2", "normal"),
            ("normal", "BatchingSource-0"),
            ("normal", "Slow-3"),
        }

    def test_two_sources_of_one_name_have_keys_of_their_own(self):
        both = ZipSource(
            inputs={"a": rows() >> Slow(name="part"), "b": rows() >> Renamed(name="part")}
        )
        assert list(Graph(both).nodes)[:3] == ["ZipSource-0", "part", "part-2"]

    @pytest.mark.parametrize(
        ("sinks", "error"),
        [([], WiringError), ({}, WiringError), ([3], WrongType), ({"a": rows}, WrongType)],
    )
    def test_what_is_no_graph(self, sinks, error):
        with pytest.raises(error):
            Graph(sinks)

    def test_open_inputs_are_named(self):
        with pytest.raises(WiringError, match=r"no input yet: Slow-1"):
            Graph(Slow() >> BatchingSource(2))

    def test_equal_graphs_have_equal_fingerprints_and_states(self):
        one, two = ordinary(), ordinary()
        assert Graph(one).fingerprint == Graph(two).fingerprint
        next(iter(one))
        next(iter(two))
        assert one.state_dict() == two.state_dict()
        different = {Graph(each).fingerprint for each in (ordinary(1), ordinary(0, 9), one.input)}
        assert len(different) == 3
        assert Graph(one).fingerprint not in different


class TestState:
    def test_is_small_json(self):
        source = ordinary()
        next(iter(source))
        assert len(json.dumps(source.state_dict())) < 10_000

    @pytest.mark.parametrize(
        ("other", "difference"),
        [
            (lambda: ordinary(seed=1), r'\{"seed": 0, .* here is \[ShufflerSource-1.*"seed": 1'),
            (lambda: ordinary(batch_size=9), '"batch_size": 8.*"batch_size": 9'),
            (lambda: rows() >> ShufflerSource(0) >> BatchingSource(8), "CachingSource"),
            (lambda: rows(99) >> BatchingSource(8), "ShufflerSource"),
        ],
    )
    def test_of_another_graph_is_refused_and_the_difference_named(self, other, difference):
        source = ordinary()
        next(iter(source))
        changed = other()
        with pytest.raises(StateMismatch, match=difference):
            changed.load_state_dict(source.state_dict())
        assert iter(changed).epoch == 0

    @pytest.mark.parametrize("state", [{}, {"version": 1}, None, 3, {"a": 1}])
    def test_what_is_no_state(self, state):
        with pytest.raises(WrongType, match="no state"):
            ordinary().load_state_dict(state)

    def test_of_a_newer_version(self):
        state = {**ordinary().state_dict(), "version": 99}
        with pytest.raises(StateMismatch, match="version 99"):
            ordinary().load_state_dict(state)

    def test_the_end_of_an_epoch_and_the_start_of_the_next_are_different(self):
        source = ordinary()
        first = list(source)
        at_end = source.state_dict()
        at_start = iter(source).state_dict()
        assert at_end != at_start
        one, two = ordinary(), ordinary()
        one.load_state_dict(at_end)
        two.load_state_dict(at_start)
        assert list(one) == []
        second = list(one)
        assert list(two) == second != first

    def test_of_a_graph_with_other_sinks(self):
        graph = Graph({"a": rows(), "b": rows()})
        with pytest.raises(StateMismatch, match="sinks a, b; here are a"):
            Graph({"a": rows()}).load_state_dict(graph.state_dict())


class TestValidate:
    def test_a_sound_graph(self):
        Graph(ordinary() >> FilterSource(lambda message: message["i"] % 2 == 0)).validate()

    def test_a_transform_that_is_random_by_itself_is_named(self):
        class Noise(Source):
            def transform(self, message):
                message["x"] = message["x"] + torch.rand(len(message))
                return message

        with pytest.raises(WrongValue, match="Noise-1 gives other rows"):
            Graph(rows() >> Noise() >> BatchingSource(3)).validate()

    def test_a_transform_that_looks_at_its_neighbours_is_named(self):
        class Difference(Source):
            def transform(self, message):
                message["x"] = message["x"] - message["x"][0]
                return message

        with pytest.raises(WrongValue, match="Difference-0"):
            Graph(rows() >> Difference()).validate()


class TestLooking:
    def test_explain_names_the_bottleneck(self):
        graph = Graph(rows() >> Slow(name="decode") >> BatchingSource(20))
        assert "Nothing was read yet" in graph.explain()
        graph.drain()
        assert "The bottleneck is decode" in graph.explain()
        decode = graph.statistics["decode"]
        assert (decode.reads, decode.rows) == (5, 100)
        assert 0.1 <= decode.seconds < 2
        assert graph.statistics["BatchingSource-0"].seconds < decode.seconds / 5
        assert graph.statistics["BatchingSource-0"].waiting >= 0.1
        assert decode.bytes == 100 * (8 + 4)

    def test_statistics_of_a_stream(self):
        class Chunks(Source):
            def stream(self, start=None):
                for _ in range(3):
                    time.sleep(0.02)
                    yield Message({"i": [1, 2]})

        source = Chunks() >> Slow()
        list(source)
        chunks = source.input.statistics
        assert (chunks.reads, chunks.rows) == (3, 6)
        assert 0.06 <= chunks.seconds < 1
        assert 0.06 <= source.statistics.seconds < 1
        assert source.statistics.waiting >= 0.06

    def test_mermaid(self):
        text = Graph(rows() >> Slow(name='a "b"') >> BatchingSource(2)).mermaid()
        assert text.splitlines()[0] == "flowchart LR"
        assert 'n1["a #quot;b#quot; (Slow)"]' in text
        assert "n2 --> n1" in text
        assert "n1 --> n0" in text

    def test_svg_and_html(self, tmp_path):
        graph = Graph(rows() >> Slow(name="<script>") >> BatchingSource(2))
        picture = ElementTree.fromstring(graph.svg())
        assert len(picture.findall(".//{*}rect")) == 3
        assert len(picture.findall("{*}path")) == 2
        graph.show(tmp_path / "graph.svg")
        graph.show(tmp_path / "graph.html")
        assert (tmp_path / "graph.svg").read_text() == graph.svg()
        page = (tmp_path / "graph.html").read_text()
        assert "&lt;script&gt;" in page
        assert "<script>" not in page

    def test_prepare_does_the_one_time_work(self):
        normal = NormalizerSource("x", inputs=rows())
        source = normal >> FilterSource(lambda message: message["i"] > 10)
        assert not source.indexed
        Graph(source).prepare()
        assert source.indexed
        assert len(source) == 89
        assert normal._learned is not None


class TestPreparation:
    class Meets(Source):
        """Its preparation goes on when the other's has begun."""

        def __init__(self, barrier: threading.Barrier, **options):
            self.barrier, self.done = barrier, False

        def transform(self, message):
            return message

        def prepare(self):
            if self.input.needs_inputs:
                assert self.input.done
            self.barrier.wait(timeout=20)
            self.done = True

    def test_sources_that_do_not_read_each_other_are_prepared_side_by_side(self):
        first, second = threading.Barrier(2), threading.Barrier(2)
        top = rows()
        left, right = (top >> self.Meets(first) >> self.Meets(second) for _ in range(2))
        both = ZipSource(inputs={"a": left, "b": right >> Renamed()})
        Graph(both).prepare()
        assert left.done
        assert right.done

    def test_what_is_far_up_one_way_and_near_another_comes_first(self):
        top = rows() >> FilterSource(lambda message: message["i"] > 10)
        far = top >> FilterSource(lambda message: message["i"] > 20)
        both = ConcatSource(inputs={"near": top, "far": far >> Slow()})
        Graph(both).prepare()
        assert far.indexed
        assert len(both) == 89 + 79

    def test_an_error_is_raised_when_what_was_begun_is_done(self):
        class Fails(Source):
            def transform(self, message):
                return message

            def prepare(self):
                raise OSError("no disk")

        good = rows() >> NormalizerSource("x")
        with pytest.raises(OSError, match="no disk"):
            Graph({"bad": rows() >> Fails(), "good": good}).prepare()
        assert good._learned is not None


def test_a_users_stream_with_an_input_follows_the_epochs():
    class Pairs(Source):
        needs_inputs = True

        def stream(self, start=None):
            for batch in self.input:
                yield batch[:2]

    def graph() -> Source:
        return rows(20) >> ShufflerSource(0) >> BatchingSource(5) >> Pairs()

    source = graph()
    epochs = [[value for item in source for value in item["i"]] for _ in range(2)]
    assert epochs[0] != epochs[1]
    fresh = graph()
    one_pass = iter(fresh)
    next(one_pass)
    state = json.loads(json.dumps(fresh.state_dict()))
    again = graph()
    again.load_state_dict(state)
    assert [v for item in again for v in item["i"]] == epochs[0][2:]
    assert [v for item in again for v in item["i"]] == epochs[1]
