"""Limits, statistics, pins, errors, and many threads."""

from __future__ import annotations

import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from fireworks import Message
from fireworks.cache import CacheStats, MessageCache
from fireworks.errors import (
    CacheFull,
    ColumnNotFound,
    RowsNotCached,
    WrongLength,
    WrongType,
    WrongValue,
)


def rows(*ids: int) -> Message:
    return Message({"x": torch.tensor(ids).float(), "name": [f"n{each}" for each in ids]})


def test_reads_what_was_stored() -> None:
    cache = MessageCache(max_rows=10)
    cache[[5, 7]] = rows(5, 7)
    cache[3] = rows(3)
    cache[torch.tensor([8])] = {"x": torch.tensor([8.0]), "name": ["n8"]}
    assert cache[[7, 3, 7]] == rows(7, 3, 7)
    assert cache[8] == rows(8)
    assert 7 in cache
    assert [7, 3] in cache
    assert [7, 9] not in cache
    assert cache.missing([9, 7, 1, 9]).tolist() == [9, 1]
    assert cache.ids.tolist() == [3, 5, 7, 8]
    assert cache.message == rows(3, 5, 7, 8)
    assert len(cache) == 4
    assert "4 rows" in repr(cache)
    del cache[[5, 3]]
    assert cache.ids.tolist() == [7, 8]
    cache.clear()
    assert len(cache) == 0
    assert cache.message == Message()
    cache[1] = {"other": [1]}
    assert cache.message.columns == ["other"]


def test_what_is_read_is_a_copy() -> None:
    cache = MessageCache(max_rows=4)
    stored = rows(1, 2)
    cache[[1, 2]] = stored
    stored["x"][0] = 9
    cache[[1]]["x"][0] = 9
    assert cache[[1, 2]] == rows(1, 2)


def test_the_last_row_of_an_id_counts() -> None:
    cache = MessageCache(max_rows=4)
    cache[[1, 2, 1]] = {"x": [10, 20, 11]}
    assert cache[[1, 2]]["x"].tolist() == [11, 20]


def test_any_id() -> None:
    cache = MessageCache(max_rows=4)
    ids = [-5, 0, 2**62, -(2**62)]
    cache[ids] = rows(1, 2, 3, 4)
    assert cache[ids] == rows(1, 2, 3, 4)
    assert cache.ids.tolist() == sorted(ids)
    cache[[7, 2**62]] = rows(7, 8)
    assert cache[[2**62, 7]] == rows(8, 7)
    assert len(cache) == 4
    del cache[[2**62]]
    assert 2**62 not in cache


def test_columns_of_every_kind() -> None:
    message = Message(
        {
            "bf": torch.randn(3, 2).bfloat16(),
            "u16": torch.arange(3).to(torch.uint16),
            "none": torch.empty(3, 0),
            "time": pd.date_range("2024", periods=3, tz="Europe/Berlin"),
            "kind": pd.Categorical(["a", "b", None], categories=["b", "a", "c"]),
            "null": pd.array([1, None, 3], "Int64"),
            "day": np.array(["2020-01-01", "NaT", "2021-01-01"], "M8[D]"),
            "text": ["x", None, "ß"],
            "list": [[1, 2], [], [3]],
            "any": [{"a": 1}, (1, 2), None],
        }
    )
    cache = MessageCache(max_rows=2)
    cache[[0, 1, 2]] = message
    assert cache[[2, 1]] == message[[2, 1]]


