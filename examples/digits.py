"""Handwritten digits: from a database to a tuned classifier, in one file.

Run it as it is, or let the command line drive it: fireworks sweep examples/digits.py --trials 20
"""

import os
import sys
from pathlib import Path

import torch
from ignite.engine import Engine, Events
from ignite.metrics import Accuracy, Loss
from rich.console import Console
from sklearn.datasets import load_digits
from torch import nn
from torch.nn.functional import cross_entropy

from fireworks import (
    Experiment,
    Factory,
    Message,
    Source,
    Trial,
    create_evaluator,
    create_table,
    create_trainer,
    train_test_split,
)
from fireworks.sources import (
    BatchingSource,
    CachingSource,
    MessageSource,
    NormalizerSource,
    ShufflerSource,
    TableSource,
    WriterSource,
)

ROOT = Path("runs")
DATABASE = ROOT / "digits.sqlite"
EPOCHS = 12

maximize = "accuracy"


def prepare() -> None:
    """Write the 1,797 images with their labels and a text id to a database, once."""
    digits = load_digits()
    rows = Message(
        {
            "id": [f"digit-{i:04}" for i in range(len(digits.target))],
            "image": torch.tensor(digits.images, dtype=torch.float32),
            "label": digits.target,
        }
    )
    ROOT.mkdir(exist_ok=True)
    table = create_table("digits", rows, DATABASE)
    writer = MessageSource(rows) >> BatchingSource(500) >> WriterSource(table, DATABASE)
    print(f"Wrote {writer.drain()} digits to {DATABASE}")


def load_data(seed: int) -> tuple[Source, Source]:
    """Return batches for training and for testing; nothing is read yet."""
    table = TableSource("digits", DATABASE)
    train, test = train_test_split(table, test=0.25, seed=0, stratify="label")
    train = NormalizerSource("image", inputs=train)
    test = NormalizerSource("image", fitted=train, inputs=test)
    return (
        train >> CachingSource(max_rows=2_000) >> ShufflerSource(seed) >> BatchingSource(64),
        test >> CachingSource(max_rows=2_000) >> BatchingSource(256),
    )


def train(trial: Trial) -> dict[str, float]:
    """Train one network with the trial's parameters; runs in a process of its own."""
    train_batches, test_batches = load_data(trial.seed)
    width = trial.params["width"]
    model = nn.Sequential(
        nn.Flatten(), nn.Linear(64, width), nn.ReLU(), nn.Dropout(0.2), nn.Linear(width, 10)
    )
    optimizer = getattr(torch.optim, trial.params["optimizer"])(
        model.parameters(), lr=trial.params["lr"]
    )
    columns = {"inputs": ["image"], "target": "label"}
    trainer = create_trainer(model, optimizer, cross_entropy, **columns)
    evaluator = create_evaluator(
        model, metrics={"accuracy": Accuracy(), "loss": Loss(cross_entropy)}, **columns
    )
    trial.attach(trainer, evaluator, data=test_batches, report="accuracy")

    @trainer.on(Events.EPOCH_COMPLETED)
    def log_weights(engine: Engine) -> None:
        """Attach anything to Ignite's events: here, how large the weights have grown."""
        norm = sum(weights.square().sum() for weights in model.parameters()).sqrt()
        trial.experiment.log({"weights/norm": norm}, step=engine.state.iteration)

    trainer.run(train_batches, max_epochs=EPOCHS)
    return evaluator.state.metrics


def space(trial):
    """Propose parameters: Optuna's define-by-run."""
    return {
        "lr": trial.suggest_float("lr", 1e-3, 1e-1, log=True),
        "width": trial.suggest_int("width", 16, 256, log=True),
        "optimizer": trial.suggest_categorical("optimizer", ["SGD", "Adam", "RMSprop"]),
    }


def main() -> None:
    """Prepare the data, sweep 12 trials, two at once, and show them, best first."""
    prepare()
    with Experiment("digits", root=ROOT, description="A small network on the UCI digits") as run:
        factory = Factory(
            train, propose=space, maximize=maximize, experiment=run, workers=2, seed=0
        )
        factory.run(trials=12)
    folder = Path(os.path.relpath(run.path))
    Console().print(factory.table())
    print(f"\nBest accuracy on the test digits: {factory.best_trial.value:.4f}")
    print(f"Everything it produced is in {folder}\n\nTry next:")
    tool = os.path.relpath(Path(sys.executable).with_name("fireworks"))
    print(f"  {tool} show {folder}")
    print(f"  {tool} sweep examples/digits.py --trials 20 --workers 2")
    print(f"  {tool} list {ROOT}")


if __name__ == "__main__":
    main()
