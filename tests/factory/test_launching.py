"""Sweeps that are started from where people start them: notebooks, pytest, the command line."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from fireworks.experiment import load_experiment
from fireworks.factory import Factory, ForkServer, Trial

# Runs cells in a kernel as a notebook does, and prints what they print.
CLIENT = """
import sys
from jupyter_client.manager import start_new_kernel

manager, client = start_new_kernel(kernel_name="python3")
def show(message):
    content = message["content"]
    if message["msg_type"] == "stream" and content["name"] == "stdout":
        print(content["text"], end="")
    elif message["msg_type"] == "error":
        print("\\n".join(content["traceback"]), file=sys.stderr)
try:
    for cell in open("cells.py").read().split("# %%"):
        reply = client.execute_interactive(cell, timeout=90, output_hook=show)
        if reply["content"]["status"] != "ok":
            sys.exit(1)
finally:
    client.stop_channels()
    manager.shutdown_kernel()
"""

CELLS = """
from fireworks.factory import Factory, Random
from scale import factor
import numpy as np
offsets = np.arange(3)

class Model:
    def __init__(self, x): self.x = x
    def score(self): return self.x * factor + offsets[1]
# %%
def train(trial):
    print("in the process of", trial)
    return {"accuracy": Model(trial.params["x"]).score()}

factory = Factory(train, propose=Random({"x": (0.0, 1.0)}), maximize="accuracy", seed=1)
factory.run(trials=4)
# %%
print(factory.trials["state"].tolist())
# %%
offsets = np.arange(3) * 100
factory = Factory(
    train, propose=Random({"x": (0.0, 1.0)}), maximize="accuracy", seed=1, isolation="warm"
)
factory.run(trials=4)
print(factory.best["accuracy"] > 100)
"""


@pytest.mark.slow
def test_cells_of_a_notebook(tmp_path: Path) -> None:
    (tmp_path / "client.py").write_text(CLIENT)
    (tmp_path / "cells.py").write_text(CELLS)
    (tmp_path / "scale.py").write_text("factor = 2")
    done = subprocess.run(
        [sys.executable, "client.py"],
        cwd=tmp_path,
        env={**os.environ, "IPYTHONDIR": str(tmp_path), "JUPYTER_RUNTIME_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [str(["completed"] * 4), "True"]


TEST = """
from fireworks.factory import Factory, Grid, Trial

SCALE = 3

class Model:
    def score(self, x):
        return x * SCALE

def train(trial):
    return {"accuracy": Model().score(trial.params["x"])}

def test_sweep(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    factory = Factory(train, propose=Grid({"x": [1, 2]}), maximize="accuracy")
    factory.run(trials=2)
    assert factory.best["accuracy"] == 6
"""


@pytest.mark.parametrize("mode", ["prepend", "importlib"])
def test_a_test_of_pytest(tmp_path: Path, mode: str) -> None:
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_model.py").write_text(TEST)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-W", "error", f"--import-mode={mode}", "-W",
         "ignore:`torch.jit:DeprecationWarning", "tests"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed" in done.stdout


def test_a_module_path_on_the_command_line(tmp_path: Path) -> None:
    package = tmp_path / "models" / "vision"
    package.mkdir(parents=True)
    (tmp_path / "models" / "__init__.py").write_text("")
    (package / "__init__.py").write_text("")
    (package / "layers.py").write_text("factor = 2")
    (package / "tuned.py").write_text(
        "from .layers import factor\n"
        "minimize = 'loss'\n"
        "def train(trial):\n"
        "    assert __name__ == 'models.vision.tuned'\n"
        "    return {'loss': trial.params['x'] * factor}\n"
        "def space(trial): return {'x': trial.suggest_float('x', 1, 2)}\n"
    )
    done = subprocess.run(
        [Path(sys.executable).with_name("fireworks"), "sweep", "models.vision.tuned", "--trials=3"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    with load_experiment(tmp_path / "runs" / "tuned-0001") as experiment:
        assert experiment.status == "completed" and len(experiment.trials) == 3


def test_a_module_that_was_edited_is_imported_anew(
    make: Callable[..., Factory], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = tmp_path / "an_edited_module.py"
    module.write_text("value = 1")
    monkeypatch.syspath_prepend(str(tmp_path))

    def train(trial: Trial) -> dict[str, float]:
        import an_edited_module  # pyright: ignore[reportMissingImports]

        return {"accuracy": an_edited_module.value}

    with ForkServer(["an_edited_module"]) as server:
        factory = make(train, backend=server)
        factory.run(trials=1)
        first = server.server_pid
        factory.run(trials=2)
        assert server.server_pid == first
        module.write_text("value = 22")
        factory.run(trials=3)
        assert server.server_pid != first
    assert factory.trials["accuracy"].tolist() == [1, 1, 22]
