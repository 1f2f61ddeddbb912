"""The fork server: what it imports, what it refuses to keep, and what it says when it fails."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fireworks.errors import SweepFailed
from fireworks.factory import Factory, ForkServer, Trial
from fireworks.factory.backend import Backend, Ended, Job, Notice

Make = Callable[..., Factory]


@pytest.fixture
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "modules"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    return folder


def test_a_module_that_starts_a_thread_or_uses_cuda_is_named_and_left_out(
    modules: Path, make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    (modules / "harmless_module.py").write_text(
        "import atexit, os\nwhere = os.getpid()\natexit.register(print, 'the server')"
    )
    (modules / "threaded_module.py").write_text(
        "from threading import Timer\ntimer = Timer(60, print)\ntimer.daemon = True\ntimer.start()"
    )
    (modules / "cuda_module.py").write_text(
        "import os, torch\n"
        "where = os.getpid()\n"
        "if torch.cuda.is_available():\n"
        "    torch.ones(1, device='cuda')\n"
        "else:\n"
        "    torch.cuda._initialized = True  # what the first use of CUDA leaves behind\n"
    )
    (modules / "missing_module.py").write_text("import not_there_at_all")

    def train(trial: Trial) -> dict[str, float]:
        import cuda_module  # pyright: ignore[reportMissingImports]
        import harmless_module  # pyright: ignore[reportMissingImports]
        import threaded_module  # pyright: ignore[reportMissingImports]

        assert threaded_module
        places = {"where": harmless_module.where, "cuda": cuda_module.where, "here": os.getpid()}
        return {"accuracy": 1.0, **places}

    optional = ["threaded_module", "cuda_module", "harmless_module", "missing_module"]
    with ForkServer(optional=optional) as server:
        factory = make(train, backend=server)
        factory.run(trials=1)
        assert factory.best is not None
        assert factory.best["where"] == server.server_pid != factory.best["here"]
        assert factory.best["cuda"] == factory.best["here"]
    stdout = factory.experiment.path / "trials" / "0" / "attempt-1" / "stdout.txt"
    assert stdout.read_text() == "", "a trial ran the exit handlers of the fork server"
    warnings = [each.getMessage() for each in caplog.records if each.levelno == logging.WARNING]
    assert any("'threaded_module'" in each and "starts a thread" in each for each in warnings)
    assert any("'cuda_module'" in each and "uses CUDA" in each for each in warnings)
    assert any("'missing_module'" in each and "not_there_at_all" in each for each in warnings)
    assert not any("harmless" in each for each in warnings)


def test_an_import_that_fails_is_reported_whole(modules: Path) -> None:
    (modules / "broken_module.py").write_text("def f():\n    raise RuntimeError('so broken')\nf()")
    expected = r"(?s)'broken_module'.*in f\n.*RuntimeError: so broken"
    with ForkServer(["broken_module"]) as server, pytest.raises(SweepFailed, match=expected):
        server.start()


def test_a_server_that_dies_while_it_imports_is_reported(modules: Path) -> None:
    (modules / "deadly_module.py").write_text("import os\nos.write(2, b'last words')\nos._exit(7)")
    expected = r"(?s)while it imported.*last words"
    with ForkServer(["deadly_module"]) as server, pytest.raises(SweepFailed, match=expected):
        server.start()


class Losing(Backend):
    """Every attempt is lost."""

    def __init__(self) -> None:
        self._lost: list[Notice] = []

    def submit(self, job: Job) -> None:
        self._lost.append(Ended(job.id, lost="the machine is gone"))

    def send(self, attempt: str, message: Any) -> None: ...

    def poll(self, timeout: float | None = None) -> list[Notice]:
        lost, self._lost = self._lost, []
        return lost

    def kill(self, attempt: str, *, grace: float) -> None: ...

    def wake(self) -> None: ...

    def close(self) -> None: ...


def test_losing_one_attempt_after_the_other_ends_the_sweep(make: Make) -> None:
    factory = make(lambda trial: {"accuracy": 1.0}, backend=Losing())
    with pytest.raises(SweepFailed, match="3 attempts in a row were lost: the machine is gone"):
        factory.run(trials=50)


def test_windows_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "win32")
    with pytest.raises(SweepFailed, match="needs Linux.*WSL"):
        ForkServer()


def test_a_trial_starts_in_tens_of_milliseconds(make: Make) -> None:
    """The promise, with a wide margin for a busy machine; benchmarks measure it properly."""
    factory = make(lambda trial: {"accuracy": 1.0, "entered": time.time()}, workers=1)
    factory.run(trials=2)
    began = time.monotonic()
    factory.run(trials=7)
    assert (time.monotonic() - began) / 5 < 0.5


SCRIPT = """
import sys, time
import optuna
from fireworks.experiment import Experiment
from fireworks.factory import Factory

def train(trial):
    for step in range(3):
        time.sleep(trial.params["x"] / 50)
        trial.report(step, trial.params["x"] * (step + 1))
    return {"accuracy": trial.params["x"], "seed": trial.seed}

def space(trial):
    return {"x": trial.suggest_float("x", 0, 1), "k": trial.suggest_int("k", 1, 64, log=True)}

with Experiment("both", root="runs") as experiment:
    factory = Factory(
        train, propose=space, maximize="accuracy", experiment=experiment, seed=4, ordered=2,
        workers=int(sys.argv[1]), pruner=optuna.pruners.MedianPruner(n_startup_trials=3),
    )
    factory.run(trials=12)
factory.trials.drop(columns=["seconds"]).to_json(sys.argv[2])
print(factory.experiment.path.name)
"""


def test_two_sweeps_of_a_script_at_once_in_one_root_are_equal(tmp_path: Path) -> None:
    """No `if __name__ == "__main__"`; one worker and two workers decide the same."""
    (tmp_path / "script.py").write_text(SCRIPT)
    processes = [
        subprocess.Popen(
            [sys.executable, "script.py", str(workers), f"trials-{workers}.json"],
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for workers in (1, 2)
    ]
    outputs = [process.communicate(timeout=100) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    assert {out.strip() for out, _ in outputs} == {"both-0001", "both-0002"}
    first, second = ((tmp_path / f"trials-{each}.json").read_text() for each in (1, 2))
    assert first == second and "pruned" in first
    # Progress is there by default where logging was not set up.
    assert "12/12 trials" in outputs[0][1]
