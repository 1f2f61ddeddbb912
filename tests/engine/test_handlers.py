"""Handlers that measure, show and write what a run does."""

# Ignite types what an engine's state holds more narrowly than it is.
# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false
# pyright: reportIndexIssue=false, reportOptionalSubscript=false, reportArgumentType=false

from __future__ import annotations

import io
import time

import pytest
import torch
from ignite.engine import Engine, Events
from torch import nn
from torch.nn.functional import cross_entropy

from fireworks import Experiment, Message, Source, create_evaluator, create_table, create_trainer
from fireworks.database import TableSource
from fireworks.engine import (
    DataProfiler,
    FireworksEvents,
    ModelSummary,
    PredictionWriter,
    Prefetch,
    ProgressBar,
    SystemMonitor,
    WeightStatistics,
)
from fireworks.errors import WrongType, WrongValue
from fireworks.sources import BatchingSource, MapSource, MessageSource, ShufflerSource

ROWS = Message({"x": torch.randn(24, 3), "label": torch.arange(24) % 2, "id": list(range(24))})


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))


def trainer(model: nn.Module) -> Engine:
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    return create_trainer(model, optimizer, cross_entropy, inputs="x", target="label", device="cpu")


def batches(size=4):
    return MessageSource(ROWS) >> ShufflerSource(0) >> BatchingSource(size)


@pytest.fixture
def experiment(tmp_path):
    with Experiment("run", root=tmp_path) as experiment:
        yield experiment


class Slow(Source):
    """Rows that take their time."""

    def transform(self, message):
        time.sleep(0.01)
        return message


class TestDataProfiler:
    def test_names_the_slowest_source(self, experiment):
        source = MessageSource(ROWS) >> Slow(name="disk") >> BatchingSource(4)
        engine = Engine(lambda engine, batch: time.sleep(0.001))
        profiler = DataProfiler(experiment).attach(engine)
        engine.run(source, max_epochs=2)
        assert [each.epoch for each in profiler.epochs] == [1, 2]
        for each in profiler.epochs:
            assert each.slowest == "disk"
            assert 0.009 < each.seconds < each.waiting + 0.05
        assert "waited for data; the slowest source is disk" in str(profiler.epochs[0])
        shares = experiment.metrics("data/waiting")["value"].tolist()
        assert shares == [each.share for each in profiler.epochs]

    def test_fires_an_event_with_the_seconds(self):
        engine = Engine(lambda engine, batch: None)
        DataProfiler().attach(engine)
        waited = []
        engine.add_event_handler(
            FireworksEvents.DATA_WAIT(every=2), lambda: waited.append(engine.state.data_wait)
        )
        engine.run(range(6))
        assert len(waited) == 3
        assert all(each >= 0 for each in waited)


class TestPrefetch:
    def test_gives_the_same_batches_and_states(self):
        source, plain = batches(), batches()
        ahead = Prefetch(source, 3)
        for _ in range(3):
            for a, b in zip(ahead, plain, strict=True):
                assert a == b
                assert ahead.state_dict() == plain.state_dict()

    def test_goes_on_behind_the_batch_handed_out_last(self):
        ahead = Prefetch(batches(), 2)
        iterator = iter(ahead)
        first = [next(iterator)["id"].tolist() for _ in range(2)]
        time.sleep(0.05)  # it is ahead by now
        again = Prefetch(batches())
        again.load_state_dict(ahead.state_dict(), ahead.state_rows())
        rest = [batch["id"].tolist() for batch in again]
        assert first + rest == [batch["id"].tolist() for batch in batches()]

    def test_reads_while_the_step_computes(self):
        source = MessageSource(ROWS) >> BatchingSource(4) >> Slow()
        engine = Engine(lambda engine, batch: time.sleep(0.01))
        profiler = DataProfiler().attach(engine)
        # One read gives all batches of a small source; a batch of many rows is one read.
        engine.run(Prefetch(source), max_epochs=1)
        assert profiler.epochs[0].slowest is not None

    def test_an_error_reaches_the_loop(self):
        def fail(message):
            raise ZeroDivisionError("in a source")

        source = MessageSource(ROWS) >> MapSource(fail) >> BatchingSource(4)
        engine = Engine(lambda engine, batch: None)
        with pytest.raises(ZeroDivisionError, match="in a source"):
            engine.run(Prefetch(source))

    def test_a_loop_that_ends_early_leaves_no_thread(self):
        engine = Engine(lambda engine, batch: None)
        engine.add_event_handler(Events.ITERATION_COMPLETED(once=2), lambda: engine.terminate())
        engine.run(Prefetch(batches(), 1), max_epochs=2)

    @pytest.mark.gpu
    @pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
    def test_copies_to_the_gpu_while_it_computes(self):
        ahead = Prefetch(batches(), 2, device="cuda")
        for moved, plain in zip(ahead, batches(), strict=True):
            torch.cuda._sleep(10_000_000)  # the next copies run beside it
            assert moved["x"].device.type == "cuda"
            assert torch.equal(moved["x"].cpu(), plain["x"])
        model = network()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        trainer = create_trainer(model, optimizer, cross_entropy, inputs="x", target="label")
        trainer.run(ahead, max_epochs=2)
        assert trainer.state.iteration == 12

    def test_bad_input(self):
        with pytest.raises(WrongValue, match="no CUDA device|not 'cpu'"):
            Prefetch(batches(), device="cpu")
        with pytest.raises(WrongType, match="not list"):
            Prefetch([ROWS])
        with pytest.raises(WrongValue, match="at least 1"):
            Prefetch(batches(), 0)


