"""Going on with a sweep: what it takes over, what it refuses, and what it does again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.distributions import FloatDistribution

from fireworks.errors import (
    ExperimentInUse,
    ExperimentNotFound,
    StateMismatch,
    SweepFailed,
    WrongValue,
)
from fireworks.experiment import Experiment, load_experiment
from fireworks.factory import Factory, FactoryEvents, ForkServer, Grid, Halving, Trial

sys.path.insert(0, str(Path(__file__).parent))
from in_thread import InThread

Make = Callable[..., Factory]
SPACE = {"x": FloatDistribution(0, 1)}


def identity(trial: Trial) -> dict[str, float]:
    return {"accuracy": trial.params["x"]}


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def run(make: Make) -> Path:
    """A sweep of four trials that is over."""
    factory = make(identity, propose=SPACE, experiment="first", retries=1)
    factory.run(trials=4)
    return factory.experiment.path


def test_a_sweep_goes_on_as_if_it_had_not_ended(run: Path, make: Make, server: ForkServer) -> None:
    whole = make(identity, propose=SPACE, experiment="whole")
    whole.run(trials=9)
    factory = Factory.resume(run, identity, propose=SPACE, backend=server)
    assert factory.trials["x"].tolist() == whole.trials["x"].tolist()[:4]
    assert factory.best_trial is not None and factory.seed == 1
    factory.run(trials=9)
    expected = whole.trials.drop(columns="seconds")
    assert factory.trials.drop(columns="seconds").equals(expected)
    with load_experiment(run) as experiment:
        assert experiment.status == "completed" and len(experiment.trials) == 9


def test_a_factory_opens_its_own_experiment_again(make: Make) -> None:
    factory = make(identity, experiment="again")
    factory.run(trials=2)
    factory.run(trials=5)
    assert len(factory.trials) == 5 and factory.experiment.path.name == "again-0001"


def test_options_are_as_they_were_unless_given(run: Path, server: ForkServer) -> None:
    with Factory.resume(run, identity, propose=SPACE, backend=server, workers=1) as factory:
        settings = factory._sweep.settings  # pyright: ignore[reportPrivateUsage]
        assert (settings.workers, settings.retries, settings.ordered) == (1, 1, 2)


def changed(trial: Trial) -> dict[str, float]:
    return {"accuracy": trial.params["x"] + 1}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"train": changed}, r"code of train.*\+.*params\[\"x\"\] \+ 1"),
        ({"propose": {"x": FloatDistribution(0, 2)}}, "space was"),
        ({"propose": Grid({"x": [1]})}, "space was"),
        ({"sampler": "random"}, "space was.*TPESampler.*RandomSampler"),
        ({"seed": 7}, "seed was 1 and is now 7"),
        ({"ordered": 4}, "ordered was 2 and is now 4"),
        ({"minimize": "accuracy"}, "objectives was"),
        ({"maximize": "accuracy", "constraints": ["accuracy <= 1"]}, "constraints was"),
        ({"pruner": "median"}, "pruner was None"),
        ({"scheduler": Halving()}, "scheduler was None"),
    ],
)
def test_another_sweep_is_refused_and_shown(
    run: Path, server: ForkServer, options: Any, message: str
) -> None:
    arguments = {"train": identity, "propose": SPACE, "backend": server, **options}
    before = (run / "experiment.json").read_bytes()
    with pytest.raises(StateMismatch, match="(?s)" + message) as raised:
        Factory.resume(run, **arguments)
    assert "force=True" in str(raised.value)
    assert (run / "experiment.json").read_bytes() == before
    factory = Factory.resume(run, force=True, **arguments)
    if "minimize" not in options:
        with factory:
            factory.run(trials=5)
            events = factory.experiment.sql("SELECT data FROM events WHERE kind = 'changed'")
            assert len(events) == 1
    factory.close()


def test_an_experiment_that_holds_another_sweep_is_refused(make: Make) -> None:
    make(identity, propose=SPACE).run(trials=1)
    with pytest.raises(StateMismatch, match="not the sweep that was begun"):
        make(identity, propose=Grid({"x": [1]})).run(trials=2)


def test_what_cannot_be_resumed_says_so(make: Make, server: ForkServer) -> None:
    def local(trial: Trial) -> dict[str, float]:
        return {"accuracy": 1.0}

    nameless = make(local, propose=SPACE, experiment="first")
    nameless.run(trials=1)
    run = nameless.experiment.path
    with pytest.raises(ExperimentNotFound, match="Did you mean"):
        Factory.resume("runs/first-0002", identity, propose=SPACE)
    with Experiment("plain") as plain:
        pass
    with pytest.raises(WrongValue, match="holds no sweep"):
        Factory.resume(plain.path, identity, propose=SPACE)
    with pytest.raises(WrongValue, match="train= must be given again"):
        Factory.resume(run, propose=SPACE)
    with closing(InThread(identity)) as backend:
        judged = make(
            identity,
            propose=SPACE,
            evaluate=lambda trial, trained: trained,
            experiment="judged",
            backend=backend,
        )
        judged.run(trials=1)
    with pytest.raises(WrongValue, match="evaluate= must be given again"):
        Factory.resume(judged.experiment.path, identity, propose=SPACE)
    owner = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sys; from fireworks.experiment import load_experiment;"
            "kept = load_experiment(sys.argv[1], write=True); print('!', flush=True); input()",
            run,
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with owner:
        assert owner.stdout is not None
        owner.stdout.read(1)
        with pytest.raises(ExperimentInUse, match=str(owner.pid)):
            Factory.resume(run, local, propose=SPACE, backend=server)
        owner.communicate(b"\n")


def test_functions_that_can_be_imported_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tuned.py").write_text(
        "def train(trial):\n    return trial.params['x']\n"
        "def evaluate(trial, trained):\n    return {'accuracy': trained}\n"
        "def stop(params, metrics):\n    return len(params) == 3\n"
        "def space(trial):\n    return {'x': trial.suggest_float('x', 0, 1)}\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    import tuned  # pyright: ignore[reportMissingImports]

    try:
        parts: Any = {"propose": tuned.space, "evaluate": tuned.evaluate, "stop": tuned.stop}
        first = Factory(tuned.train, maximize="accuracy", seed=2, ordered=1, **parts)
        with first:
            first.run(trials=2)
            path = first.experiment.path
        with Factory.resume(path) as factory:
            factory.run(trials=9)
            assert factory.trials["state"].tolist() == ["completed"] * 3
    finally:
        del sys.modules["tuned"]


def test_stopped_trials_run_again(make: Make) -> None:
    def train(trial: Trial) -> dict[str, float]:
        trial.report(0, 1)
        if trial.attempt == 1:
            time.sleep(60)
        return {"accuracy": trial.params["x"]}

    factory = make(train, grace=0.1)

    @factory.on(FactoryEvents.DECIDED(once=2))
    def interrupt() -> None:
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        factory.run(trials=2)
    assert factory.trials["state"].tolist() == ["stopped", "stopped"]
    factory.run(trials=2)
    assert factory.trials["state"].tolist() == ["completed", "completed"]
    assert factory.trials["attempts"].tolist() == [2, 2]


def test_a_proposer_that_raised_is_put_in_order_again(make: Make) -> None:
    fails = [True]

    def space(trial: optuna.Trial) -> dict[str, Any]:
        x = trial.suggest_float("x", 0, 1)
        if trial.number == 2 and fails:
            raise RuntimeError("not now")
        return {"x": x}

    factory, undisturbed = make(identity, propose=space), make(identity, experiment="other")
    undisturbed.run(trials=6)
    with pytest.raises(RuntimeError, match="not now"):
        factory.run(trials=6)
    fails.clear()
    factory.run(trials=6)
    assert factory.trials["x"].tolist() == undisturbed.trials["x"].tolist()


def test_no_trial_of_a_failed_sweep_is_tried_again(make: Make) -> None:
    def train(trial: Trial) -> dict[str, float]:
        raise ValueError("no")

    factory = make(train)
    with pytest.raises(SweepFailed):
        factory.run(trials=2)
    with pytest.raises(SweepFailed):
        factory.run(trials=3)
    assert factory.trials["attempts"].tolist() == [1, 1, 1]


SCRIPT = """
import os, signal, sys, time
import torch
from fireworks.engine import create_evaluator, create_trainer
from fireworks.experiment import Experiment
from fireworks.factory import Factory
from ignite.engine import Events
from ignite.metrics import Loss
from torch import nn

