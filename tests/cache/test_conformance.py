"""Every policy, under any sequence of operations: never wrong rows, never above the limits."""

from __future__ import annotations

import tempfile
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from models import MODELS

from fireworks import Message, concat
from fireworks.cache import MessageCache
from fireworks.cache.policies import POLICIES
from fireworks.errors import FireworksError, RowsNotCached

IDS = st.integers(0, 11)
BATCH = st.lists(IDS, min_size=1, max_size=8)
OPERATIONS = st.lists(
    st.one_of(
        st.tuples(st.just("insert"), BATCH),
        st.tuples(st.just("insert"), BATCH),
        st.tuples(st.just("read"), BATCH),
        st.tuples(st.just("lookup"), BATCH),
        st.tuples(st.just("fetch"), BATCH),
        st.tuples(st.just("delete"), BATCH),
        st.tuples(st.just("pin"), BATCH),
        st.tuples(st.just("unpin"), BATCH),
        st.tuples(st.just("will_need"), BATCH),
        st.tuples(st.just("wont_need"), BATCH),
        st.tuples(st.just("bad rows"), BATCH),
        st.tuples(st.just("clear"), st.just([0])),
    ),
    max_size=30,
)


def row(identity: int, version: int) -> dict[str, Any]:
    return {
        "x": torch.tensor([identity, version]),
        "i": np.int64(identity * 1000 + version),
        "s": "s" * (identity % 5) + str(version),
        "r": np.arange(version % 4),
    }


def rows(ids: list[int], versions: dict[int, int]) -> Message:
    if not ids:
        return rows([0], {0: 0})[:0]
    records = [row(each, versions[each]) for each in ids]
    return Message({name: column(name, [r[name] for r in records]) for name in records[0]})


def column(name: str, cells: list[Any]) -> Any:
    return torch.stack(cells) if name == "x" else cells


def size(message: Message) -> list[int]:
    """The bytes of each row of `rows`, as documented: values, and 8 for each reference."""
    return [
        16 + 8 + (8 + len(s.encode())) + (8 + 8 * len(r))
        for s, r in zip(message["s"], message["r"], strict=True)
    ]


def check(cache: MessageCache, versions: dict[int, int], pins: dict[int, int]) -> None:
    ids = cache.ids.tolist()
    assert ids == sorted(set(ids))
    assert set(ids) <= set(versions)
    assert len(cache) == len(ids)
    if ids:
        assert cache.message == rows(ids, versions)
    stats = cache.stats
    assert stats.rows + stats.spilled == len(ids)
    assert stats.rows <= (cache.max_rows or 10**9)
    assert stats.bytes <= (cache.max_bytes or 10**9)
    if not stats.spilled:
        assert stats.bytes == sum(size(cache.message)) if ids else stats.bytes == 0
    assert set(pins) <= set(ids)


def apply(cache: MessageCache, name: str, ids: list[int], versions: dict[int, int]) -> None:
    if name == "insert":
        fresh = {each: versions.get(each, 0) + 1 for each in ids}
        message = rows(ids, fresh)
        cache[ids] = message
        versions.update(fresh)
    elif name == "read":
        assert cache[ids] == rows(ids, versions)
    elif name == "lookup":
        found, present = cache.lookup(ids)
        assert found == (rows([i for i, p in zip(ids, present, strict=True) if p], versions)) or (
            not present.any()
        )
    elif name == "fetch":

        def read(missing: np.ndarray) -> Message:
            versions.update({each: versions.get(each, 0) + 1 for each in missing.tolist()})
            return rows(missing.tolist(), versions)

        assert cache.fetch(ids, read) == rows(ids, versions)
    elif name == "delete":
        del cache[ids]
    elif name == "bad rows" and cache.message.columns:
        cache[ids] = rows(ids, dict.fromkeys(ids, 1)).assign(s=1.5)
    elif name == "clear":
        cache.clear()
    elif name != "bad rows":
        getattr(cache, name)(ids)


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("limit", ["rows", "bytes", "both", "spill"])
def test_any_operations(policy: str, limit: str) -> None:
    limits: dict[str, Any] = {
        "rows": {"max_rows": 6},
        "bytes": {"max_bytes": 300},
        "both": {"max_rows": 7, "max_bytes": 350},
        "spill": {"max_rows": 5},
    }[limit]
    if policy == "unbounded":
        limits = {}

    @settings(max_examples=40, deadline=None)
    @given(OPERATIONS)
    def run(operations: list[tuple[str, list[int]]]) -> None:
        with tempfile.TemporaryDirectory() as folder:
            spill = folder if limit == "spill" else None
            cache = MessageCache(**limits, policy=policy, spill=spill, seed=3)
            versions: dict[int, int] = {}
            pins: dict[int, int] = {}
            for name, ids in operations:
                before = (cache.ids.tolist(), cache.message)
                try:
                    apply(cache, name, ids, versions)
                except FireworksError:
                    assert (cache.ids.tolist(), cache.message) == before
                else:
                    follow_pins(name, ids, pins)
                check(cache, versions, pins)
                if limit == "spill":
                    everything = set(versions) if name != "clear" else set()
                    if name in ("delete", "clear"):
                        versions = {each: versions[each] for each in cache.ids.tolist()}
                    else:
                        assert set(cache.ids.tolist()) == everything
                elif limit == "rows" and policy not in ("keep", "unbounded") and name == "insert":
                    assert set(ids) <= set(cache.ids.tolist()) or len(cache) == 6
            cache.close()

    run()


