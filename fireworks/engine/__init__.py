"""Training on pytorch-ignite: trainers, evaluators and handlers."""

from ignite.handlers.early_stopping import EarlyStopping
from ignite.handlers.terminate_on_nan import TerminateOnNan
from ignite.handlers.time_limit import TimeLimit

from fireworks.engine.checkpoint_file import read_state
from fireworks.engine.checkpointer import Checkpointer
from fireworks.engine.data_profiler import DataProfiler, EpochProfile
from fireworks.engine.events import FireworksEvents, event_named, register_events
from fireworks.engine.experiment_logger import ExperimentLogger
from fireworks.engine.model_summary import Layer, ModelSummary
from fireworks.engine.parts import trainer_parts
from fireworks.engine.prediction_writer import PredictionWriter
from fireworks.engine.preemption import PREEMPTED
from fireworks.engine.prefetch import Prefetch
from fireworks.engine.progress_bar import ProgressBar
from fireworks.engine.resuming import resume
from fireworks.engine.system_monitor import SystemMonitor
from fireworks.engine.tensorboard_logger import TensorBoardLogger
from fireworks.engine.trainer import create_evaluator, create_trainer
from fireworks.engine.update import StepOutput
from fireworks.engine.visdom_logger import VisdomLogger
from fireworks.engine.weight_statistics import WeightStatistics

__all__ = [
    "PREEMPTED",
    "Checkpointer",
    "DataProfiler",
    "EarlyStopping",
    "EpochProfile",
    "ExperimentLogger",
    "FireworksEvents",
    "Layer",
    "ModelSummary",
    "PredictionWriter",
    "Prefetch",
    "ProgressBar",
    "StepOutput",
    "SystemMonitor",
    "TensorBoardLogger",
    "TerminateOnNan",
    "TimeLimit",
    "VisdomLogger",
    "WeightStatistics",
    "create_evaluator",
    "create_trainer",
    "event_named",
    "read_state",
    "register_events",
    "resume",
    "trainer_parts",
]