@pytest.mark.parametrize(
    "tensor",
    [
        torch.arange(12.0).reshape(6, 2).bfloat16(),
        torch.arange(12).reshape(6, 2).to(torch.float8_e4m3fn),
        torch.arange(6).to(torch.uint64),
        torch.complex(torch.arange(6.0), torch.ones(6)).conj(),
        torch.arange(12.0).reshape(2, 6).T,
        torch.arange(6.0, requires_grad=True),
    ],
)
def test_tensors_of_every_dtype_replace_others(tensor: torch.Tensor) -> None:
    message = Message({"x": tensor})
    cache = MessageCache(max_rows=6)
    cache[range(6)] = message[[5, 4, 3, 2, 1, 0]]
    cache[range(6, 12)] = message  # slots one after the other
    assert cache[range(6, 12)] == message
    cache[[11, 7]]
    cache[range(20, 24)] = message[:4]  # slots anywhere
    assert cache[[20, 21, 22, 23, 7, 11]] == message[[0, 1, 2, 3, 1, 5]]
    assert not cache.message["x"].requires_grad


def test_sparse_rows_are_stored_dense() -> None:
    cache = MessageCache(max_rows=2)
    cache[[1, 2]] = {"x": torch.ones(2, 3)}
    cache[[3, 4]] = {"x": torch.eye(3)[:2].to_sparse()}
    assert cache[[3, 4]] == Message({"x": torch.eye(3)[:2]})


def test_statistics() -> None:
    cache = MessageCache(max_rows=2)
    cache[[1, 2]] = rows(1, 2)
    cache[[2, 3]] = rows(2, 3)
    cache[[3, 3]]
    found, present = cache.lookup([1, 2])
    assert found == rows(2)
    assert present.tolist() == [False, True]
    assert cache.stats == CacheStats(
        hits=3, misses=1, insertions=3, evictions=1, rows=2, bytes=2 * (4 + 8 + 2)
    )
    assert cache.stats.hit_rate == 0.75
    full = MessageCache(max_rows=4)
    full[[1, 2, 3, 4]] = {"x": torch.ones(4, 2)}
    full[[5, 6, 7]] = {"x": torch.ones(3, 2)}
    full[[8, 9]] = {"x": torch.ones(2, 2)}
    assert full.stats == CacheStats(insertions=9, evictions=5, rows=4, bytes=32)
    assert CacheStats().hit_rate == 0


def test_fetch_reads_what_is_missing_once() -> None:
    asked: list[list[int]] = []

    def read(ids: np.ndarray) -> Message:
        asked.append(ids.tolist())
        return rows(*ids.tolist())

    cache = MessageCache(max_rows=3)
    assert cache.fetch([5, 1, 5], read) == rows(5, 1, 5)
    assert cache.fetch([1, 9, 5, 9], read) == rows(1, 9, 5, 9)
    assert cache.fetch(range(8), read) == rows(*range(8))
    assert asked[:2] == [[1, 5], [9]]
    assert cache.stats.misses == 3 + 2 + 6
    with pytest.raises(WrongLength):
        cache.fetch([100, 101], lambda ids: rows(1))


def test_search() -> None:
    cache = MessageCache(max_rows=5)
    cache[[4, 2, 9]] = {"label": [3, 1, 3], "name": ["a", "a", "b"]}
    assert cache.search(label=3).tolist() == [4, 9]
    assert cache.search(label=3, name="b").tolist() == [9]
    assert cache.search(label=7).tolist() == []
    assert cache.stats.hits == 0
    with pytest.raises(ColumnNotFound, match="label"):
        cache.search(lable=3)


def test_a_limit_of_bytes() -> None:
    cache = MessageCache(max_bytes=100, policy="fifo")
    for each in range(8):
        cache[each] = {"text": ["x" * 12]}
    assert cache.stats.bytes == 100
    assert cache.ids.tolist() == [3, 4, 5, 6, 7]
    cache[8] = {"text": ["x" * 50]}
    assert cache.ids.tolist() == [6, 7, 8]
    cache[9] = {"text": ["x" * 93]}  # larger than all the cache
    assert cache.ids.tolist() == [6, 7, 8]
    assert cache.stats.refused == 1
    cache[[6, 10]] = {"text": ["y" * 40, "z" * 44]}
    assert cache.ids.tolist() == [6, 10]
    cache.pin(6)
    with pytest.raises(CacheFull, match="pinned"):
        cache[6] = {"text": ["y" * 93]}
    assert cache[6]["text"].tolist() == ["y" * 40]
    with pytest.raises(WrongValue, match="cannot hold a row of 400 bytes"):
        MessageCache(max_bytes=100)[1] = {"x": torch.ones(1, 100)}


