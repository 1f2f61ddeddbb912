"""What is kept of checkpoints, and what becomes of them when things go wrong."""

# Ignite types what an engine's state holds more narrowly than it is.
# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false
# pyright: reportIndexIssue=false, reportOptionalSubscript=false, reportArgumentType=false

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time
from typing import Any

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
    create_evaluator,
    create_trainer,
    load_experiment,
    resume,
)
from fireworks.engine import PREEMPTED, FireworksEvents, read_state
from fireworks.errors import (
    DamagedFile,
    EngineError,
    NotRecorded,
    StateMismatch,
    WrongType,
    WrongValue,
)
from fireworks.sources import BatchingSource, MessageSource, ShufflerSource

GENERATOR = torch.Generator().manual_seed(0)
ROWS = Message({"x": torch.randn(40, 3, generator=GENERATOR), "label": torch.arange(40) % 2})
COLUMNS: dict[str, Any] = {"inputs": "x", "target": "label", "device": "cpu"}


def source(seed=0, batch_size=8):  # 5 iterations an epoch
    return MessageSource(ROWS) >> ShufflerSource(seed) >> BatchingSource(batch_size)


def trainer(hidden=4, model: nn.Module | None = None) -> Engine:
    torch.manual_seed(0)
    model = model or nn.Sequential(nn.Linear(3, hidden), nn.ReLU(), nn.Linear(hidden, 2))
    optimizer = torch.optim.Adam(model.parameters())
    return create_trainer(model, optimizer, cross_entropy, **COLUMNS)


def names(saver: Checkpointer) -> list[str]:
    assert saver.folder is not None
    return sorted(each.stem for each in saver.folder.glob("*.pt"))


@pytest.fixture
def experiment(tmp_path):
    with Experiment("run", root=tmp_path) as experiment:
        yield experiment


def saved_run(experiment, epochs=2, **options) -> Checkpointer:
    engine = trainer()
    saver = Checkpointer(experiment).attach(engine, **{"every": 2, "keep": 10, **options})
    engine.run(source(), max_epochs=epochs)
    return saver


def test_the_last_are_kept(experiment):
    saver = saved_run(experiment, epochs=4, every=3, keep=2)
    assert names(saver) == ["step-0000018", "step-0000020"]
    assert saver.last is not None and saver.last.stem == "step-0000020"
    assert saver.best is None


def test_by_default_one_an_epoch(experiment):
    assert names(saved_run(experiment, every=None)) == ["step-0000005", "step-0000010"]


def test_the_best_are_kept_too(experiment):
    engine = trainer()
    scores = iter([0.5, 0.9, 0.1, 0.8, 0.3])
    evaluator = Engine(lambda engine, batch: None)
    evaluator.add_event_handler(
        Events.COMPLETED, lambda: evaluator.state.metrics.update(accuracy=next(scores))
    )
    saver = Checkpointer(experiment).attach(
        engine, evaluator, every=100, keep=1, best="accuracy", keep_best=2
    )
    engine.add_event_handler(Events.EPOCH_COMPLETED, lambda: evaluator.run([0]))
    engine.run(source(), max_epochs=5)
    assert names(saver) == ["step-0000010", "step-0000020", "step-0000025"]
    assert saver.best is not None and saver.best.stem == "step-0000010"


def test_the_best_of_a_logged_evaluator_by_name(experiment):
    engine = trainer()
    model = nn.Linear(3, 2)
    evaluator = create_evaluator(model, metrics={"accuracy": Accuracy()}, **COLUMNS)
    ExperimentLogger(experiment).attach(engine, evaluator)
    engine.add_event_handler(Events.EPOCH_COMPLETED, lambda: evaluator.run(source()))
    saver = Checkpointer(experiment).attach(engine, best="valid/accuracy", mode="min")
    engine.run(source(), max_epochs=2)
    assert saver.best is not None


def test_what_is_in_one_can_be_read_alone(experiment):
    saver = saved_run(experiment)
    state = read_state(saver.last)
    assert set(state["parts"]) == {"model", "optimizer", "gradients"}
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    model.load_state_dict(state["parts"]["model"])
    assert state["engine"]["iteration"] == 10


