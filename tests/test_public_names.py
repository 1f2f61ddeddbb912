"""The public names are there, are listed, and cost nothing until they are used."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys

import pytest

import fireworks

PACKAGES = [
    "cache",
    "database",
    "engine",
    "errors",
    "experiment",
    "factory",
    "message",
    "plot",
    "source",
    "sources",
]


def run(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout


def test_the_list():
    assert sorted(fireworks.__all__) == [
        "Checkpointer",
        "EarlyStopping",
        "Experiment",
        "ExperimentLogger",
        "Factory",
        "FactoryEvents",
        "Graph",
        "Message",
        "MessageCache",
        "Source",
        "TensorBoardLogger",
        "Trial",
        "VisdomLogger",
        "__version__",
        "compare",
        "concat",
        "create_evaluator",
        "create_table",
        "create_trainer",
        "experiments",
        "load_experiment",
        "merge",
        "resume",
        "train_test_split",
    ]


def test_every_name_is_there_and_at_home():
    for name in fireworks.__all__:
        value = getattr(fireworks, name)
        if name != "__version__":
            # Ignite's own early stopping is handed on as it is.
            home = "ignite." if name == "EarlyStopping" else "fireworks."
            assert value.__module__.startswith(home)
            assert value.__doc__
    assert set(fireworks.__all__) <= set(dir(fireworks))


def test_what_is_not_there():
    with pytest.raises(AttributeError, match="no attribute 'Mesage'"):
        _ = fireworks.Mesage  # pyright: ignore[reportAttributeAccessIssue]


@pytest.mark.parametrize("package", [each for each in PACKAGES if each != "errors"])
def test_what_a_package_names_exists(package):
    module = importlib.import_module(f"fireworks.{package}")
    assert module.__all__
    assert all(hasattr(module, name) for name in module.__all__)


def test_the_tree_of_errors_is_drawn_as_it_is():
    from fireworks import errors

    for name, value in vars(errors).items():
        if isinstance(value, type) and issubclass(value, Exception):
            assert name in (errors.__doc__ or ""), f"{name} is missing in the drawing"
            assert value is errors.FireworksError or len(value.__mro__) > 4, f"{name}: no built-in"


def test_import_loads_nothing_heavy():
    code = "import sys, json, fireworks; print(json.dumps(sorted(sys.modules)))"
    loaded = {name.partition(".")[0] for name in json.loads(run(code))}
    heavy = {
        "torch",
        "numpy",
        "pandas",
        "pyarrow",
        "sqlalchemy",
        "ignite",
        "optuna",
        "rich",
        "typer",
    }
    assert not loaded & heavy


def test_a_name_loads_what_it_needs_and_no_more():
    code = "import sys, json; from fireworks import Message; print(json.dumps(sorted(sys.modules)))"
    loaded = {name.partition(".")[0] for name in json.loads(run(code))}
    assert "torch" in loaded
    assert not loaded & {"ignite", "optuna", "sqlalchemy", "tensorboard", "rich", "typer"}
