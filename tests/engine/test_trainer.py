"""Trainers and evaluators are Ignite Engines over named columns."""

# Ignite types what an engine's state holds more narrowly than it is.
# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false
# pyright: reportIndexIssue=false, reportOptionalSubscript=false, reportArgumentType=false

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from ignite.engine import Engine, Events
from ignite.metrics import Accuracy, Loss
from sklearn.datasets import load_digits
from torch import nn
from torch.nn.functional import cross_entropy, mse_loss
from torch.utils.data import DataLoader, TensorDataset

from fireworks import Message, create_evaluator, create_trainer
from fireworks.errors import ColumnNotFound, EngineError, WrongType, WrongValue
from fireworks.sources import BatchingSource, MessageSource, ShufflerSource


def points(num_rows: int = 64) -> Message:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(num_rows, 3, generator=generator)
    return Message({"x": x, "label": (x[:, 0] > 0).long().numpy(), "half": x[:, 0].numpy() / 2})


def model(outputs: int = 2) -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(3, outputs)


class TestTraining:
    def test_equals_the_loop_written_by_hand(self):
        ours, by_hand = model(), model()
        optimizer = torch.optim.SGD(ours.parameters(), lr=0.1, momentum=0.9)
        trainer = create_trainer(ours, optimizer, cross_entropy, inputs=["x"], target="label")
        source = MessageSource(points()) >> ShufflerSource(0) >> BatchingSource(10)
        trainer.run(source, max_epochs=3)

        optimizer = torch.optim.SGD(by_hand.parameters(), lr=0.1, momentum=0.9)
        again = MessageSource(points()) >> ShufflerSource(0) >> BatchingSource(10)
        for _ in range(3):
            for batch in again:
                optimizer.zero_grad()
                target = batch.tensors()["label"]
                cross_entropy(by_hand(batch["x"]), target).backward()
                optimizer.step()
        assert trainer.state.iteration == 21
        assert torch.equal(ours.weight, by_hand.weight)
        assert torch.equal(ours.bias, by_hand.bias)

    def test_digits_reach_the_accuracy_of_the_loop_written_by_hand(self):
        images, labels = load_digits(return_X_y=True)
        rows = Message({"x": torch.tensor(images / 16, dtype=torch.float32), "label": labels})
        train = MessageSource(rows[:1500]) >> ShufflerSource(0) >> BatchingSource(32)

        def network() -> tuple[nn.Module, torch.optim.Optimizer]:
            torch.manual_seed(0)
            layers = nn.Linear(64, 64), nn.ReLU(), nn.Dropout(0.2), nn.Linear(64, 10)
            made = nn.Sequential(*layers)
            return made, torch.optim.AdamW(made.parameters(), lr=0.01)

        ours, optimizer = network()
        trainer = create_trainer(ours, optimizer, cross_entropy, inputs="x", target="label")
        columns: Any = {"inputs": "x", "target": "label"}
        evaluator = create_evaluator(ours, metrics={"accuracy": Accuracy()}, **columns)
        trainer.run(train, max_epochs=6)
        evaluator.run([rows[1500:]])

        by_hand, optimizer = network()
        again = MessageSource(rows[:1500]) >> ShufflerSource(0) >> BatchingSource(32)
        for _ in range(6):
            for batch in again:
                optimizer.zero_grad()
                cross_entropy(by_hand(batch["x"]), batch.tensors()["label"]).backward()
                optimizer.step()
        for a, b in zip(ours.parameters(), by_hand.parameters(), strict=True):
            assert torch.equal(a, b)
        with torch.no_grad():
            guess = by_hand.eval()(rows[1500:]["x"]).argmax(1).numpy()
        assert evaluator.state.metrics["accuracy"] == pytest.approx((guess == labels[1500:]).mean())
        assert evaluator.state.metrics["accuracy"] > 0.9

    def test_is_an_ignite_engine_whose_output_has_loss_and_output(self):
        network = model()
        optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
        trainer = create_trainer(network, optimizer, cross_entropy, inputs="x", target="label")
        losses = []

        @trainer.on(Events.ITERATION_COMPLETED(every=2))
        def keep(engine):
            losses.append(engine.state.output.loss.item())
            assert engine.state.output["output"].shape == (16, 2)
            assert not engine.state.output.output.requires_grad

        trainer.run(MessageSource(points()) >> BatchingSource(16), max_epochs=5)
        assert type(trainer) is Engine
        assert len(losses) == 10
        assert losses[-1] < losses[0]
        with pytest.raises(AttributeError, match="no 'accuracy'"):
            _ = trainer.state.output.accuracy

    def test_each_epoch_has_another_order(self):
        network = model()
        optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
        trainer = create_trainer(network, optimizer, cross_entropy, inputs="x", target="label")
        seen: dict[int, list[float]] = {}

        @trainer.on(Events.ITERATION_COMPLETED)
        def keep(engine):
            seen.setdefault(engine.state.epoch, []).extend(engine.state.batch["x"][:, 0].tolist())

        source = MessageSource(points()) >> ShufflerSource(0) >> BatchingSource(16)
        trainer.run(source, max_epochs=3)
        assert len({tuple(each) for each in seen.values()}) == 3
        assert len({tuple(sorted(each)) for each in seen.values()}) == 1

    @pytest.mark.parametrize(
        "inputs",
        [
            ["x", "half"],
            {"left": "x", "right": "half"},
            lambda batch: (batch["x"], batch.tensors()["half"]),
            lambda batch: {"right": batch.tensors()["half"], "left": batch["x"]},
        ],
        ids=["list", "dict", "tuple function", "dict function"],
    )
    def test_columns_become_arguments(self, inputs):
        class Two(nn.Module):
            def __init__(self):
                super().__init__()
                self.linear = nn.Linear(3, 1)

            def forward(self, left, right):
                return self.linear(left).squeeze(1) - right

        network = Two()
        optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
        trainer = create_trainer(
            network, optimizer, lambda out: out.square().mean(), inputs=inputs, device="cpu"
        )
        trainer.run(MessageSource(points()) >> BatchingSource(16), max_epochs=20)
        assert trainer.state.output.loss < 0.01

    def test_a_float64_vector_serves_as_input_and_target(self):
        rows = Message({"x": torch.randn(8, 3), "y": np.linspace(0, 1, 8)})
        network = model(outputs=1)
        optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
        trainer = create_trainer(
            network,
            optimizer,
            lambda out, y: mse_loss(out.squeeze(1), y),
            inputs="x",
            target="y",
        )
        trainer.run([rows])
        assert trainer.state.output.loss.dtype == torch.float32

    def test_plain_data_loaders_of_dicts_serve_too(self):
        rows = [{"x": torch.randn(3), "label": i % 2} for i in range(12)]
        network = model()
        optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
        trainer = create_trainer(network, optimizer, cross_entropy, inputs="x", target="label")
        trainer.run(DataLoader(rows, batch_size=4), max_epochs=2)
        assert trainer.state.iteration == 6

    def test_batches_that_are_tuples_are_taken_apart_by_functions(self):
        rows, parts = points(), {"inputs": lambda batch: batch[0], "target": lambda batch: batch[1]}
        data = DataLoader(TensorDataset(rows["x"], rows.tensors()["label"]), batch_size=16)
        ours, same, accuracies = model(), model(), []
        for network, batches, options in (
            (ours, data, parts),
            (same, MessageSource(rows) >> BatchingSource(16), {"inputs": "x", "target": "label"}),
        ):
            optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
            create_trainer(network, optimizer, cross_entropy, **options).run(batches)
            evaluator = create_evaluator(network, metrics={"accuracy": Accuracy()}, **options)
            evaluator.run(batches)
            accuracies.append(evaluator.state.metrics["accuracy"])
        assert torch.equal(ours.weight, same.weight)
        assert accuracies[0] == accuracies[1]

    def test_a_stream_of_unknown_length(self):
        network = model()
        optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
        trainer = create_trainer(network, optimizer, cross_entropy, inputs="x", target="label")
        batches = MessageSource(points()) >> BatchingSource(16)
        trainer.run((batch for batch in batches), max_epochs=1)
        assert trainer.state.iteration == 4