def follow_pins(name: str, ids: list[int], pins: dict[int, int]) -> None:
    for each in set(ids):
        if name == "pin":
            pins[each] = pins.get(each, 0) + 1
        elif name == "unpin":
            pins[each] -= 1
        if name == "delete" or not pins.get(each, 1):
            pins.pop(each, None)
    if name == "clear":
        pins.clear()


@pytest.mark.parametrize("policy", MODELS)
@settings(max_examples=150, deadline=None)
@given(OPERATIONS)
def test_as_the_model_does(policy: str, operations: list[tuple[str, list[int]]]) -> None:
    cache = MessageCache(max_rows=6, policy=policy)
    model = MODELS[policy](6)
    versions: dict[int, int] = {}
    for name, ids in operations:
        if policy == "lfu" and name in ("read", "insert"):
            ids = ids[:1]  # see the model
        held = set(model.ids)
        if name == "insert":
            model.insert(list(dict.fromkeys(reversed(ids)))[::-1])
        elif name == "read" and set(ids) <= held:
            model.used(ids)
        elif name == "delete" and set(ids) <= held:
            model.delete(list(dict.fromkeys(ids)))
        elif name == "pin" and set(ids) <= held:
            for each in set(ids):
                model.pins[each] = model.pins.get(each, 0) + 1
        elif name == "unpin" and set(ids) <= set(model.pins):
            for each in set(ids):
                model.pins[each] -= 1
                if not model.pins[each]:
                    del model.pins[each]
        elif name == "will_need":
            model.announced(ids)
        else:
            continue
        apply(cache, name, ids, versions)
        assert cache.ids.tolist() == sorted(model.ids)


@pytest.mark.parametrize("policy", POLICIES)
def test_equal_operations_give_equal_caches(policy: str) -> None:
    def run() -> tuple[list[int], Any]:
        limits: dict[str, Any] = {} if policy == "unbounded" else {"max_rows": 50}
        cache = MessageCache(**limits, policy=policy, seed=7)
        generator = np.random.default_rng(0)
        for _ in range(60):
            ids = generator.integers(0, 200, 20)
            with suppress(RowsNotCached):
                cache[ids[:2]]
            cache[ids] = Message({"x": torch.from_numpy(ids)})
        return cache.ids.tolist(), cache.stats

    assert run() == run()


def test_spilled_rows_equal_what_was_stored(tmp_path: Any) -> None:
    cache = MessageCache(max_rows=4, spill=tmp_path)
    parts = []
    for start in range(0, 40, 5):
        ids = list(range(start, start + 5))
        parts.append(rows(ids, dict.fromkeys(ids, 1)))
        cache[ids] = parts[-1]
    assert cache.message == concat(parts)
    assert cache.stats.spilled == 36
    assert cache[[0, 39, 0, 20]] == concat(parts)[[0, 39, 0, 20]]
    cache.close()
    assert not list(tmp_path.iterdir())
