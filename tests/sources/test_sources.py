"""The sources of the library, one by one."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fireworks import Message, Source, train_test_split
from fireworks.errors import (
    ColumnNotFound,
    RowOutOfRange,
    WrongType,
    WrongValue,
)
from fireworks.sources import (
    BatchingSource,
    MessageSource,
    NormalizerSource,
    SamplerSource,
    ShufflerSource,
    SubsetSource,
)
from fireworks.sources.normalizer import Moments


def counted(num_rows: int) -> MessageSource:
    return MessageSource({"i": np.arange(num_rows)})


def order(source: Source) -> list[int]:
    return [value for item in source for value in item["i"].tolist()]


class TestMessageSource:
    def test_reads_copies(self):
        message = Message({"x": torch.zeros(3)})
        read = MessageSource(message).read(np.array([0, 1, 2]))
        read["x"][0] = 1
        assert message["x"].sum() == 0

    def test_takes_what_a_message_is_made_from(self):
        assert MessageSource({"a": [1, 2]})[1]["a"].tolist() == [2]


class TestShuffler:
    @given(st.integers(1, 60), st.integers(0, 2**40), st.integers(0, 5))
    def test_every_epoch_is_a_permutation(self, num_rows, seed, epoch):
        source = counted(num_rows) >> ShufflerSource(seed)
        rows = source.read(np.arange(epoch * num_rows, (epoch + 1) * num_rows))
        assert sorted(rows["i"].tolist()) == list(range(num_rows))

    def test_any_row_of_any_epoch_can_be_addressed(self):
        source = counted(20) >> ShufflerSource(1)
        by_pass = [order(source) for _ in range(4)]
        mixed = source.read(np.array([3 * 20 + 7, 0, 2 * 20 + 19, 20]))
        assert mixed["i"].tolist() == [by_pass[3][7], by_pass[0][0], by_pass[2][19], by_pass[1][0]]

    def test_the_order_is_uniform(self):
        # Pearson's chi-square over the 120 orders of 5 rows; 163.6 is the 0.5 % point at 119
        # degrees of freedom. The seed is fixed: this either holds or does not.
        source = counted(5) >> ShufflerSource(0)
        epochs = 12_000
        seen: dict[tuple[int, ...], int] = {}
        for _ in range(epochs):
            seen[key] = seen.get(key := tuple(order(source)), 0) + 1
        expected = epochs / 120
        assert len(seen) == 120
        assert sum((count - expected) ** 2 / expected for count in seen.values()) < 163.6

    def test_seed_and_name_make_the_order(self):
        def one(seed: int, name: str | None = None) -> list[int]:
            return order(counted(50) >> ShufflerSource(seed, name=name))

        assert one(1) == one(1)
        assert len({tuple(each) for each in (one(1), one(2), one(1, "a"), one(1, "b"))}) == 4

    def test_a_shuffle_of_a_shuffle_uses_the_epochs_of_both(self):
        inner = counted(30) >> ShufflerSource(1)
        outer = inner >> ShufflerSource(2)
        first, second = order(outer), order(outer)
        expected = [inner.order(1)[place] for place in outer.order(1)]
        assert second == expected
        assert first != second

    @pytest.mark.parametrize("seed", [None, 1.5, -1, "a"])
    def test_needs_a_seed(self, seed):
        with pytest.raises(TypeError, match="needs a seed"):
            ShufflerSource(seed)


class TestSubset:
    def test_chooses_rows_in_order(self):
        source = counted(10) >> SubsetSource([7, 1, 7])
        assert order(source) == [7, 1, 7]
        assert len(source) == 3

    def test_follows_the_epochs_of_its_input(self):
        shuffled = counted(10) >> ShufflerSource(4)
        source = shuffled >> SubsetSource([9, 0])
        assert [order(source), order(source)] == [
            [shuffled.order(epoch)[9], shuffled.order(epoch)[0]] for epoch in (0, 1)
        ]

    def test_none_chosen(self):
        assert order(counted(3) >> SubsetSource([])) == []

    def test_out_of_range(self):
        with pytest.raises(RowOutOfRange, match="which has 3"):
            (counted(3) >> SubsetSource([1, 3])).read_all()

    @pytest.mark.parametrize("chosen", [[0.5], [[1, 2]], ["a"]])
    def test_what_is_no_index(self, chosen):
        with pytest.raises(WrongType, match="row indices"):
            SubsetSource(chosen)


class TestSplit:
    @given(st.integers(2, 200), st.floats(0.05, 0.95), st.integers(0, 99))
    def test_each_row_is_in_exactly_one_part(self, num_rows, test, seed):
        if not 0 < round(num_rows * test) < num_rows:
            with pytest.raises(WrongValue, match="without a row"):
                train_test_split(counted(num_rows), test=test, seed=seed)
            return
        parts = train_test_split(counted(num_rows), test=test, seed=seed)
        assert sorted(order(parts[0]) + order(parts[1])) == list(range(num_rows))
        assert len(parts[1]) == round(num_rows * test)

    def test_the_seed_makes_the_split(self):
        def chosen(seed: int) -> list[int]:
            return order(train_test_split(counted(50), seed=seed)[1])

        assert chosen(1) == chosen(1) != chosen(2)

    @pytest.mark.parametrize("draws", [ShufflerSource, SamplerSource])
    def test_no_test_row_is_trained_on_in_another_epoch(self, draws):
        above = counted(50) >> draws(seed=0)
        with pytest.raises(WrongValue, match="Split first"):
            train_test_split(above >> BatchingSource(5))

    def test_stratified(self):
        labels = ["a"] * 80 + ["b"] * 20
        source = MessageSource({"i": np.arange(100), "label": labels})
        train, test = train_test_split(source, test=0.25, stratify="label")
        assert test.read_all()["label"].value_counts().to_dict() == {"a": 20, "b": 5}
        assert train.read_all()["label"].value_counts().to_dict() == {"a": 60, "b": 15}

    def test_groups_stay_together(self):
        patients = np.random.default_rng(0).integers(0, 40, 1000)
        source = MessageSource({"i": np.arange(1000), "patient": patients})
        splits = [
            train_test_split(source, test=0.25, seed=seed, group="patient") for seed in (0, 1)
        ]
        for train, test in splits:
            inside = set(test.read_all()["patient"])
            assert not inside & set(train.read_all()["patient"])
            assert 200 < len(test) <= 250
            assert sorted(order(train) + order(test)) == list(range(1000))
        assert order(splits[0][1]) != order(splits[1][1])

    def test_stratified_and_grouped(self):
        with pytest.raises(WrongValue, match="choose stratify or group"):
            train_test_split(counted(10), stratify="i", group="i")

    @pytest.mark.parametrize("test", [0, 1, -0.1, 1.5])
    def test_bad_part(self, test):
        with pytest.raises(WrongValue, match="above 0 and below 1"):
            train_test_split(counted(10), test=test)

    def test_unknown_column(self):
        with pytest.raises(ColumnNotFound, match="Did you mean 'i'"):
            train_test_split(counted(10), stratify="ii")


class TestNormalizer:
    def test_mean_and_deviation_per_element(self):
        generator = torch.Generator().manual_seed(0)
        images = torch.randn(5000, 2, 3, generator=generator) * torch.arange(1, 7).view(2, 3) + 40
        source = NormalizerSource(["x", "v"], inputs=MessageSource({"x": images, "v": range(5000)}))
        rows = source.read_all()
        assert rows["x"].dtype == torch.float32
        torch.testing.assert_close(rows["x"].mean(0), torch.zeros(2, 3), atol=1e-5, rtol=0)
        torch.testing.assert_close(
            rows["x"].std(0, correction=0), torch.ones(2, 3), atol=1e-5, rtol=0
        )
        expected = (np.arange(5000) - 2499.5) / np.std(np.arange(5000))
        np.testing.assert_allclose(rows["v"].numpy(), expected, rtol=1e-5)

    def test_far_from_zero_nothing_cancels(self):
        values = torch.tensor([1e9 + 1, 1e9 + 2, 1e9 + 3] * 3000, dtype=torch.float64)
        moments = NormalizerSource("x", inputs=MessageSource({"x": values})).moments["x"]
        assert moments.count == 9000
        assert moments.deviation.item() == pytest.approx((2 / 3) ** 0.5, rel=1e-9)

    @given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=40), st.integers(0, 40))
    def test_moments_merge(self, values, cut):
        rows = torch.tensor(values, dtype=torch.float64)
        merged = Moments.of(rows[:cut]).merge(Moments.of(rows[cut:]))
        whole = Moments.of(rows)
        assert merged.count == whole.count
        torch.testing.assert_close(merged.mean, whole.mean, rtol=1e-9, atol=1e-6)
        torch.testing.assert_close(merged.squares, whole.squares, rtol=1e-6, atol=1e-2)

    def test_what_never_changes_becomes_zero(self):
        source = NormalizerSource("x", inputs=MessageSource({"x": torch.full((9, 2), 0.1)}))
        assert torch.equal(source.read_all()["x"], torch.zeros(9, 2))

    def test_other_columns_and_the_input_stay_as_they_are(self):
        message = Message({"x": torch.arange(4.0), "name": list("abcd")})
        rows = NormalizerSource("x", inputs=MessageSource(message)).read_all()
        assert rows["name"].tolist() == list("abcd")
        assert message["x"].tolist() == [0, 1, 2, 3]

    def test_fitted_on_another(self):
        train = NormalizerSource("x", inputs=MessageSource({"x": torch.tensor([0.0, 2.0])}))
        test = NormalizerSource(
            "x", fitted=train, inputs=MessageSource({"x": torch.tensor([1.0, 3.0])})
        )
        assert test.read_all()["x"].tolist() == [0.0, 2.0]

    def test_is_measured_once_and_only_when_needed(self):
        class Counter(Source):
            asked = 0
            num_rows = 10

            def read(self, rows):
                Counter.asked += len(rows)
                return Message({"x": torch.ones(len(rows))})

        source = NormalizerSource("x", inputs=Counter()) >> BatchingSource(5)
        assert Counter.asked == 0
        list(source)
        list(source)
        assert Counter.asked == 30

    def test_bad_columns(self):
        rows = MessageSource({"x": ["a", "b"], "z": torch.ones(2, dtype=torch.complex64)})
        with pytest.raises(ColumnNotFound, match="y"):
            NormalizerSource("y", inputs=rows).read_all()
        with pytest.raises(WrongType, match="'a'"):
            NormalizerSource("x", inputs=rows).read_all()
        with pytest.raises(WrongType, match="complex"):
            NormalizerSource("z", inputs=rows).read_all()
        with pytest.raises(WrongValue, match="at least one"):
            NormalizerSource([])
        with pytest.raises(WrongType, match="NormalizerSource"):
            NormalizerSource("x", fitted=rows)

    def test_no_rows_to_measure(self):
        empty = MessageSource({"x": torch.empty(0, 3)})
        with pytest.raises(WrongValue, match="no rows"):
            _ = NormalizerSource("x", inputs=empty).moments
