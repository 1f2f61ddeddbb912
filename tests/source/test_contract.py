"""What every source has from the base, whichever of the three methods it implements."""

from __future__ import annotations

import gc
import pickle
from contextlib import nullcontext

import numpy as np
import pytest

from fireworks import Message, Source
from fireworks.errors import RowOutOfRange, RowsVanished, WrongLength, WrongType
from fireworks.sources import BatchingSource, MessageSource, ShufflerSource, SubsetSource


class Counting(Source):
    """An indexed source of ten lines, without inputs and without super().__init__()."""

    def __init__(self, num_rows):
        self.asked = []
        self.num_rows = num_rows

    def read(self, rows):
        self.asked.append(rows.tolist())
        return Message({"i": rows})


class Chunks(Source):
    """A streamed source; some of its chunks come with a position."""

    def __init__(self, sizes):
        self.sizes = sizes

    def stream(self, start=None):
        first = 0
        for size in self.sizes:
            rows = Message({"i": np.arange(first, first + size)})
            yield rows if first % 2 else (rows, first)
            first += size


class Double(Source):
    def transform(self, message):
        return Message({"i": message["i"] * 2})


def values(message):
    return message["i"].tolist()


def all_values(source):
    return [value for item in source for value in values(item)]


class TestIndexed:
    def test_sequence_laws(self):
        source = Counting(7)
        items = list(source)
        assert len(items) == len(source) == 7
        assert all(items[i] == source[i] for i in range(7))
        assert values(source[[5, 2]]) == values(source[5]) + values(source[2])

    @pytest.mark.parametrize(
        ("index", "expected"),
        [
            (3, [3]),
            (-1, [6]),
            (slice(1, 4), [1, 2, 3]),
            (slice(None, None, -3), [6, 3, 0]),
            ([5, 2, 5], [5, 2, 5]),
            (np.array([0, 6]), [0, 6]),
            (np.array([True] + [False] * 5 + [True]), [0, 6]),
            ([], []),
        ],
    )
    def test_getitem(self, index, expected):
        assert values(Counting(7)[index]) == expected

    def test_it_asks_for_exactly_the_rows_needed(self):
        source = Counting(10)
        _ = Double(inputs=source)[[8, 1]]
        assert source.asked == [[8, 1]]

    @pytest.mark.parametrize("index", [7, -8, [0, 7]])
    def test_out_of_range(self, index):
        with pytest.raises(IndexError, match="7"):
            Counting(7)[index]

    def test_mask_of_another_length(self):
        with pytest.raises(WrongLength, match="3"):
            Counting(7)[np.array([True, False, True])]

    @pytest.mark.parametrize("index", [1.5, "a", None, [0.5]])
    def test_what_is_no_index(self, index):
        with pytest.raises(TypeError):
            Counting(7)[index]

    def test_take_rows_and_read_all(self):
        source = Counting(5)
        assert values(source.take(2)) == [0, 1]
        assert values(source.take(99)) == [0, 1, 2, 3, 4]
        assert [values(row) for row in source.rows()] == [[0], [1], [2], [3], [4]]
        assert values(source.read_all()) == [0, 1, 2, 3, 4]
        assert list(source.schema) == ["i"]

    def test_no_rows(self):
        source = Counting(0)
        assert len(source) == 0
        assert list(source) == []
        assert list(Double(inputs=source)) == []
        assert bool(source)

    def test_rows_are_epoch_extended_and_reduced_for_sources_that_do_not_know_epochs(self):
        source = Counting(5)
        assert values(source.read(np.array([4, 5, 12]))) == [4, 0, 2]
        assert source.asked == [[4, 0, 2]]

    def test_negative_rows_are_refused_by_read(self):
        with pytest.raises(RowOutOfRange, match="-1"):
            Counting(5).read(np.array([-1]))


