"""Sources wired to each other, and calls that travel up the wires."""

from __future__ import annotations

import pytest

from fireworks import Message, Source
from fireworks.errors import WiringError, WrongType
from fireworks.sources import BatchingSource, MessageSource, ShufflerSource


class Same(Source):
    def transform(self, message):
        return message


class Both(Source):
    """Two named inputs, side by side."""

    def read(self, rows):
        left, right = self.inputs["left"].read(rows), self.inputs["right"].read(rows)
        return left.merge(right.rename({name: f"right_{name}" for name in right.columns}))

    @property
    def num_rows(self):
        return self.inputs["left"].num_rows


class Embedder(Source):
    width = 3

    def transform(self, message):
        return message

    def to_vector(self, word, times=1):
        return [len(word)] * times

    @property
    def broken(self):
        raise AttributeError("no attribute 'weights' on None")


def words(name=None):
    return MessageSource({"word": ["a", "bb"]}, name=name)


class TestBinding:
    def test_inputs_and_pipe_are_the_same(self):
        reader = words()
        by_name = Same(inputs=reader)
        by_pipe = reader >> Same()
        assert by_name.input is by_pipe.input is reader
        assert dict(by_name.inputs) == {"input": reader}
        assert reader.outputs == [by_name, by_pipe]

    def test_a_pipe_binds_the_open_end_far_up(self):
        reader, tail = words(), Same() >> Same() >> BatchingSource(2)
        result = reader >> tail
        assert result is tail
        assert len(tail[0]) == 2

    def test_a_dict_of_inputs(self):
        left, right = words(), words()
        for both in (Both(inputs={"left": left, "right": right}), Both()):
            if not both.inputs:
                Both.needs_inputs = True
                {"left": left, "right": right} >> both
            assert both[1]["right_word"].tolist() == ["bb"]

    def test_binding_twice(self):
        bound = words() >> Same()
        with pytest.raises(WiringError, match="nothing to bind"):
            _ = words() >> bound

    def test_a_source_that_reads_from_nothing_cannot_be_bound(self):
        with pytest.raises(WiringError, match="nothing to bind"):
            _ = words() >> words()

    def test_several_open_ends(self):
        both = Both(inputs={"left": Same(), "right": Same()})
        with pytest.raises(WiringError, match="Several inputs are open"):
            _ = words() >> both

    def test_a_cycle(self):
        first = Same(name="first")
        last = first >> Same() >> Same()
        with pytest.raises(WiringError, match="read from itself"):
            _ = last >> first

    @pytest.mark.parametrize("inputs", [Message({"a": [1]}), {"x": 3}, 7, [3]])
    def test_what_is_no_source(self, inputs):
        with pytest.raises(WrongType, match="must be a Source"):
            Same(inputs=inputs)

    def test_no_sources_at_all(self):
        with pytest.raises(WiringError, match="empty"):
            Same(inputs={})

    def test_unbound_sources_say_how_to_bind(self):
        with pytest.raises(WiringError, match=r"source >> ShufflerSource"):
            len(ShufflerSource(0))
        with pytest.raises(WiringError, match=r"source >> Same"):
            Same().read_all()

    def test_a_pipe_into_something_else(self):
        with pytest.raises(TypeError):
            words() >> 3  # pyright: ignore[reportOperatorIssue]


class TestCallingUpstream:
    def test_a_method_three_sources_up(self):
        loader = words() >> Embedder() >> Same() >> BatchingSource(2)
        assert loader.to_vector("abc", times=2) == [3, 3]
        assert loader.width == 3
        assert "to_vector" in dir(loader)

    def test_in_several_branches_a_dict_by_input(self):
        left, right = words() >> Embedder(), words() >> Embedder()
        right.width = 5
        both = Both(inputs={"left": left, "right": Same(inputs=right)})
        assert both.width == {"left": 3, "right": 5}
        assert both.to_vector("ab") == {"left": [2], "right": [2]}

    def test_the_same_source_in_two_branches_is_one(self):
        shared = words() >> Embedder()
        both = Both(inputs={"left": Same(inputs=shared), "right": Same(inputs=shared)})
        assert both.width == 3

    def test_nowhere(self):
        loader = words() >> Same() >> BatchingSource(2)
        with pytest.raises(AttributeError, match="BatchingSource <- Same <- MessageSource"):
            _ = loader.nothing
        assert not hasattr(loader, "nothing")

    def test_private_names_stay_private(self):
        loader = words() >> Embedder() >> Same()
        loader.input._secret = 1
        with pytest.raises(AttributeError, match="'Same' object has no attribute '_secret'"):
            _ = loader._secret

    def test_an_error_inside_a_property_is_not_hidden(self):
        embedder = words() >> Embedder()
        for source in (embedder, embedder >> Same()):
            with pytest.raises(AttributeError, match="no attribute 'weights' on None"):
                _ = source.broken

    def test_upstream_skips_the_sources_own(self):
        class Wide(Source):
            width = 9

            def transform(self, message):
                return message

        wide = words() >> Embedder() >> Wide()
        assert (wide.width, wide.upstream("width")) == (9, 3)