def test_a_limit_far_above_the_need() -> None:
    cache = MessageCache(max_rows=10**12)
    cache[[1, 2]] = rows(1, 2)
    assert cache.message == rows(1, 2)


def test_pins() -> None:
    cache = MessageCache(max_rows=3)
    cache[[1, 2, 3]] = rows(1, 2, 3)
    cache.pin([1, 2])
    cache.pin(1)
    cache[[4, 5]] = rows(4, 5)
    assert cache.ids.tolist() == [1, 2, 5]
    cache.unpin([1, 2])
    cache[[6, 7]] = rows(6, 7)
    assert cache.ids.tolist() == [1, 6, 7]
    with pytest.raises(RowsNotCached):
        cache.pin([1, 99])
    with pytest.raises(WrongValue, match="Row 6 is not pinned"):
        cache.unpin([1, 6])
    cache.unpin(1)
    cache[[8, 9, 10]] = rows(8, 9, 10)
    assert cache.ids.tolist() == [8, 9, 10]


@pytest.mark.parametrize("policy", ["lru", "keep", "random", "forecast"])
def test_what_cannot_be_read_again_never_leaves_silently(policy: str) -> None:
    cache = MessageCache(max_rows=3, policy=policy, rereadable=False)
    cache[[1, 2]] = rows(1, 2)
    before = cache.stats
    with pytest.raises(CacheFull, match="cannot be read again"):
        cache[[2, 3, 4]] = rows(20, 30, 40)
    assert cache.message == rows(1, 2)
    assert cache.stats == before
    del cache[[1]]
    cache[[3, 4]] = rows(3, 4)
    assert cache.ids.tolist() == [2, 3, 4]


def test_spill(tmp_path: Path) -> None:
    cache = MessageCache(max_rows=2, spill=tmp_path / "new", rereadable=False)
    cache[[1, 2, 3, 4]] = rows(1, 2, 3, 4)
    cache[[2]] = rows(22)
    assert cache[[1, 2, 4]] == rows(1, 22, 4)
    assert 1 in cache
    assert len(cache) == 4
    assert cache.search(name="n3").tolist() == [3]
    del cache[[3, 4]]
    assert cache.ids.tolist() == [1, 2]
    cache.close()
    assert not list((tmp_path / "new").iterdir())


def test_a_failed_spill_changes_nothing(tmp_path: Path) -> None:
    cache = MessageCache(max_rows=2, spill=tmp_path)
    cache[[1, 2]] = {"o": [object(), object()]}
    before = cache[[1, 2]]
    with pytest.raises(WrongType, match="cannot be stored"):
        cache[3] = {"o": [object()]}
    assert cache[[1, 2]] == before
    assert 3 not in cache
    cache.close()


def test_keep_holds_what_came_first() -> None:
    cache = MessageCache(max_rows=3, policy="keep")
    cache[[1, 2]] = rows(1, 2)
    cache[[3, 4, 5]] = rows(3, 4, 5)
    assert cache.ids.tolist() == [1, 2, 3]
    assert cache.stats.refused == 2


def hit_rate(policy: str, batches: np.ndarray) -> float:
    cache = MessageCache(max_rows=100, policy=policy)
    cache.will_need(batches.reshape(-1))
    for ids in batches:
        cache.fetch(ids, lambda ids: Message({"i": ids}))
    return cache.stats.hit_rate


def test_hit_rates_of_reshuffled_epochs() -> None:
    """Each row once an epoch: no policy can carry more than all its rows to the next one."""
    generator = np.random.default_rng(0)
    epochs = np.stack([generator.permutation(1000) for _ in range(4)]).reshape(-1, 20)
    assert hit_rate("lru", epochs) < 0.02
    assert hit_rate("keep", epochs) == hit_rate("forecast", epochs) == 0.075