class TestStreamed:
    def test_iterates_chunks_without_positions(self):
        assert [values(chunk) for chunk in Chunks([2, 3])] == [[0, 1], [2, 3, 4]]

    def test_read_all_take_schema(self):
        source = Chunks([2, 3, 4])
        assert values(source.read_all()) == list(range(9))
        assert values(source.take(3)) == [0, 1, 2]
        assert list(source.schema) == ["i"]

    def test_no_rows_by_index(self):
        source = Double(inputs=Chunks([2]))
        assert not source.indexed
        for read in (lambda: source[0], lambda: source.read(np.array([0]))):
            with pytest.raises(WrongType, match=r"stream.*MessageSource"):
                read()
        with pytest.raises(TypeError, match="stream"):
            len(source)

    def test_batches_are_exact_however_rows_arrive(self):
        source = Chunks([1, 5, 0, 3, 9, 1])
        sizes = [len(batch) for batch in source >> BatchingSource(4)]
        assert sizes == [4, 4, 4, 4, 3]
        whole = BatchingSource(4, drop_last=True, inputs=Chunks([1, 5, 0, 3, 9, 1]))
        assert all_values(whole) == list(range(16))

    def test_transform_of_a_stream_is_a_stream(self):
        assert all_values(Double(inputs=Chunks([2, 1]))) == [0, 2, 4]


class TestTransform:
    def test_is_indexed_where_its_input_is(self):
        assert Double(inputs=Counting(3)).indexed
        assert values(Double(inputs=Counting(3))[2]) == [4]

    def test_another_number_of_rows_is_an_error(self):
        class Drop(Source):
            def transform(self, message):
                return message[1:]

        with pytest.raises(WrongLength, match="got 3 rows and returned 2"):
            Drop(inputs=Counting(3)).read_all()

    def test_what_is_no_message_is_an_error(self):
        class Values(Source):
            def transform(self, message):
                return message["i"]

        with pytest.raises(WrongType, match="Series"):
            Values(inputs=Counting(3)).read_all()

    def test_an_error_tells_the_path_and_the_rows(self):
        class Fails(Source):
            def transform(self, message):
                raise ZeroDivisionError("no")

        with pytest.raises(ZeroDivisionError) as caught:
            Double(inputs=Fails(inputs=Counting(9)))[[7, 3]]
        assert caught.value.__notes__ == [
            "while Fails() read 2 rows: 7, 3",
            "while Double() read 2 rows: 7, 3",
        ]


def test_read_without_num_rows_says_what_is_missing():
    class Forgot(Source):
        def read(self, rows):
            return Message({"i": rows})

    with pytest.raises(WrongType, match="Forgot implements read; it needs num_rows"):
        len(Forgot())


def test_a_class_without_any_of_the_three_is_refused():
    class Nothing(Source):
        pass

    with pytest.raises(TypeError, match="read .*stream, transform"):
        Nothing()


class TestPasses:
    def test_each_pass_that_ends_moves_to_the_next_epoch(self):
        source = Counting(50) >> ShufflerSource(3)
        first, second = all_values(source), all_values(source)
        assert sorted(first) == sorted(second) == list(range(50))
        assert first != second
        again = Counting(50) >> ShufflerSource(3)
        assert [all_values(again), all_values(again)] == [first, second]

    def test_an_abandoned_pass_changes_nothing(self):
        source = Counting(50) >> ShufflerSource(3) >> BatchingSource(8)
        first = iter(source)
        kept = values(next(first))
        first.close()
        assert values(next(iter(source))) == kept

    def test_a_loop_that_knows_the_length_ends_the_epoch_too(self):
        source = Counting(20) >> ShufflerSource(3) >> BatchingSource(8)
        one = iter(source)
        batches = [values(next(one)) for _ in range(len(source))]
        assert iter(source).epoch == 1
        assert values(next(iter(source))) != batches[0]

    def test_two_passes_at_once_do_not_disturb_each_other(self):
        source = Counting(40) >> ShufflerSource(3) >> BatchingSource(16)
        alone = [values(batch) for batch in Counting(40) >> ShufflerSource(3) >> BatchingSource(16)]
        one, two = iter(source), iter(source)
        seen_one, seen_two = [], []
        for _ in range(3):
            seen_one.append(values(next(one)))
            seen_two.append(values(next(two)))
        assert seen_one == seen_two == alone