def test_the_event_comes_when_it_is_on_disk(experiment):
    engine = trainer()
    saver = Checkpointer(experiment).attach(engine, every=2)
    seen = []

    @engine.on(FireworksEvents.CHECKPOINT_SAVED)
    def note():
        seen.append(engine.state.checkpoint.stem)
        assert engine.state.checkpoint.with_suffix(".json").exists()

    engine.run(source(), max_epochs=2)
    assert seen[-1] == "step-0000010"
    assert engine.state.checkpoints_saved == len(seen) >= 2
    assert saver.last is not None


def test_a_complete_run_is_not_run_again_but_can_be_made_longer(experiment):
    saved_run(experiment)
    again = trainer()
    assert resume(again, experiment) is not None
    again.run(source(), max_epochs=2)
    assert again.state.iteration == 10
    longer = trainer()
    resume(longer, experiment)
    longer.run(source(), max_epochs=3)
    whole = trainer()
    whole.run(source(), max_epochs=3)
    for a, b in zip(parameters(longer), parameters(whole), strict=True):
        assert torch.equal(a, b)


def parameters(engine: Engine):
    from fireworks.engine import trainer_parts

    return list(trainer_parts(engine)["model"].parameters())


def test_without_a_checkpoint_the_run_begins_from_the_start(experiment):
    engine = trainer()
    assert resume(engine, experiment) is None
    engine.run(source(), max_epochs=1)
    assert engine.state.iteration == 5


@pytest.mark.parametrize("damage", ["torn", "flipped", "gone"])
def test_a_damaged_one_falls_back_to_the_one_before(experiment, damage, caplog):
    saver = saved_run(experiment)
    assert saver.last is not None
    if damage == "gone":
        saver.last.unlink()
    else:
        content = bytearray(saver.last.read_bytes())
        content[len(content) // 2] ^= 1
        saver.last.write_bytes(content[:1000] if damage == "torn" else content)
    engine = trainer()
    found = resume(engine, experiment)
    assert found is not None and found.stem == "step-0000008"
    assert "is damaged, the one before it is tried" in caplog.text
    assert engine.state.iteration == 8


def test_all_damaged_is_an_error(experiment):
    saver = saved_run(experiment)
    assert saver.folder is not None
    for each in saver.folder.glob("*.pt"):
        each.write_bytes(b"nothing")
    with pytest.raises(DamagedFile, match="7 bytes"):
        resume(trainer(), experiment)


def test_a_full_disk_stops_the_run_and_the_ones_before_are_kept(experiment):
    engine = trainer(model=nn.Sequential(nn.Linear(3, 100_000), nn.Linear(100_000, 2)))  # 7 MB
    saver = Checkpointer(experiment).attach(engine, every=2, emergency=False)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)

    @engine.on(Events.ITERATION_COMPLETED(once=3))
    def fill():
        while saver.writing:
            time.sleep(0.01)
        resource.setrlimit(resource.RLIMIT_FSIZE, (2_000_000, limits[1]))

    try:
        with pytest.raises(NotRecorded, match="Make room on the disk"):
            engine.run(source(), max_epochs=2)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert names(saver) == ["step-0000002"]
    assert saver.folder is not None and not list(saver.folder.glob(".*.tmp"))
    again = trainer(model=nn.Sequential(nn.Linear(3, 100_000), nn.Linear(100_000, 2)))
    found = resume(again, experiment)
    assert found is not None and found.stem == "step-0000002"


def test_a_checkpoint_that_holds_code_is_not_run(tmp_path):
    path = tmp_path / "evil.pt"
    torch.save({"call": print}, path)
    with pytest.raises(DamagedFile, match="cannot be read"):
        read_state(path)


def test_strides_are_kept(experiment):
    """Sums over a tensor are of another order where they differ."""
    model = nn.Conv2d(3, 4, 2).to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    engine = create_trainer(model, optimizer, lambda out, y: out.mean(), **COLUMNS, accumulate=4)
    saver = Checkpointer(experiment).attach(engine)
    engine.run([{"x": torch.randn(2, 3, 5, 5), "label": torch.zeros(2)}] * 6)
    assert saver.last is not None
    parts = read_state(saver.last)["parts"]
    own = model.weight.stride()
    assert own != model.weight.contiguous().stride()
    assert parts["model"]["weight"].stride() == own
    assert parts["gradients"]["optimizer/0/0"].stride() == model.weight.grad.stride()
    assert parts["optimizer"]["state"][0]["momentum_buffer"].stride() == own


