"""Experiments: a folder for everything that one piece of work produced."""

from fireworks.experiment.experiment import Experiment, load_experiment, open_attempt

__all__ = ["Experiment", "load_experiment", "open_attempt"]
