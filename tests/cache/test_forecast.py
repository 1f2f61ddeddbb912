"""What the policy ``forecast`` remembers of what was announced."""

from __future__ import annotations

import numpy as np
import pytest

from fireworks import Message
from fireworks.cache import MessageCache
from fireworks.cache.policies import forecast
from fireworks.cache.policies.forecast import Forecast


def read(rows):
    return Message({"i": rows})


def policy_of(cache):
    assert isinstance(cache._policy, Forecast)
    return cache._policy


def test_what_has_passed_takes_no_memory(monkeypatch):
    monkeypatch.setattr(forecast, "_LATE", 1_000)
    cache = MessageCache(100, policy="forecast")
    generator = np.random.default_rng(0)
    for _ in range(500):
        rows = generator.permutation(1_000)[:200]
        cache.will_need(rows)
        for start in range(0, 200, 50):
            cache.fetch(rows[start : start + 50], read)
    assert len(policy_of(cache)._following) < 5_000  # of 100,000 announced
    assert policy_of(cache)._first.items()[0].tolist() == []


@pytest.mark.parametrize("held", [True, False])
def test_a_row_that_was_left_out_is_given_up(held, monkeypatch):
    monkeypatch.setattr(forecast, "_LATE", 100)
    cache = MessageCache(10, policy="forecast")
    left_out = np.arange(1_000_000, 1_000_005)
    cache.will_need(left_out)
    if held:
        cache[left_out] = read(left_out)
    for start in range(0, 20_000, 50):
        rows = np.arange(start, start + 50)
        cache.will_need(rows)
        cache.fetch(rows, read)
    assert policy_of(cache)._first.items()[0].tolist() == []
    assert not (set(left_out.tolist()) & set(cache.ids.tolist()))


def test_a_row_announced_again_after_it_was_left_out_is_still_expected(monkeypatch):
    monkeypatch.setattr(forecast, "_LATE", 100)
    cache = MessageCache(10, policy="forecast")
    wanted = np.arange(1_000_000, 1_000_005)
    cache.will_need(wanted)
    cache[wanted] = read(wanted)
    rows = np.arange(20_000)
    cache.will_need(rows[:10_000])
    cache.will_need(wanted)
    for start in range(0, 9_000, 50):
        cache.fetch(rows[start : start + 50], read)
        cache.will_need(rows[10_000 + start : 10_050 + start])
    assert set(wanted.tolist()) <= set(cache.ids.tolist())
