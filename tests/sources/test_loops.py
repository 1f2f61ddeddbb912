"""Branches that meet again, streams that are shared, and loops."""

from __future__ import annotations

import json
import pickle
import threading

import numpy as np
import pytest

from fireworks import Graph, Message, Source
from fireworks.errors import DeadlockError, WiringError, WrongLength, WrongType, WrongValue
from fireworks.source import Run
from fireworks.sources import (
    BatchingSource,
    FeedbackSource,
    FilterSource,
    MessageSource,
    MixSource,
    RouterSource,
    SamplerSource,
    ShufflerSource,
    ZipSource,
)
from tests.sources.sources_under_test import Odd, Renamed, Stream, diamond, even, parity, rows


class Counting(Source):
    """Passes rows on and counts them."""

    def __init__(self, inputs=None):
        self.count = 0

    def transform(self, message):
        self.count += len(message)
        return message


def first_three(message):
    return np.where(np.asarray(message["i"]) < 3, "first", "later")


def numbers(items, column="i"):
    return [number for item in items for number in item[column].tolist()]


class TestSharing:
    def test_an_indexed_diamond_computes_its_top_once(self):
        top = rows(30) >> Counting()
        zipped = ZipSource(
            inputs={"a": top >> ShufflerSource(1) >> BatchingSource(6), "b": top >> Renamed()}
        )
        whole = zipped.read(np.arange(30))
        assert top.count == 30
        assert sorted(whole["i"]) == whole["k"].tolist() == list(range(30))
        batch = zipped[0]
        assert top.count == 30 + len({*batch["i"], *batch["k"]})

    def test_a_streamed_diamond_computes_its_top_once(self):
        top = Stream(30) >> Counting()
        found = list(diamond(top))
        assert top.count == 30
        assert numbers(found) == list(range(0, 30, 2))
        assert numbers(found, "k") == list(range(1, 30, 2))

    def test_sinks_of_one_run_share_rows_and_streams(self):
        top = rows(30) >> Counting()
        shuffled = top >> ShufflerSource(1) >> BatchingSource(6)
        steps = list(Graph({"a": shuffled, "b": shuffled >> Renamed()}).run())
        assert [set(step) for step in steps] == [{"a", "b"}] * 5
        assert all(step["a"]["i"].tolist() == step["b"]["k"].tolist() for step in steps)
        assert top.count == 30

        stream = Stream(30) >> Counting()
        steps = list(Graph({"even": stream >> FilterSource(even), "all": stream}).run())
        assert stream.count == 30
        assert numbers(step["all"] for step in steps) == list(range(30))

    def test_readers_of_one_branch_do_not_see_what_others_change(self):
        class Spoil(Source):
            def transform(self, message):
                message["i"] = -1
                return message

        top = rows(4)
        zipped = ZipSource(inputs={"a": top >> Spoil(), "b": top >> Renamed()})
        assert zipped.read_all()["k"].tolist() == [0, 1, 2, 3]

    def test_a_sink_that_has_ended_is_absent(self):
        graph = Graph({"long": rows(5) >> BatchingSource(2), "short": rows(3) >> BatchingSource(2)})
        assert [sorted(step) for step in graph.run()] == [["long", "short"]] * 2 + [["long"]]

    def test_routes_together_are_everything(self):
        router = Stream(22) >> RouterSource(parity)
        graph = Graph({"even": router["even"], "odd": router["odd"]})
        found = {"even": [], "odd": []}
        for step in graph.run():
            for key, message in step.items():
                found[key] += message["i"].tolist()
        assert found == {"even": list(range(0, 22, 2)), "odd": list(range(1, 22, 2))}
        assert router["even"] is router["even"]

    @pytest.mark.parametrize("top", [lambda: Stream(22), lambda: rows(22)])
    def test_a_misspelt_route_is_an_error_at_the_end(self, top):
        router = top() >> RouterSource(parity)
        for use in (list, lambda source: list(source >> BatchingSource(3))):
            with pytest.raises(WrongValue, match="no row goes to 'evn'. Did you mean 'even'"):
                use(router["evn"])
        assert len(numbers(router["odd"])) == 11

    def test_a_route_by_numbers_that_no_row_has(self):
        router = rows(22) >> RouterSource("i")
        assert numbers(router.route(3)) == [3]
        absent = router.route(99)
        with pytest.raises(WrongValue, match="no row goes to 99. Rows go to 0, 1, 2"):
            absent.prepare()
        assert not absent.indexed

    def test_a_route_of_no_rows_at_all_is_none_of_these_mistakes(self):
        assert list((rows(0) >> RouterSource(parity))["even"]) == []

    def test_a_route_resumed_where_no_more_of_its_rows_come(self):
        def make() -> Source:
            return (Stream(22) >> RouterSource(first_three))["first"]

        source = make()
        one_pass = iter(source)
        assert numbers([next(one_pass)]) == [0, 1, 2]
        fresh = make()
        fresh.load_state_dict(source.state_dict())
        assert numbers(fresh) == []

    def test_drain_runs_every_sink(self):
        assert Graph({"a": rows(5), "b": Stream(7)}).drain() == {"a": 5, "b": 7}

    def test_the_epochs_of_a_run_advance(self):
        graph = Graph({"a": rows(20) >> ShufflerSource(0) >> BatchingSource(5)})
        first, second = (numbers(step["a"] for step in graph.run()) for _ in range(2))
        assert first != second
        assert sorted(first) == sorted(second)

    def test_a_run_resumes_at_every_step(self):
        def graph() -> Graph:
            stream = Stream(30)
            return Graph({"even": stream >> FilterSource(even), "all": stream})

        expected = list(graph().run())
        for steps in range(len(expected)):
            going = graph()
            running = going.run()
            for _ in range(steps):
                next(running)
            state = json.loads(json.dumps(going.state_dict()))
            running.close()
            fresh = graph()
            fresh.load_state_dict(state)
            assert list(fresh.run()) == expected[steps:]


