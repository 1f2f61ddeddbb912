"""MapSource and the random numbers of its rows."""

from __future__ import annotations

import copy
import pickle
from functools import partial

import cloudpickle
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fireworks import Message, concat
from fireworks.errors import WrongLength, WrongType, WrongValue
from fireworks.sources import (
    BatchingSource,
    IterableSource,
    MapSource,
    MessageSource,
    RowGenerators,
    ShufflerSource,
)
from fireworks.sources.random_rows import philox


def table(num_rows: int = 20) -> MessageSource:
    return MessageSource({"i": np.arange(num_rows), "x": torch.arange(num_rows).float()})


def double(message: Message) -> Message:
    message["x"] = message["x"] * 2
    return message


def draw(message: Message, generators: RowGenerators) -> dict[str, object]:
    return {
        "i": message["i"],
        "normal": generators.normal(size=(2,), dtype=torch.float32),
        "integer": generators.integers(5, 9),
        "own": [each.random() for each in generators],
    }


def scale(message: Message, by: float) -> dict[str, object]:
    return {"x": message["x"] * by}


class TestMap:
    def test_a_function_of_messages(self):
        assert (table() >> MapSource(double))[[3, 1]]["x"].tolist() == [6, 2]

    def test_a_dict_is_the_whole_result(self):
        source = table() >> MapSource(lambda m: {"sum": m["i"] + 1})
        assert source[4:6].to_dict() == {"sum": [5, 6]}

    def test_a_dict_of_functions_changes_columns(self):
        source = table() >> MapSource({"x": torch.neg})
        assert source[2].to_dict() == {"i": [2], "x": torch.tensor([-2.0])}

    def test_the_input_stays_as_it_is(self):
        message = table().message
        before = message.copy()
        assert (MessageSource(message) >> MapSource(double)).read_all() != before
        assert message == before
        _ = list(IterableSource([message]) >> MapSource(double))
        assert message == before

    def test_the_same_without_a_seed_in_every_epoch(self):
        source = table() >> MapSource(double)
        assert not source.varies
        assert [len(item) for item in source >> BatchingSource(8)] == [8, 8, 4]

    @pytest.mark.parametrize("bad", [3, None, {"x": 3}])
    def test_no_function(self, bad):
        with pytest.raises(WrongType, match="takes a function"):
            MapSource(bad)

    @pytest.mark.parametrize("seed", [-1, 1.5, "a"])
    def test_bad_seed(self, seed):
        with pytest.raises(WrongValue, match="seed"):
            MapSource(double, seed=seed)

    def test_another_number_of_rows(self):
        source = table() >> MapSource(lambda message: message[1:])
        with pytest.raises(WrongLength, match=r"<lambda>, got 20 rows and returned 19.*Filter"):
            source.read_all()

    def test_an_error_of_the_function_tells_which_source(self):
        source = table() >> MapSource(lambda message: message["y"], name="mine")
        with pytest.raises(KeyError) as caught:
            source[[4, 2]]
        assert caught.value.__notes__ == ["while MapSource('mine') read 2 rows: 4, 2"]


class TestSeed:
    def test_neither_batch_size_nor_order_nor_company_matters(self):
        source = table(50) >> ShufflerSource(1) >> MapSource(draw, seed=3)
        whole = source.read(np.arange(150))
        for size in (1, 7, 50):
            batches = table(50) >> ShufflerSource(1) >> MapSource(draw, seed=3)
            batches = batches >> BatchingSource(size)
            assert concat([item for _ in range(3) for item in batches]) == whole
        rows = np.random.default_rng(0).permutation(150)
        assert source.read(rows) == whole.take(rows)

    def test_every_row_and_epoch_draws_other_numbers(self):
        drawn = (table(50) >> MapSource(draw, seed=3)).read(np.arange(100))
        for column in ("normal", "own"):
            values = np.asarray(drawn[column]).ravel()
            assert len(np.unique(values)) == len(values)

    def test_seed_and_name_decide(self):
        def drawn(seed: int, name: str | None = None) -> list[float]:
            return (table() >> MapSource(draw, seed=seed, name=name)).read_all()["own"].tolist()

        assert drawn(1) == drawn(1)
        assert len({tuple(drawn(1)), tuple(drawn(2)), tuple(drawn(1, "a"))}) == 3

    def test_a_stream_draws_what_an_indexed_source_does(self):
        message = table(50).message
        stream = IterableSource([message[:20], message[20:21], message[21:]])
        streamed = stream >> MapSource(draw, seed=3)
        indexed = table(50) >> MapSource(draw, seed=3)
        for _ in range(2):
            assert concat(list(streamed)) == concat(list(indexed))

    def test_functions_of_columns_draw_too(self):
        def shift(x, generators):
            return x + generators.random(dtype=torch.float32)

        x = (table() >> MapSource({"x": shift}, seed=1)).read_all()["x"]
        assert x.floor().tolist() == list(range(20))
        assert len(set((x % 1).tolist())) == 20


