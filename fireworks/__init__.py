"""Fireworks: from raw data to a trained, tuned and documented model."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fireworks.cache import MessageCache as MessageCache
    from fireworks.database import create_table as create_table
    from fireworks.engine import Checkpointer as Checkpointer
    from fireworks.engine import EarlyStopping as EarlyStopping
    from fireworks.engine import ExperimentLogger as ExperimentLogger
    from fireworks.engine import TensorBoardLogger as TensorBoardLogger
    from fireworks.engine import VisdomLogger as VisdomLogger
    from fireworks.engine import create_evaluator as create_evaluator
    from fireworks.engine import create_trainer as create_trainer
    from fireworks.engine import resume as resume
    from fireworks.experiment import Experiment as Experiment
    from fireworks.experiment import compare as compare
    from fireworks.experiment import experiments as experiments
    from fireworks.experiment import load_experiment as load_experiment
    from fireworks.factory import Factory as Factory
    from fireworks.factory import FactoryEvents as FactoryEvents
    from fireworks.factory import Trial as Trial
    from fireworks.message import Message as Message
    from fireworks.message import concat as concat
    from fireworks.message import merge as merge
    from fireworks.source import Graph as Graph
    from fireworks.source import Source as Source
    from fireworks.sources import train_test_split as train_test_split

# What is used loads what it needs: `import fireworks` itself imports neither torch nor pandas.
_HOMES = {
    "MessageCache": "fireworks.cache",
    "create_table": "fireworks.database",
    "Checkpointer": "fireworks.engine",
    "EarlyStopping": "fireworks.engine",
    "ExperimentLogger": "fireworks.engine",
    "TensorBoardLogger": "fireworks.engine",
    "VisdomLogger": "fireworks.engine",
    "create_evaluator": "fireworks.engine",
    "create_trainer": "fireworks.engine",
    "resume": "fireworks.engine",
    "Experiment": "fireworks.experiment",
    "compare": "fireworks.experiment",
    "experiments": "fireworks.experiment",
    "load_experiment": "fireworks.experiment",
    "Factory": "fireworks.factory",
    "FactoryEvents": "fireworks.factory",
    "Trial": "fireworks.factory",
    "Message": "fireworks.message",
    "concat": "fireworks.message",
    "merge": "fireworks.message",
    "Graph": "fireworks.source",
    "Source": "fireworks.source",
    "train_test_split": "fireworks.sources",
}

__version__ = "0.1.0"
__all__ = [
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


def __getattr__(name: str) -> object:
    if name in _HOMES:
        value = getattr(import_module(_HOMES[name]), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'fireworks' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
