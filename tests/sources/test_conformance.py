"""What holds for every source of the library."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import Path

import numpy as np
import pytest

import fireworks.sources
from fireworks import Graph, Message, Source, concat
from fireworks.errors import StateMismatch, WiringError
from fireworks.sources import BatchingSource, FeedbackSource, MessageSource
from tests.sources.sources_under_test import INDEXED, STREAMED, rows

ALL = {**{f"{key}": each for key, each in INDEXED.items()}} | {
    f"{key} (stream)": each for key, each in STREAMED.items()
}
ROOT = Path(__file__).parents[2]
indexed = pytest.mark.parametrize("make", INDEXED.values(), ids=INDEXED.keys())
every = pytest.mark.parametrize("make", ALL.values(), ids=ALL.keys())


def items(source: Source, number: int | None = None) -> list[Message]:
    one_pass = iter(source)
    return [item for item, _ in zip(one_pass, range(number or 10**9), strict=False)]


def test_every_source_is_here():
    listed = {key.partition("/")[0].partition(" ")[0] for key in ALL}
    concrete = {name for name in fireworks.sources.__all__ if name.endswith("Source")}
    assert concrete - listed == {"FeedbackSource"}  # endless: its laws are below


class TestIndexed:
    @indexed
    def test_sequence_laws(self, make):
        source = make()
        found = items(source)
        assert len(found) == len(source) > 1
        for i in (0, 1, len(source) // 2, len(source) - 1, -1):
            assert found[i] == source[i]
        assert source[[1, 0]] == concat([source[1], source[0]])
        assert source[:2] == concat(found[:2])
        assert source.read_all() == concat(found)

    @indexed
    def test_epochs_are_addressed_by_extended_rows(self, make):
        source = make()
        by_pass = [concat(items(source)) for _ in range(3)]
        n = source.num_rows
        for epoch, message in enumerate(by_pass):
            assert source.read(np.arange(epoch * n, (epoch + 1) * n)) == message
        mixed = np.array([2 * n, 1, n + 1, n - 1, 1])
        assert source.read(mixed) == concat(
            [by_pass[row // n][row % n : row % n + 1] for row in mixed.tolist()]
        )

    @indexed
    def test_eight_threads_read_the_same(self, make):
        source = make()
        n = source.num_rows
        expected = source.read(np.arange(2 * n))
        in_order = source.indexed and "LoopingSource" in repr(source)

        def work(seed: int) -> bool:
            order = np.random.default_rng(seed).permutation(2 * n)[:500]
            return source.read(order) == expected.take(order)

        with ThreadPoolExecutor(8) as pool:
            assert all(pool.map(work, range(1 if in_order else 24)))

    @indexed
    def test_no_rows_have_the_columns(self, make):
        source = make()
        assert source.read(np.empty(0, np.int64)).columns == source[0].columns

    @indexed
    def test_what_is_announced_is_what_is_read(self, make):
        source = make()
        tops = [each for each in Graph(source).nodes.values() if not each.inputs]
        announced, asked = [], []
        for top in tops:
            if not top.indexed:
                return  # below a LoopingSource there is a stream, which hears no hints
            top.expect = lambda rows, deadline, top=top: announced.append((id(top), rows)) or rows
        read = {id(top): top.read for top in tops}
        for top in tops:
            top.read = lambda rows, top=top: asked.append((id(top), rows)) or read[id(top)](rows)
        n = source.num_rows
        wanted = np.random.default_rng(0).permutation(2 * n)[:300]
        source.prepare()
        asked.clear()
        source.will_need(wanted)
        waiting = [each for each in Graph(source).nodes.values() if hasattr(each, "_prefetcher")]
        source.read(wanted)
        for each in waiting:
            each.release(wanted)

        def seen(log):
            return {
                top: set(np.concatenate([r for t, r in log if t == top] or [[]]).tolist())
                for top in read
            }

        told, done = seen(announced), seen(asked)
        if waiting:  # what a cache announces is what it lacks, as far ahead as it can hold
            assert all(told[top] for top in told)
            assert all(told[top] <= done[top] for top in told)
        else:
            counts = {id(top): top.num_rows for top in tops}
            assert {t: {r % max(1, counts[t]) for r in rows} for t, rows in told.items()} == {
                t: {r % max(1, counts[t]) for r in rows} for t, rows in done.items()
            }


class TestState:
    @every
    def test_resumes_at_every_step_of_three_epochs(self, make):
        undisturbed = make()
        expected = [items(undisturbed) for _ in range(3)]
        assert all(expected)
        going = make()
        for epoch in range(2):
            one_pass = iter(going)
            for step in range(len(expected[epoch]) + 1):
                state = json.loads(json.dumps(going.state_dict() if step else iter_state(one_pass)))
                kept = {
                    key: pickle.loads(pickle.dumps(each))
                    for key, each in going.state_rows().items()
                }
                if step % 3 == 0 or step >= len(expected[epoch]) - 1:
                    fresh = make()
                    fresh.load_state_dict(state, kept)
                    assert items(fresh) == expected[epoch][step:], (epoch, step)
                    assert items(fresh) == expected[epoch + 1]
                next(one_pass, None)

    @every
    def test_two_passes_in_different_epochs_do_not_disturb_each_other(self, make):
        if "lookahead" in str(make().describe()) and make().describe().get("lookahead"):
            return  # weights that change belong to the source, not to a pass
        alone = make()
        expected = [items(alone), items(alone)]
        source = make()
        early = iter(source)
        seen_early = [next(early)]
        items(source)  # another pass runs to its end: the next one is of the next epoch
        late = iter(source)
        seen_late = []
        for _ in range(10**6):
            a, b = next(early, None), next(late, None)
            seen_early += [] if a is None else [a]
            seen_late += [] if b is None else [b]
            if a is b is None:
                break
        assert seen_early == expected[0]
        assert seen_late == expected[1]

    @every
    def test_a_copy_by_pickle_gives_the_same(self, make):
        source = make()
        copy = pickle.loads(pickle.dumps(source))
        assert items(copy) == items(source)

    @every
    def test_the_state_of_another_graph_is_refused(self, make):
        source = make()
        with pytest.raises(StateMismatch, match="another graph"):
            (rows(7, column="other") >> BatchingSource(2)).load_state_dict(source.state_dict())

    @pytest.mark.slow
    def test_in_a_fresh_process(self):
        tasks, expected = [], []
        for key, make in ALL.items():
            undisturbed = make()
            first, second = items(undisturbed), items(undisturbed)
            source = make()
            # Behind the first item of an epoch, the last one, and the first of the next epoch.
            wanted = {1: first[1:], len(first): [], len(first) + 1: second[1:]}
            epochs = chain(source, source)
            for step, _ in zip(range(1, len(first) + 2), epochs, strict=False):
                if step in wanted:
                    state = json.dumps(source.state_dict()), pickle.dumps(source.state_rows())
                    tasks.append((key, *state))
                    expected.append((key, wanted[step]))
        program = "from tests.sources.test_conformance import resume_all; resume_all()"
        done = subprocess.run(
            [sys.executable, "-c", program],
            input=pickle.dumps(tasks),
            stdout=subprocess.PIPE,
            cwd=ROOT,
            check=True,
        )
        resumed = pickle.loads(done.stdout)
        for (key, wanted), found in zip(expected, resumed, strict=True):
            assert found == wanted, key


def resume_all() -> None:
    """Go on with sources where another process has stopped; runs in a process of its own."""
    found = []
    for key, state, kept in pickle.load(sys.stdin.buffer):
        source = ALL[key]()
        source.load_state_dict(json.loads(state), pickle.loads(kept))
        found.append(items(source))
    sys.stdout.buffer.write(pickle.dumps(found))


def iter_state(one_pass):
    return one_pass.state_dict()


class TestEmptyAndUnbound:
    @every
    def test_without_its_inputs_it_says_what_to_do(self, make):
        source = make()
        if not source.needs_inputs:
            return  # it reads from no other source
        source._inputs = {}
        for use in (list, Graph, lambda each: each.read(np.arange(3)), lambda each: each.take(1)):
            with pytest.raises(WiringError, match="no input yet"):
                use(source)

    @every
    def test_empty_inputs(self, make):
        source = make()
        graph = Graph(source)
        for each in graph.nodes.values():
            if isinstance(each, MessageSource):
                each.message = each.message[:0]
        if any(
            not each.inputs and not isinstance(each, MessageSource) for each in graph.nodes.values()
        ):
            return  # a stream or a table of its own still has rows
        try:
            found = items(source)
        except ValueError as error:
            assert "nothing to" in str(error) or "rows" in str(error) or "weight" in str(error)
        except IndexError as error:
            assert "has 0" in str(error)
        else:
            assert sum(map(len, found)) == 0


def test_feedback_conforms():
    source = FeedbackSource(Message({"i": [0]}))
    one_pass = iter(source)
    assert next(one_pass)["i"].tolist() == [0]
    source.send(Message({"i": [1]}))
    state, kept = json.loads(json.dumps(source.state_dict())), source.state_rows()
    fresh = FeedbackSource(Message({"i": [0]}))
    fresh.load_state_dict(state, kept)
    assert [next(each)["i"].tolist() for each in (one_pass, iter(fresh))] == [[1], [1]]
    with pytest.raises(StateMismatch, match="rows beside it"):
        FeedbackSource(Message({"i": [0]})).load_state_dict(state)