class TestRowGenerators:
    @pytest.mark.parametrize(
        ("counter", "key", "expected"),
        [
            ([0] * 4, (0, 0), "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
            ([0xFFFFFFFF] * 4, (0xFFFFFFFF,) * 2, "408f276d 41c83b0e a20bc7c6 6d5451fd"),
            (
                [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344],
                (0xA4093822, 0x299F31D0),
                "d16cfe09 94fdcceb 5001e420 24126ea1",
            ),
        ],
    )
    def test_philox_against_the_published_vectors(self, counter, key, expected):
        words = philox(np.array(counter, np.uint64)[:, None], key)
        assert " ".join(f"{int(word):08x}" for word in words.ravel()) == expected

    def test_distributions(self):
        generators = RowGenerators(np.arange(20_000), 0, seed=1)
        normal = generators.normal(2, 3, size=3)
        assert normal.shape == (20_000, 3)
        np.testing.assert_allclose(normal.mean(0), 2, atol=0.1)
        np.testing.assert_allclose(normal.std(0), 3, atol=0.1)
        np.testing.assert_allclose(np.corrcoef(normal.T), np.eye(3), atol=0.03)
        uniform = generators.uniform(-1, 1)
        assert -1 <= uniform.min() < -0.99 < 0.99 < uniform.max() < 1
        counts = np.bincount(generators.integers(10, size=2).ravel(), minlength=10)
        assert ((counts - 4000) ** 2 / 4000).sum() < 27.9  # chi-square, 9 degrees, p = 0.001
        assert set(generators.integers(-2, 1).tolist()) == {-2, -1, 0}

    def test_neighbours_are_independent(self):
        generators = RowGenerators(np.arange(20_000), 0, seed=1)
        rows = generators.random()
        draws = generators.random()
        later = RowGenerators(np.arange(20_000), 1, seed=1).random()
        for other in (np.roll(rows, 1), draws, later):
            assert abs(np.corrcoef(rows, other)[0, 1]) < 0.03

    @settings(deadline=None)
    @given(st.integers(0, 2**40), st.integers(0, 2**31), st.integers(0, 5))
    def test_a_row_alone_draws_the_same(self, row, epoch, size):
        together = RowGenerators(np.array([5, row, 9]), np.array([0, epoch, 1]), seed=7)
        alone = RowGenerators(np.array([row]), epoch, seed=7)
        for _ in range(2):
            assert np.array_equal(together.normal(size=size)[1:2], alone.normal(size=size))
        assert together[1].random() == alone[0].random() == alone[:][0].random()

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, np.float16])
    def test_no_rounding_makes_a_fraction_one(self, dtype):
        drawn = RowGenerators(np.arange(100_000), 0, seed=1).random(dtype=dtype)
        assert drawn.dtype == dtype
        assert drawn.max() < 1

    def test_no_rows_and_no_values(self):
        generators = RowGenerators(np.arange(0), 0, seed=1)
        assert generators.normal(size=(2, 3)).shape == (0, 2, 3)
        assert list(generators) == []
        assert RowGenerators(np.arange(4), 0, seed=1).random(0).shape == (4, 0)

    @pytest.mark.parametrize("bounds", [(0,), (3, 3), (0, 2**32 + 1)])
    def test_bounds_of_integers(self, bounds):
        with pytest.raises(WrongValue, match="low to high - 1"):
            RowGenerators(np.arange(4), 0, seed=1).integers(*bounds)


class TestPickling:
    @pytest.mark.parametrize("function", [double, partial(scale, by=2)])
    def test_a_function_of_a_module_travels(self, function):
        source = table() >> MapSource(function)
        assert pickle.loads(pickle.dumps(source)).read_all() == source.read_all()

    def test_what_does_not_says_what_to_do(self):
        def inside(message):
            return message

        for function in (inside, lambda message: message, partial(lambda m, by: m, by=2)):
            source = table() >> MapSource(function) >> BatchingSource(2)
            with pytest.raises(WrongType, match=r"test_columns_map.py:\d+.*top of a module"):
                pickle.dumps(source)
        with pytest.raises(WrongType, match="top of a module"):
            pickle.dumps(MapSource({"x": lambda x: x}))

    def test_copies_and_cloudpickle_take_lambdas(self):
        source = table() >> MapSource(lambda message: {"x": message["x"] + 1})
        for made in (copy.deepcopy(source), pickle.loads(cloudpickle.dumps(source))):
            assert made.read_all() == source.read_all()
