"""Models compiled by ``torch.compile``: what they learn; checkpoints know no difference."""

# Ignite types what an engine's state holds more narrowly than it is.
# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable

import pytest
import torch
from ignite.engine import Engine
from torch import nn
from torch.nn.functional import cross_entropy

from fireworks import (
    Checkpointer,
    Experiment,
    Message,
    create_evaluator,
    create_trainer,
    load_experiment,
    resume,
)
from fireworks.engine import read_state, trainer_parts
from fireworks.errors import StateMismatch
from fireworks.sources import BatchingSource, MessageSource, ShufflerSource

GENERATOR = torch.Generator().manual_seed(0)
ROWS = Message({"x": torch.randn(40, 3, generator=GENERATOR), "label": torch.arange(40) % 2})


def source():
    return MessageSource(ROWS) >> ShufflerSource(0) >> BatchingSource(8)


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))


def trainer(model: nn.Module, **options) -> Engine:
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    return create_trainer(
        model, optimizer, cross_entropy, inputs="x", target="label", device="cpu", **options
    )


def weights(engine: Engine) -> list[torch.Tensor]:
    return list(trainer_parts(engine)["model"].parameters())


def with_option() -> Engine:
    return trainer(network(), compile={"backend": "eager"}, ema=0.9)


def by_the_user() -> Engine:
    return trainer(torch.compile(network(), backend="eager"), ema=0.9)


def in_part() -> Engine:
    model = network()
    model[0] = torch.compile(model[0], backend="eager")
    return trainer(model, ema=0.9)


def not_at_all() -> Engine:
    return trainer(network(), ema=0.9)


def check_learning(backends: list[str]) -> None:
    """Compare models compiled in these ways with the model itself; for a process of its own."""
    plain = trainer(network())
    plain.run(source(), max_epochs=2)
    for backend in backends:
        ours = trainer(network(), compile={"backend": backend})
        ours.run(source(), max_epochs=2)
        for a, b in zip(weights(ours), weights(plain), strict=True):
            torch.testing.assert_close(a, b)
        print(backend, "learns the same")


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_compiled_model_learns_what_the_model_itself_learns(tmp_path):
    """In a process of its own: these compilers keep threads, processes and files."""
    backends = ["aot_eager", *(["inductor"] if shutil.which("g++") else [])]
    program = (
        "import torch._inductor.config as config\n"
        "config.cpp_cache_precompile_headers = False  # they take longer than all the rest\n"
        "config.cpp.simdlen = 1  # no trials of what the processor can\n"
        f"from tests.engine.test_compiled import check_learning\ncheck_learning({backends})\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program],
        env={
            **os.environ,
            "TORCHINDUCTOR_CACHE_DIR": str(tmp_path),
            "TORCHINDUCTOR_COMPILE_THREADS": "1",
        },
        capture_output=True,
        text=True,
    )
    assert done.stdout.split("\n")[:-1] == [f"{each} learns the same" for each in backends], (
        done.stderr
    )


@pytest.mark.parametrize("saved_as", [with_option, by_the_user, in_part, not_at_all])
def test_checkpoints_go_from_compiled_to_plain_models_and_back(tmp_path, saved_as):
    with Experiment("run", root=tmp_path) as experiment:
        first = saved_as()
        saver = Checkpointer(experiment).attach(first, every=2)
        first.run(source(), max_epochs=1)
    assert saver.last is not None
    network().load_state_dict(read_state(saver.last)["parts"]["model"])  # names as they were
    whole = not_at_all()
    whole.run(source(), max_epochs=2)
    ways: list[Callable[[], Engine]] = [with_option, by_the_user, in_part, not_at_all]
    for way in ways:
        engine = way()
        with load_experiment(experiment.path, write=True) as again:
            resume(engine, again)
            engine.run(source(), max_epochs=2)
        assert engine.state.iteration == 10
        for a, b in zip(weights(engine), weights(whole), strict=True):
            assert torch.equal(a, b)
        averages = (trainer_parts(each)["ema"].parameters() for each in (engine, whole))
        assert all(torch.equal(a, b) for a, b in zip(*averages, strict=True))


def test_a_compiled_model_that_changed_is_refused_by_its_own_names(tmp_path):
    with Experiment("run", root=tmp_path) as experiment:
        first = by_the_user()
        Checkpointer(experiment).attach(first)
        first.run(source(), max_epochs=1)
        other = trainer(torch.compile(nn.Linear(3, 2), backend="eager"), ema=0.9)
        with pytest.raises(StateMismatch, match=r"missing here: 0\.bias.*checkpoint: bias, weight"):
            resume(other, experiment)


def test_a_compiled_model_is_evaluated():
    model = network()
    evaluator = create_evaluator(torch.compile(model, backend="eager"), inputs="x", device="cpu")
    evaluator.run([ROWS])
    with torch.no_grad():
        assert torch.equal(evaluator.state.output, model(ROWS["x"]))


def test_shapes_that_do_not_fit_are_told_of_compiled_models_too():
    engine = with_option()
    # Where torch has compiled for any shape before, it does not tell the numbers of this one.
    with pytest.raises(RuntimeError, match=r"X \[3, 4\]") as caught:
        engine.run([Message({"x": torch.randn(4, 5), "label": torch.arange(4) % 2})])
    assert any("(4, 5)" in note for note in caught.value.__notes__)