def test_forecast_is_best_for_rows_drawn_at_random() -> None:
    batches = np.random.default_rng(0).integers(0, 1000, (200, 20))
    rates = {policy: hit_rate(policy, batches) for policy in ("lru", "lfu", "fifo", "forecast")}
    best = rates.pop("forecast")
    assert best > 2 * max(rates.values())


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({}, "needs max_rows or max_bytes"),
        ({"max_rows": 0}, "at least 1"),
        ({"max_bytes": -1}, "at least 1"),
        ({"max_rows": 1, "policy": "lruu"}, "Did you mean 'lru'"),
        ({"max_rows": 1, "policy": "unbounded"}, "no max_rows"),
    ],
)
def test_bad_limits(arguments: dict[str, Any], text: str) -> None:
    with pytest.raises(WrongValue, match=text):
        MessageCache(**arguments)


@pytest.mark.parametrize(
    ("ids", "message", "error"),
    [
        ([1, 2], rows(1), WrongLength),
        ([1.5], rows(1), WrongType),
        ([True], rows(1), WrongType),
        (["a"], rows(1), WrongType),
        ([[1]], rows(1), WrongType),
        (np.array([2**63], np.uint64), rows(1), WrongType),
        ([3], {"x": torch.ones(1)}, ColumnNotFound),
        ([3], rows(3).assign(more=1), ColumnNotFound),
        ([3], rows(3).assign(x=torch.ones(1).double()), WrongType),
        ([3], rows(3).assign(x=torch.ones(1, 2)), WrongType),
        ([3], rows(3).assign(x=1.0), WrongType),
        ([3], rows(3).to("meta"), WrongType),
        ([3], 7, WrongType),
    ],
)
def test_bad_insertions_change_nothing(ids: Any, message: Any, error: type[Exception]) -> None:
    cache = MessageCache(max_rows=2)
    cache[[1, 2]] = rows(1, 2)
    before = cache.stats
    with pytest.raises(error):
        cache[ids] = message
    assert cache.message == rows(1, 2)
    assert cache.stats == before


def test_missing_rows_are_named() -> None:
    cache = MessageCache(max_rows=2)
    with pytest.raises(KeyError, match="2 of 2 rows are not in the cache: 1, 2"):
        cache[[1, 2]]
    cache[1] = rows(1)
    with pytest.raises(RowsNotCached, match="Nothing was deleted"):
        del cache[[1, 2]]
    assert 1 in cache
    assert len(cache[[]]) == 0


@pytest.mark.parametrize("policy", ["lru", "lfu", "fifo", "random", "keep", "forecast"])
def test_eight_threads(policy: str) -> None:
    """Every row that is read is the row of its id, whoever writes meanwhile."""
    cache = MessageCache(max_rows=300, policy=policy)
    wrong: list[str] = []

    def make(ids: np.ndarray) -> Message:
        return Message({"x": torch.from_numpy(ids).float()[:, None].expand(-1, 8), "i": ids})

    def work(seed: int) -> None:
        generator = np.random.default_rng(seed)
        try:
            for step in range(150):
                ids = generator.integers(0, 1000, 40)
                if policy == "forecast" and step % 3 == 0:
                    cache.will_need(ids)
                if step % 10 == 7:
                    present = ids[cache.contains(ids)]
                    with suppress(RowsNotCached):  # another thread was faster
                        del cache[present]
                batch = cache.fetch(ids, make)
                if not (
                    np.array_equal(batch.array("i"), ids)
                    and torch.equal(batch["x"][:, 7], torch.from_numpy(ids).float())
                ):
                    wrong.append(f"step {step} of thread {seed}")
        except Exception as error:
            wrong.append(repr(error))

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert len(cache) <= 300
    ids = cache.ids
    assert np.array_equal(cache.message.array("i"), ids)
    stats = cache.stats
    assert stats.hits + stats.misses == 8 * 150 * 40
    assert stats.bytes == len(ids) * 40
