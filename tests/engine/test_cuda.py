"""Training on a GPU; what these tests share with the CPU is tested there."""

# Ignite types what an engine's state holds more narrowly than it is.
# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false
# pyright: reportIndexIssue=false, reportOptionalSubscript=false

from __future__ import annotations

import time
from pathlib import Path

import pytest
import torch
from ignite.engine import Engine, Events
from ignite.metrics import Accuracy
from torch import nn
from torch.nn.functional import cross_entropy

from fireworks import (
    Checkpointer,
    Experiment,
    ExperimentLogger,
    Message,
    TensorBoardLogger,
    create_evaluator,
    create_trainer,
    load_experiment,
    resume,
)
from fireworks.engine import Prefetch, SystemMonitor, read_state, trainer_parts
from fireworks.errors import LossNotFinite
from fireworks.sources import BatchingSource, MessageSource, ShufflerSource

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]

DEVICE = "cuda"
GENERATOR = torch.Generator().manual_seed(0)
ROWS = Message(
    {"x": torch.randn(48, 3, generator=GENERATOR), "label": torch.arange(48) % 2, "id": range(48)}
)


def source():  # 6 iterations an epoch
    return MessageSource(ROWS) >> ShufflerSource(0) >> BatchingSource(8)


def trainer(device=DEVICE, **options) -> Engine:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 16), nn.ReLU(), nn.Dropout(0.3), nn.Linear(16, 2))
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    return create_trainer(
        model, optimizer, cross_entropy, inputs="x", target="label", device=device, **options
    )


def weights(engine: Engine) -> list[torch.Tensor]:
    return [each.detach().cpu() for each in trainer_parts(engine)["model"].parameters()]


def test_a_gpu_is_chosen_and_what_it_computes_is_logged(tmp_path):
    engine = trainer("auto")
    model = trainer_parts(engine)["model"]
    evaluator = create_evaluator(
        model, metrics={"accuracy": Accuracy()}, inputs="x", target="label"
    )
    engine.add_event_handler(Events.EPOCH_COMPLETED, lambda: evaluator.run(source()))
    with Experiment("run", root=tmp_path) as experiment:
        for logger in (ExperimentLogger(experiment), TensorBoardLogger(experiment)):
            logger.attach(engine, evaluator)
        SystemMonitor(experiment, seconds=1e-9).attach(engine)
        engine.run(Prefetch(source(), device=DEVICE), max_epochs=2)
        table = experiment.metrics(wide=True)
    assert next(model.parameters()).device.type == DEVICE
    assert engine.state.output.output.device.type == DEVICE
    assert evaluator.state.output[1].device.type == DEVICE
    assert len(table["train/loss"].dropna()) == 12
    assert min(table["system/gpu_memory"].dropna().tolist()) > 0


def test_mixed_precision_is_float16_with_scaled_gradients():
    engine = trainer(amp=True, clip_norm=1.0, accumulate=2)
    before = weights(engine)
    engine.run(source(), max_epochs=2)
    assert engine.state.output.output.dtype == torch.float16
    assert trainer_parts(engine)["scaler"].get_scale() > 1
    pairs = zip(before, weights(engine), strict=True)
    assert not any(torch.equal(a, b) for a, b in pairs)


def interrupted(folder: Path, iteration: int, **options) -> Experiment:
    """A run that an error ended."""
    with Experiment("run", root=folder) as experiment:
        engine = trainer(**options)
        ExperimentLogger(experiment).attach(engine)
        Checkpointer(experiment).attach(engine, every=4)

        @engine.on(Events.ITERATION_COMPLETED(once=iteration))
        def fail():
            raise ZeroDivisionError

        torch.manual_seed(5)  # the GPU's generator, too
        with pytest.raises(ZeroDivisionError):
            engine.run(Prefetch(source(), device=DEVICE), max_epochs=3)
    return experiment


@pytest.mark.parametrize("options", [{}, {"amp": True, "ema": 0.9, "accumulate": 3}], ids=str)
def test_a_run_goes_on_bit_for_bit(tmp_path, options):
    whole = trainer(**options)
    torch.manual_seed(5)
    whole.run(Prefetch(source(), device=DEVICE), max_epochs=3)
    path = interrupted(tmp_path, 10, **options).path
    again = trainer(**options)
    with load_experiment(path, write=True) as experiment:
        found = resume(again, experiment)
        assert found is not None and found.stem == "step-0000008"
        ExperimentLogger(experiment).attach(again)
        torch.manual_seed(6)
        again.run(Prefetch(source(), device=DEVICE), max_epochs=3)
        assert experiment.metrics("train/loss")["step"].tolist() == list(range(1, 19))
    for a, b in zip(weights(again), weights(whole), strict=True):
        assert torch.equal(a, b)


def test_a_checkpoint_of_a_gpu_goes_on_without_one(tmp_path):
    path = interrupted(tmp_path, 10).path
    again = trainer("cpu")
    with load_experiment(path, write=True) as experiment:
        found = resume(again, experiment)
        assert found is not None
        for name, value in read_state(found)["parts"]["model"].items():
            assert value.device.type == "cpu"
            assert torch.equal(trainer_parts(again)["model"].state_dict()[name], value)
        again.run(source(), max_epochs=3)
    assert again.state.iteration == 18


def test_a_batch_on_the_gpu_whose_loss_is_not_finite_is_kept(tmp_path):
    bad = ROWS.copy()
    bad["x"] = torch.full((48, 3), torch.nan)
    engine = trainer()
    with Experiment("run", root=tmp_path) as experiment:
        ExperimentLogger(experiment).attach(engine)
        ahead = Prefetch(MessageSource(bad) >> BatchingSource(8), device=DEVICE)
        with pytest.raises(LossNotFinite):
            engine.run(ahead)
        assert experiment.failed_batch is not None
        assert experiment.failed_batch["id"].tolist() == list(range(8))


def test_a_step_does_not_wait_for_the_copy_of_its_batch():
    """The copy of a batch in page-locked memory is only begun; the processor goes on at once."""
    large = Message({"x": torch.randn(4_000_000, 3)})  # 48 MB: some milliseconds
    pinned = large.pin_memory()
    torch.cuda._sleep(200_000_000)  # the GPU is busy for a tenth of a second
    began = time.perf_counter()
    moved = pinned.to(DEVICE, non_blocking=True)
    assert time.perf_counter() - began < 0.05
    assert torch.equal(moved["x"].cpu(), large["x"])