def test_a_lambda_cannot_be_pickled_and_the_error_says_what_to_do():
    for source in (
        rows() >> FilterSource(lambda message: message["i"] > 3),
        (rows() >> RouterSource(lambda message: message["i"]))["a"],
    ):
        with pytest.raises(WrongType, match="Define it with def at the top of a module"):
            pickle.dumps(source)
    with pytest.raises(WrongType, match="takes a function, not 3"):
        FilterSource(3)


class Late(Source):
    """Gives nothing before it has read everything."""

    needs_inputs = True

    def flow(self, run, start):
        chunks = [message for message, _ in run.open(self.input, start, reader=self)]
        yield from ((chunk, {"chunk": n}) for n, chunk in enumerate(chunks))


class TestLaggards:
    def apart(self, num_rows=200):
        stream = Stream(num_rows) >> Counting()
        return stream, Graph({"late": stream >> Late(), "now": stream})

    def test_a_certain_deadlock_is_an_error_that_names_both(self):
        _, graph = self.apart()
        with pytest.raises(DeadlockError, match=r"Late\(\) is 16 chunks of .* ahead of"):
            list(graph.run())

    @pytest.mark.parametrize("laggard", ["spill", "reread"])
    def test_nothing_is_lost(self, laggard):
        stream, graph = self.apart()
        steps = list(graph.run(laggard=laggard, ring=4))
        assert numbers(step["late"] for step in steps) == list(range(200))
        assert numbers(step["now"] for step in steps) == list(range(200))
        assert (stream.count == 200) == (laggard == "spill")

    def test_drop_loses_the_oldest(self):
        _, graph = self.apart()
        steps = list(graph.run(laggard="drop", ring=4))
        assert numbers(step["late"] for step in steps) == list(range(200))
        assert numbers(step["now"] for step in steps if "now" in step) == list(range(184, 200))

    def test_a_reader_in_another_thread_is_waited_for(self):
        stream = Stream(400)
        a, b = stream >> FilterSource(even), stream >> Odd()
        run = Run([a, b], 0, ring=2, threaded=True)
        found: dict[str, list[int]] = {}

        def read(name: str, source: Source) -> None:
            found[name] = numbers(message for message, _ in run.open(source))

        threads = [threading.Thread(target=read, args=each) for each in (("a", a), ("b", b))]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
        assert found == {"a": list(range(0, 400, 2)), "b": list(range(1, 400, 2))}
        run.close()

    def test_an_unknown_rule(self):
        _, graph = self.apart()
        with pytest.raises(WrongValue, match="block, spill, reread, drop"):
            list(graph.run(laggard="wait"))