class TestEvaluating:
    def test_metrics(self):
        network = model()
        evaluator = create_evaluator(
            network,
            metrics={"accuracy": Accuracy(), "loss": Loss(cross_entropy)},
            inputs="x",
            target="label",
        )
        rows = points()
        evaluator.run(MessageSource(rows) >> BatchingSource(10))
        with torch.no_grad():
            output, target = network(rows["x"]), rows.tensors()["label"]
        assert evaluator.state.metrics == {
            "accuracy": pytest.approx((output.argmax(1) == target).double().mean().item()),
            "loss": pytest.approx(cross_entropy(output, target).item(), rel=1e-5),
        }

    def test_runs_in_evaluation_mode_without_gradients(self):
        network = nn.Sequential(nn.Dropout(0.5), model())
        evaluator = create_evaluator(network, inputs="x")
        evaluator.run([points()])
        first = evaluator.state.output
        evaluator.run([points()])
        assert torch.equal(first, evaluator.state.output)
        assert not first.requires_grad


class TestBadInput:
    def trainer(self, loss=cross_entropy, **columns) -> Engine:
        network = model()
        optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
        return create_trainer(network, optimizer, loss, **{"inputs": "x", **columns})

    def test_a_missing_column(self):
        with pytest.raises(ColumnNotFound, match="'labels'.*Did you mean 'label'"):
            self.trainer(target="labels").run([points()])
        with pytest.raises(ColumnNotFound, match="'y'.*'x'"):
            self.trainer(target="y").run([{"x": torch.ones(1, 3)}])

    def test_a_column_that_is_no_tensor(self):
        rows = Message({"x": ["a", "b"]})
        with pytest.raises(WrongType, match="'a'"):
            self.trainer().run([rows])
        with pytest.raises(WrongType, match="'x' is no tensor but list"):
            self.trainer().run([{"x": [1, 2]}])

    def test_a_batch_without_columns(self):
        with pytest.raises(WrongType, match=r"not list.*inputs=lambda batch: batch\[0\]"):
            self.trainer().run([[torch.ones(1, 3)]])
        with pytest.raises(WrongType, match="not str.*>> BatchingSource"):
            self.trainer().run(points())

    def test_no_inputs(self):
        with pytest.raises(WrongValue, match="names no column"):
            self.trainer(inputs=[])

    def test_a_loss_that_is_no_scalar(self):
        for loss, what in ((lambda out: out, r"shape \(64, 2\)"), (lambda out: 3.5, "3.5")):
            with pytest.raises(EngineError, match=what):
                self.trainer(loss).run([points()])

    def test_data_that_ends_early_in_an_epoch(self):
        class Shorter(list):
            """It says 4 batches, and gives fewer in the second epoch."""

            def __init__(self):
                super().__init__([points(16)] * 4)
                self.epoch = 0

            def __iter__(self):
                self.epoch += 1
                return iter(list.copy(self)[: 4 if self.epoch == 1 else 3])

        trainer = self.trainer(target="label")
        with pytest.raises(EngineError, match=r"early in epoch 2: .* 4 batches .* and gave 3"):
            trainer.run(Shorter(), max_epochs=3)
        assert trainer.state.iteration == 7

    def test_an_iterator_is_not_read_twice(self):
        trainer = self.trainer(target="label")
        with pytest.raises(EngineError, match="no batch when it was read again, in epoch 2"):
            trainer.run(iter([points()] * 3), max_epochs=2)
        with pytest.raises(EngineError, match="no batch when it was read again, in epoch 1"):
            self.trainer(target="label").run(iter([points()] * 3), epoch_length=5)

    def test_epochs_of_another_length_than_the_data_read_it_again(self):
        for length in (2, 7):
            trainer = self.trainer(target="label")
            trainer.run([points()] * 3, max_epochs=4, epoch_length=length)
            assert trainer.state.iteration == 4 * length

    def test_a_stream_whose_passes_differ_says_so_once(self, caplog):
        class Fewer:
            left = 6

            def __iter__(self):
                self.left -= 1
                return iter([points()] * self.left)

        trainer = self.trainer(target="label")
        trainer.run(Fewer(), max_epochs=3)
        assert trainer.state.iteration == 15
        assert caplog.text.count("the data gave 4 batches, and 5 the first time") == 1

    def test_a_model_that_was_moved_since(self):
        network = model()
        optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
        trainer = create_trainer(
            network, optimizer, cross_entropy, inputs=["x"], target="label", device="cpu"
        )
        evaluator = create_evaluator(network, inputs={"input": "x"}, device="cpu")
        network.to("meta")
        for engine in (trainer, evaluator):
            with pytest.raises(
                EngineError,
                match="'weight' of the model is on meta, the column 'x' on cpu.*device='meta'",
            ):
                engine.run([points()])

    def test_a_tensor_that_a_module_keeps_by_itself(self):
        class Shifted(nn.Linear):
            shift = torch.ones(3, device="meta")

            def forward(self, x):
                return super().forward(x) * torch.mv(self.shift.expand(3, 3), x[0])

        network = Shifted(3, 2)
        optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
        trainer = create_trainer(network, optimizer, cross_entropy, inputs="x", device="cpu")
        with pytest.raises(RuntimeError) as caught:
            trainer.run([points()])
        assert "column 'x', are on cpu. A tensor that a module" in caught.value.__notes__[0]

    def test_a_model_without_values(self):
        network = nn.Linear(3, 2, device="meta")
        optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
        with pytest.raises(
            WrongValue, match="'weight' of the model is on the meta device.*to_empty"
        ):
            create_trainer(network, optimizer, cross_entropy, inputs="x", device="cpu")

    @pytest.mark.gpu
    @pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
    def test_a_model_that_was_moved_off_the_gpu(self):
        network = model()
        optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
        trainer = create_trainer(network, optimizer, cross_entropy, inputs="x", target="label")
        network.to("cpu")
        with pytest.raises(EngineError, match="of the model is on cpu, the column 'x' on cuda"):
            trainer.run([points()])
