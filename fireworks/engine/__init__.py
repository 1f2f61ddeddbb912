"""Training on pytorch-ignite: trainers, evaluators and handlers."""

from fireworks.engine.experiment_logger import ExperimentLogger
from fireworks.engine.tensorboard_logger import TensorBoardLogger
from fireworks.engine.trainer import StepOutput, create_evaluator, create_trainer

__all__ = [
    "ExperimentLogger",
    "StepOutput",
    "TensorBoardLogger",
    "create_evaluator",
    "create_trainer",
]