def train(trial):
    model = nn.Linear(3, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=trial.params["lr"])
    batches = [{"x": torch.ones(4, 3), "y": torch.zeros(4, 1)}] * 2
    columns = {"inputs": ["x"], "target": "y"}
    trainer = create_trainer(model, optimizer, nn.MSELoss(), **columns)
    evaluator = create_evaluator(model, metrics={"loss": Loss(nn.MSELoss())}, **columns)

    @trainer.on(Events.EPOCH_STARTED)
    def note():
        print(trainer.state.epoch, flush=True)
        if trainer.state.epoch == 4:
            open("reached", "a").close()
            while trial.attempt == 1:
                time.sleep(0.1)

    trial.attach(trainer, evaluator, data=batches, report="loss")
    trainer.run(batches, max_epochs=6)
    return evaluator.state.metrics

def space(trial):
    return {"lr": trial.suggest_float("lr", 1e-3, 1e-1, log=True)}

if __name__ == "__main__":
    options = dict(propose=space, workers=1, seed=5)
    if len(sys.argv) > 1:
        factory = Factory.resume(sys.argv[1], train, **options)
    else:
        factory = Factory(train, minimize="loss", experiment=Experiment("killed"), **options)
    factory.run(trials=1)
"""


@pytest.mark.slow
def test_a_killed_sweep_goes_on_from_its_checkpoints(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(SCRIPT)
    process = subprocess.Popen([sys.executable, "script.py"], stderr=subprocess.DEVNULL)
    with process:
        deadline = time.monotonic() + 60
        while not (tmp_path / "reached").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        process.kill()
    done = subprocess.run(
        [sys.executable, "script.py", "runs/killed-0001"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "runs/killed-0001/trials/0"
    assert (folder / "attempt-1/stdout.txt").read_text().split() == ["1", "2", "3", "4"]
    # The checkpoint of an epoch is taken when the next one's first batch is asked for.
    assert (folder / "attempt-2/stdout.txt").read_text().split() == ["3", "4", "5", "6"]
    with load_experiment(tmp_path / "runs/killed-0001") as experiment:
        attempts = experiment.sql("SELECT state, reason FROM attempts ORDER BY number")
        reports = experiment.sql("SELECT step FROM reports ORDER BY step")["step"].tolist()
        losses = experiment.sql("SELECT step FROM metric WHERE name = 'valid/loss' ORDER BY step")
    assert attempts["state"].tolist() == ["stopped", "completed"]
    assert "process ended" in attempts["reason"][0]
    assert reports == [1, 2, 3, 4, 5, 6] and len(losses) == 6
