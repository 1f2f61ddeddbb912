"""Training on pytorch-ignite: trainers, evaluators and handlers."""

from fireworks.engine.checkpoint_file import read_state
from fireworks.engine.checkpointer import Checkpointer
from fireworks.engine.events import FireworksEvents, event_named, register_events
from fireworks.engine.experiment_logger import ExperimentLogger
from fireworks.engine.parts import trainer_parts
from fireworks.engine.preemption import PREEMPTED
from fireworks.engine.resuming import resume
from fireworks.engine.tensorboard_logger import TensorBoardLogger
from fireworks.engine.trainer import create_evaluator, create_trainer
from fireworks.engine.update import StepOutput

__all__ = [
    "PREEMPTED",
    "Checkpointer",
    "ExperimentLogger",
    "FireworksEvents",
    "StepOutput",
    "TensorBoardLogger",
    "create_evaluator",
    "create_trainer",
    "event_named",
    "read_state",
    "register_events",
    "resume",
    "trainer_parts",
]