class AddFed(Source):
    """Adds what came round the loop to each batch."""

    needs_inputs = True

    def flow(self, run, start):
        places = start or {"rows": None, "fed": None}
        fed = run.open(self.inputs["fed"], places["fed"], reader=self)
        for message, position in run.open(self.inputs["rows"], places["rows"], reader=self):
            round_, behind = next(fed)
            total = int(round_["i"].sum()) if len(round_) else 0
            yield Message({"i": message["i"] + total}), {"rows": position, "fed": behind}


class TestFeedback:
    def loop(self) -> Source:
        feedback = FeedbackSource(Message({"i": [100]}))
        added = AddFed(inputs={"rows": rows(6) >> BatchingSource(2), "fed": feedback})
        _ = added >> feedback
        return added

    def test_a_step_sees_what_was_sent_before_it(self):
        assert [each["i"].tolist() for each in self.loop()] == [[100, 101], [203, 204], [411, 412]]

    def test_resumes_at_every_step(self):
        expected = list(self.loop())
        for steps in range(1, 3):
            going = self.loop()
            one_pass = iter(going)
            for _ in range(steps):
                next(one_pass)
            state, kept = json.loads(json.dumps(going.state_dict())), going.state_rows()
            fresh = self.loop()
            fresh.load_state_dict(state, kept)
            assert list(fresh) == expected[steps:]

    def test_nothing_downstream_of_it_is_indexed(self):
        assert not self.loop().indexed
        assert not (self.loop() >> BatchingSource(1)).indexed

    def test_a_loop_without_one_is_refused_and_named(self):
        first = Counting()
        last = first >> Renamed() >> Odd()
        with pytest.raises(WiringError, match=r"Counting\(\) <- Odd\(\) <- Renamed\(\) <- Count"):
            _ = last >> first

    def test_the_picture_shows_the_loop(self):
        graph = Graph(self.loop())
        assert "FeedbackSource" in graph.mermaid()
        assert ("AddFed-0", "FeedbackSource-2") in graph.edges
        assert graph.svg().startswith("<svg")

    def test_columns_are_those_of_the_first_step(self):
        feedback = FeedbackSource(Message({"i": [0]}))
        with pytest.raises(KeyError, match="'i'"):
            feedback.send(Message({"j": [1]}))
        with pytest.raises(WrongType, match="Message"):
            FeedbackSource([1])