class TestProgressBar:
    def test_one_line_an_epoch_in_a_file(self):
        stream = io.StringIO()
        engine = trainer(network())
        ProgressBar(stream).attach(engine)
        engine.run(batches(), max_epochs=2)
        first, second = stream.getvalue().splitlines()
        assert first.startswith("epoch 1/2 [==============================] 6/6, ")
        assert ", loss 0." in second or ", loss 1." in second

    def test_moves_on_a_terminal(self):
        class Terminal(io.StringIO):
            def isatty(self):
                return True

        stream = Terminal()
        engine = Engine(lambda engine, batch: 0.5)
        ProgressBar(stream).attach(engine)
        engine.run(iter(range(3)))
        assert stream.getvalue().startswith("\repoch 1/1 iteration 1, ")
        assert "loss 0.5" in stream.getvalue()
        assert stream.getvalue().endswith("\n")


def test_system_monitor(experiment):
    engine = Engine(lambda engine, batch: time.sleep(0.005))
    SystemMonitor(experiment, seconds=0.01).attach(engine)
    engine.run(range(12))
    table = experiment.metrics(wide=True)
    assert len(table) >= 2
    assert (table["system/memory"] > 50e6).all()
    assert (table["system/cpu"] >= 0).all()
    with pytest.raises(WrongValue, match="positive"):
        SystemMonitor(experiment, seconds=0)


def test_model_summary():
    model = network()
    for each in model[0].parameters():
        each.requires_grad_(False)
    engine = trainer(model)
    summary = ModelSummary(model).attach(engine)
    assert summary.parameters == sum(each.numel() for each in model.parameters()) == 26
    engine.run(batches(6))
    assert [each.output for each in summary.layers] == [(6, 4), (6, 4), (6, 2)]
    lines = str(summary).splitlines()
    assert lines[1].split() == ["0", "Linear", "6", "x", "4", "16", "(frozen)"]
    assert lines[-1].split() == ["total", "26"]
    assert not model[0]._forward_hooks


def test_model_summary_of_outputs_that_are_no_tensors():
    class Last(nn.Module):
        def __init__(self):
            super().__init__()
            self.lstm = nn.LSTM(3, 4, batch_first=True)

        def forward(self, x):
            return self.lstm(x[:, None])[0][:, -1]

    model = Last()
    engine = trainer(model)
    summary = ModelSummary(model).attach(engine)
    engine.run(batches(6))
    assert [each.output for each in summary.layers] == [(6, 1, 4)]


def test_weight_statistics(experiment):
    model = network()
    engine = trainer(model)
    WeightStatistics(model, experiment).attach(engine, every=3)
    engine.run(batches(), max_epochs=1)
    table = experiment.metrics(wide=True)
    assert table["step"].tolist() == [3, 6]
    last = table.iloc[-1]
    assert last["weights/0.weight"] == pytest.approx(model[0].weight.norm().item())
    every = torch.cat([each.grad.flatten() for each in model.parameters()])
    assert last["gradients"] == pytest.approx(every.norm().item())
    WeightStatistics(model, experiment, name="critic").attach(engine, every=1)
    engine.run(batches(), max_epochs=2)
    assert experiment.latest["critic/weights/0.weight"] == experiment.latest["weights/0.weight"]
    with pytest.raises(WrongValue, match="at least 1"):
        WeightStatistics(model, experiment).attach(engine, every=0)


def test_predictions_into_a_table(tmp_path):
    path = tmp_path / "predictions.sqlite"
    table = create_table("predictions", Message({"id": [0], "positive": [0.5]}), path)
    model = network()
    evaluator = create_evaluator(model, inputs="x", device="cpu")

    def columns(batch, output):
        return {"id": batch["id"], "positive": output.softmax(1)[:, 1].double().numpy()}

    PredictionWriter(table, path, columns).attach(evaluator)
    for _ in range(2):  # the second time replaces the rows of the first
        evaluator.run(batches(5))
    written = TableSource("predictions", path).read_all()
    assert sorted(written["id"].tolist()) == list(range(24))
    with torch.no_grad():
        expected = model(ROWS["x"]).softmax(1)[:, 1]
    found = dict(zip(written["id"].tolist(), written["positive"].tolist(), strict=True))
    assert [found[i] for i in range(24)] == pytest.approx(expected.tolist())


def test_predictions_of_a_wrong_kind(tmp_path):
    path = tmp_path / "predictions.sqlite"
    table = create_table("predictions", Message({"id": [0]}), path)
    evaluator = create_evaluator(network(), inputs="x", device="cpu")
    PredictionWriter(table, path, lambda batch, output: output).attach(evaluator)
    with pytest.raises(WrongType, match="not Tensor"):
        evaluator.run(batches())