def test_what_a_killed_writer_left_is_cleared(experiment):
    saver = saved_run(experiment)
    assert saver.folder is not None
    (saver.folder / ".step-0000012.pt.1-2.tmp").write_bytes(b"half")
    (saver.folder / "step-0000012.pt").write_bytes(b"no JSON beside it")
    engine = trainer()
    found = resume(engine, experiment)
    assert found is not None and found.stem == "step-0000010"
    Checkpointer(experiment).attach(engine, every=2, keep=10)
    engine.run(source(), max_epochs=3)
    assert not list(saver.folder.glob(".*.tmp"))


def test_an_exception_leaves_an_emergency_checkpoint_that_is_never_chosen(experiment):
    engine = trainer()
    saver = Checkpointer(experiment).attach(engine, every=2)

    @engine.on(Events.ITERATION_STARTED(once=4))
    def fail():
        raise ZeroDivisionError("as it happens")

    with pytest.raises(ZeroDivisionError) as caught:
        engine.run(source(), max_epochs=2)
    (note,) = caught.value.__notes__
    assert "fail of Events.ITERATION_STARTED, at iteration 4, epoch 1" in note
    assert names(saver) == ["emergency-0000004", "step-0000002"]
    assert saver.folder is not None
    assert "as it happens" in read_state(saver.folder / "emergency-0000004.pt")["error"]
    again = trainer()
    found = resume(again, experiment)
    assert found is not None and found.stem == "step-0000002"
    assert again.state.iteration == 2


def test_a_failing_emergency_hides_nothing(experiment, caplog):
    engine = trainer()
    saver = Checkpointer(experiment, objects={"bad": Unsavable(after=1)}).attach(engine)

    @engine.on(Events.ITERATION_COMPLETED(once=2))
    def fail():
        raise ZeroDivisionError("as it happens")

    with pytest.raises(ZeroDivisionError, match="as it happens"):
        engine.run(source())
    assert "while dealing with ZeroDivisionError" in caplog.text
    assert names(saver) == []


class Unsavable:
    def __init__(self, after=0):
        self.left = after

    def state_dict(self):
        self.left -= 1
        return {"value": object() if self.left < 0 else 0}

    def load_state_dict(self, state):
        raise AssertionError