class TestSampler:
    def test_weights_are_proportions(self):
        source = MessageSource({"i": np.arange(4)}) >> SamplerSource(
            [0, 1, 2, 5], seed=0, num_draws=80_000
        )
        counts = np.bincount(source.read_all()["i"], minlength=4)
        assert counts[0] == 0
        assert np.abs(counts / 80_000 - np.array([0, 1, 2, 5]) / 8).max() < 0.01

    def test_balanced(self):
        labels = ["a"] * 90 + ["b"] * 9 + ["c"]
        source = MessageSource({"label": labels}) >> SamplerSource(
            seed=0, balance="label", num_draws=30_000
        )
        shares = source.read_all()["label"].value_counts(normalize=True)
        assert shares.round(1).to_dict() == {"a": 0.3, "b": 0.3, "c": 0.3}

    def test_without_replacement_no_row_comes_twice_and_heavy_ones_come_first(self):
        weights = np.linspace(1, 100, 500)
        source = rows(500) >> SamplerSource(weights, seed=0, replacement=False)
        for _ in range(2):
            order = numbers(source)
            assert sorted(order) == list(range(500))
            assert np.mean(order[:100]) > np.mean(order[-100:]) + 100

    def test_a_change_comes_into_effect_after_the_lookahead(self):
        def drawn(changed_at: int | None, lookahead: int) -> list[set[int]]:
            source = rows(50) >> SamplerSource(
                seed=0, lookahead=lookahead, batch_size=10, num_draws=100, row_column="row"
            )
            steps = []
            for step, batch in enumerate(source):
                steps.append(set(batch["row"]))
                if step == changed_at:
                    source.update(np.arange(1, 50), np.zeros(49))
            return steps

        for lookahead in (0, 1, 3):
            changed, same = drawn(2, lookahead), drawn(None, lookahead)
            first = 2 + lookahead + 1
            assert changed[:first] == same[:first]
            assert changed[first:] == [{0}] * (10 - first)

    def test_changed_weights_are_in_the_state(self):
        def source() -> Source:
            return rows(50) >> SamplerSource(
                seed=0, lookahead=2, batch_size=5, num_draws=60, row_column="row"
            )

        def go_on(sampler, one_pass):
            seen = []
            for batch in one_pass:
                seen.append(batch["row"].tolist())
                sampler.update(batch["row"][:2], [9.0, 0.1])
            return seen

        undisturbed = source()
        expected = [go_on(undisturbed, iter(undisturbed)) for _ in range(3)]
        for epoch in range(3):
            for steps in (1, 3, 7, 11):
                going = source()
                for _ in range(epoch):
                    go_on(going, iter(going))
                one_pass = iter(going)
                for _ in range(steps):
                    batch = next(one_pass)
                    going.update(batch["row"][:2], [9.0, 0.1])
                state, kept = json.loads(json.dumps(going.state_dict())), going.state_rows()
                fresh = source()
                fresh.load_state_dict(state, kept)
                assert go_on(fresh, iter(fresh)) == expected[epoch][steps:]
                for later in range(epoch + 1, 3):
                    assert go_on(fresh, iter(fresh)) == expected[later]

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"weights": [-1, 2]}, "from 0"),
            ({"weights": [np.nan, 1]}, "finite"),
            ({"weights": [0, 0]}, "all weights are 0"),
            ({"weights": "i", "balance": "i"}, "not both"),
            ({"num_draws": 0}, "at least 1"),
            ({"lookahead": 1}, "go together"),
        ],
    )
    def test_bad_options(self, options, message):
        with pytest.raises(WrongValue, match=message):
            rows(2) >> SamplerSource(seed=0, **options)

    def test_bad_weights_for_these_rows(self):
        with pytest.raises(WrongLength, match="3 weights for the 2 rows"):
            (rows(2) >> SamplerSource([1, 2, 3], seed=0)).read_all()
        with pytest.raises(WrongValue, match="without replacement from 1"):
            (rows(2) >> SamplerSource([1, 0], seed=0, replacement=False)).read_all()
        with pytest.raises(WrongType, match="behind the sampler"):
            (rows(2) >> ShufflerSource(0) >> SamplerSource([1, 2], seed=0)).read_all()
        sampler = rows(2) >> SamplerSource([1, 1], seed=0)
        with pytest.raises(WrongType, match="are fixed"):
            sampler.update([0], [2.0])


class TestMix:
    @pytest.mark.parametrize(
        ("options", "error", "message"),
        [
            ({"weights": {"a": -1, "b": 2}}, WrongValue, "numbers from 0"),
            ({"weights": {"a": 0, "b": 0}}, WrongValue, "not all 0"),
            ({"weights": {"a": float("nan"), "b": 1}}, WrongValue, "numbers from 0"),
            ({"weights": {}}, WrongValue, "numbers from 0"),
            ({"weights": [1, 2]}, WrongType, "name the inputs"),
            ({"seed": None}, WrongType, "needs a seed"),
            ({"stop": "last"}, WrongValue, "'first' or 'all'"),
        ],
    )
    def test_bad_options(self, options, error, message):
        with pytest.raises(error, match=message):
            MixSource(**{"weights": {"a": 1, "b": 2}, "seed": 0, **options})

    def test_weights_of_other_names_than_the_inputs(self):
        mixed = MixSource({"a": 1, "c": 1}, seed=0, inputs={"a": rows(), "b": rows()})
        with pytest.raises(WrongValue, match="'?c'?"):
            list(mixed)

    def test_rows_come_in_the_proportions_of_the_weights(self):
        inputs = {"a": rows(4000), "b": rows(4000, first=10_000)}
        found = numbers(MixSource({"a": 1, "b": 3}, seed=0, inputs=inputs))
        assert abs(np.mean(np.array(found) >= 10_000) - 0.75) < 0.02
