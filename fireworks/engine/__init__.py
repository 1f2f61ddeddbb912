"""Training on pytorch-ignite: trainers, evaluators and handlers."""

from fireworks.engine.experiment_logger import ExperimentLogger
from fireworks.engine.parts import trainer_parts
from fireworks.engine.tensorboard_logger import TensorBoardLogger
from fireworks.engine.trainer import create_evaluator, create_trainer
from fireworks.engine.update import StepOutput

__all__ = [
    "ExperimentLogger",
    "StepOutput",
    "TensorBoardLogger",
    "create_evaluator",
    "create_trainer",
    "trainer_parts",
]
