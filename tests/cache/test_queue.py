"""The queue behind the policies, and the map of ids, over far more operations than they hold."""

from __future__ import annotations

import numpy as np
import pytest

from fireworks.cache.id_map import ABSENT, IdMap
from fireworks.cache.policies.queue import SlotQueue


@pytest.mark.parametrize("slots", [1, 7, 3000])
def test_a_queue_is_a_list_of_the_latest_uses(slots: int) -> None:
    generator = np.random.default_rng(slots)
    queue, model = SlotQueue(), dict[int, None]()
    queue.resize((slots + 1) // 2)
    for step in range(3000):
        if step == 500:
            queue.resize(slots)
        room = slots if step >= 500 else (slots + 1) // 2
        count = int(generator.integers(0, min(slots, 40) + 1))
        some = generator.integers(0, room, count)
        operation = int(generator.integers(0, 5))
        if operation == 0:
            queue.remove(some)
            for each in some.tolist():
                model.pop(each, None)
            continue
        if operation >= 3:
            allowed = generator.random(slots) < (0.7 if operation == 3 else 2)
            some = queue.first(count, allowed)
            assert some.tolist() == [each for each in model if allowed[each]][:count]
        queue.stamp(some)
        for each in some.tolist():
            model.pop(each, None)
            model[each] = None
    assert queue.first(slots, np.ones(slots, bool)).tolist() == list(model)


def test_what_a_queue_gave_away_stays_as_it_was() -> None:
    queue = SlotQueue()
    queue.resize(300)
    queue.stamp(np.arange(300))
    first = queue.first(300, np.ones(300, bool))
    for _ in range(20):
        queue.stamp(np.arange(300)[::-1])
    assert first.tolist() == list(range(300))


def test_what_was_only_looked_at_is_still_first() -> None:
    everything = np.ones(400, bool)
    queue = SlotQueue()
    queue.resize(400)
    queue.stamp(np.arange(400))
    queue.first(300, everything)
    for _ in range(20):  # begins the log again
        queue.stamp(np.arange(390, 400))
        assert queue.first(300, everything).tolist() == list(range(300))


def test_the_log_may_begin_again_between_a_look_and_a_stamp() -> None:
    everything = np.ones(400, bool)
    queue = SlotQueue()
    queue.resize(400)
    queue.stamp(np.arange(400))
    for _ in range(2):
        queue.stamp(queue.first(300, everything))
    first = queue.first(300, everything)
    rest = [each for each in queue.first(400, everything) if each not in first]
    first = queue.first(300, everything)
    for _ in range(10):
        queue.stamp(np.array(rest))
    queue.stamp(first)
    assert queue.first(400, everything).tolist() == rest + first.tolist()


def test_more_stamps_at_once_than_slots() -> None:
    queue = SlotQueue()
    queue.resize(3)
    queue.stamp(np.array([2, 1, 0] * 5000 + [1]))
    assert queue.first(3, np.ones(3, bool)).tolist() == [2, 0, 1]


def test_ids_that_went_do_not_count_when_a_table_grows() -> None:
    ids = IdMap()
    for start in range(0, 3_000_000, 100_000):
        block = np.arange(start, start + 100_000)
        ids.set(block, block)
        ids.forget(block)
    far = np.array([1 << 27])
    ids.set(far, np.array([5]))
    assert ids.get(far).tolist() == [5]
    assert ids.get(np.array([7])).tolist() == [ABSENT]
    assert ids._table is None  # a table would take a gigabyte for one id