class TestItems:
    def test_len_and_index_count_batches_and_read_counts_rows(self):
        source = Counting(10) >> BatchingSource(4)
        assert (len(source), source.num_rows, source.item_rows) == (3, 10, 4)
        assert values(source[2]) == [8, 9]
        assert values(source[[2, 0]]) == [8, 9, 0, 1, 2, 3]
        assert values(source.read(np.array([9, 1]))) == [9, 1]
        assert [values(item) for item in source] == [values(source[i]) for i in range(3)]

    def test_sources_after_it_inherit_the_batches(self):
        source = Counting(10) >> BatchingSource(4) >> Double()
        assert [values(item) for item in source] == [[0, 2, 4, 6], [8, 10, 12, 14], [16, 18]]
        shuffled = Counting(10) >> BatchingSource(4) >> ShufflerSource(0)
        assert [len(item) for item in shuffled] == [4, 4, 2]
        assert sorted(all_values(shuffled)) == list(range(10))

    def test_drop_last_of_shuffled_rows_leaves_out_others_in_each_epoch(self):
        source = Counting(10) >> ShufflerSource(0) >> BatchingSource(4, drop_last=True)
        assert (len(source), source.num_rows) == (2, 8)
        left_out = [set(range(10)) - set(all_values(source)) for _ in range(6)]
        assert {len(each) for each in left_out} == {2}
        assert len({frozenset(each) for each in left_out}) > 1

    @pytest.mark.parametrize("size", [0, -1, 2.5, "4"])
    def test_bad_batch_size(self, size):
        with pytest.raises(ValueError, match="at least 1"):
            BatchingSource(size)


def test_a_graph_can_be_pickled_and_reads_the_same():
    source = MessageSource({"i": np.arange(30)}) >> ShufflerSource(5) >> BatchingSource(7)
    copy = pickle.loads(pickle.dumps(source))
    assert [values(item) for item in copy] == [values(item) for item in source]
    assert copy.input.outputs == [copy]


def test_outputs_are_held_weakly():
    reader = Counting(3)
    after = Double(inputs=reader)
    other = Double(inputs=reader)
    assert reader.outputs == [after, other]
    del after
    gc.collect()
    assert reader.outputs == [other]


def test_a_source_may_have_methods_called_as_those_of_the_library():
    class Counter(Source):
        num_rows = 3

        def read(self, rows):
            return Message({"i": rows})

        def change(self):
            return "changed"

        def reorder(self):
            return "reordered"

    class Counted(Source):
        def stream(self, start=None):
            yield Message({"i": [1, 2]})

        def change(self):
            return "changed"

    assert [row["i"].tolist() for row in Counter()] == [[0], [1], [2]]
    assert Counter().change() == Counted().change() == "changed"
    assert Counter().reorder() == "reordered"
    assert [chunk["i"].tolist() for chunk in Counted()] == [[1, 2]]
    assert Counter().indexed and not Counted().indexed
    Counter().will_need(np.arange(2))


@pytest.mark.parametrize(
    ("between", "moves"), [([], False), ([ShufflerSource(0)], True)], ids=["in order", "shuffled"]
)
def test_rows_that_a_shuffle_puts_elsewhere_are_told_downstream(between, moves):
    top = MessageSource({"i": np.arange(10)})
    batches = BatchingSource(2, inputs=top)
    last: Source = batches
    for each in between:
        last = last >> each
    chosen = last >> SubsetSource([0, 1, 2])
    with pytest.raises(RowsVanished, match="chose rows") if moves else nullcontext():
        batches.rows_moved(5)  # the first five rows are those that they were
    assert len(chosen) == 2