class TestBadInput:
    def test_a_changed_model(self, experiment):
        saved_run(experiment)
        with pytest.raises(StateMismatch, match=r"'0.weight' of the model has shape \(5, 3\)"):
            resume(trainer(hidden=5), experiment)
        other = trainer(model=nn.Linear(3, 2))
        before = [each.clone() for each in parameters(other)]
        with pytest.raises(StateMismatch, match="missing here: 0.bias.*not in the.*: bias, weight"):
            resume(other, experiment)
        assert all(torch.equal(a, b) for a, b in zip(before, parameters(other), strict=True))

    def test_another_part(self, experiment):
        saved_run(experiment)
        other = trainer()
        with pytest.raises(StateMismatch, match="not in the checkpoint: extra"):
            resume(other, experiment, objects={"extra": nn.Linear(1, 1)})

    def test_another_source(self, experiment):
        saved_run(experiment)
        engine = trainer()
        resume(engine, experiment)
        with pytest.raises(StateMismatch, match="seed"):
            engine.run(source(seed=1), max_epochs=3)
        resume(engine, experiment)
        with pytest.raises(StateMismatch, match="ShufflerSource|graph"):
            engine.run(MessageSource(ROWS) >> BatchingSource(8), max_epochs=3)

    def test_data_of_another_kind(self, experiment):
        saved_run(experiment)
        engine = trainer()
        resume(engine, experiment)
        with pytest.raises(StateMismatch, match=r"over a source; .* without a state \(list\)"):
            engine.run([ROWS], max_epochs=3)

    def test_an_engine_of_which_nothing_is_known(self, experiment):
        with pytest.raises(WrongValue, match="objects="):
            Checkpointer(experiment).attach(Engine(lambda engine, batch: None))

    def test_an_object_without_a_state(self, experiment):
        with pytest.raises(WrongType, match="'bad', a int"):
            Checkpointer(experiment, objects={"bad": 3}).attach(trainer())

    def test_a_state_that_cannot_be_read_back(self, experiment):
        engine = trainer()
        Checkpointer(experiment, objects={"bad": Unsavable()}).attach(engine, every=1)
        with pytest.raises(WrongType, match=r"bad\['value'\] is a builtins.object"):
            engine.run(source())
        assert engine.state.iteration == 0  # told before anything is trained

    def test_numbers(self, experiment):
        for options in ({"every": 0}, {"keep": 0}, {"keep_best": 0}, {"mode": "highest"}):
            with pytest.raises(WrongValue):
                Checkpointer(experiment).attach(trainer(), **options)

    def test_a_best_metric_that_nobody_measures(self, experiment):
        engine = trainer()
        Checkpointer(experiment).attach(engine, best="accuracy")
        with pytest.raises(EngineError, match="needs an evaluator"):
            engine.run(source())
        engine, evaluator = trainer(), Engine(lambda engine, batch: None)
        Checkpointer(experiment).attach(engine, evaluator, best="acuracy")
        evaluator.add_event_handler(
            Events.EPOCH_COMPLETED, lambda: evaluator.state.metrics.update(accuracy=1.0)
        )
        engine.add_event_handler(Events.EPOCH_COMPLETED, lambda: evaluator.run([0]))
        with pytest.raises(EngineError, match="Did you mean 'accuracy'"):
            engine.run(source())


SCRIPT = """
import sys, time
import torch
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader
from ignite.engine import Events
from fireworks import *

rows = [{"x": torch.full((3,), float(i)), "label": i % 2} for i in range(400)]
model = nn.Linear(3, 2)
trainer = create_trainer(
    model, torch.optim.SGD(model.parameters(), lr=0.01), cross_entropy,
    inputs="x", target="label", device="cpu",
)
experiment = Experiment("run", root=sys.argv[1])
ExperimentLogger(experiment).attach(trainer)
Checkpointer(experiment).attach(trainer, every=10_000)
resume(trainer, experiment)

@trainer.on(Events.ITERATION_COMPLETED(every=5))
def slow():
    print(trainer.state.iteration, flush=True)
    time.sleep(0.05)

with experiment:
    trainer.run(DataLoader(rows, batch_size=2, num_workers=1), max_epochs=int(sys.argv[2]))
print("complete at", trainer.state.iteration)
"""


def test_sigterm_writes_a_checkpoint_and_fireworks_resume_goes_on(tmp_path):
    script = tmp_path / "train.py"
    script.write_text(SCRIPT)
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", str(script), str(tmp_path / "runs"), "1"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    with process:
        assert process.stdout is not None and process.stderr is not None
        assert process.stdout.readline() == "5\n"
        process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + 60
        while process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
        errors = process.stderr.read()
        rest = process.stdout.read()
    assert process.returncode == PREEMPTED == os.EX_TEMPFAIL, errors
    assert "complete" not in rest
    run = tmp_path / "runs" / "run-0001"
    assert load_experiment(run).status == "stopped"
    (described,) = (run / "checkpoints").glob("step-*.json")
    stopped = json.loads(described.read_bytes())["iteration"]
    assert 5 <= stopped < 200
    code = "from fireworks.cli import main; import sys; sys.argv[0] = 'fireworks'; main()"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, "resume", str(run)],
        capture_output=True, text=True, cwd=tmp_path,
    )  # fmt: skip
    assert "complete at 200" in done.stdout, done.stderr
    assert done.returncode == 0
    assert [each.name for each in (tmp_path / "runs").iterdir()] == ["run-0001"]
    experiment = load_experiment(run)
    assert experiment.status == "completed"
    assert experiment.metrics("train/loss")["step"].tolist() == list(range(1, 201))
