"""Experiments: a folder for everything that one piece of work produced."""

from fireworks.experiment.comparison import Comparison, compare
from fireworks.experiment.experiment import Experiment
from fireworks.experiment.listing import experiments
from fireworks.experiment.media import Figure, Histogram, Image, Text
from fireworks.experiment.opening import load_experiment, open_attempt, restore
from fireworks.experiment.plots import Plot
from fireworks.experiment.stored_trials import StoredTrial
from fireworks.experiment.sweep import SweepRecord

__all__ = [
    "Comparison",
    "Experiment",
    "Figure",
    "Histogram",
    "Image",
    "Plot",
    "StoredTrial",
    "SweepRecord",
    "Text",
    "compare",
    "experiments",
    "load_experiment",
    "open_attempt",
    "restore",
]
