"""A trial that its sweep ends with SIGTERM goes on, in its next attempt, where it stood."""

from __future__ import annotations

import time
from typing import Any

import torch
from ignite.engine import Events
from torch import nn
from torch.nn.functional import cross_entropy

from fireworks import Checkpointer, Experiment, Factory, Trial, create_trainer, resume
from fireworks.factory import Grid


def train(trial: Trial) -> dict[str, Any]:
    model = nn.Linear(2, 2)
    trainer = create_trainer(
        model, torch.optim.SGD(model.parameters(), lr=0.1), cross_entropy, inputs="x",
        target="label", device="cpu",
    )  # fmt: skip
    Checkpointer(trial.experiment).attach(trainer, every=10_000)
    resume(trainer, trial.experiment)
    began = trainer.state.iteration

    @trainer.on(Events.ITERATION_COMPLETED)
    def wait() -> None:
        if trial.attempt == 1:
            time.sleep(0.05)  # 50 s in all

    trainer.run([{"x": torch.randn(4, 2), "label": torch.arange(4) % 2}] * 1_000)
    return {"loss": float(trainer.state.output["loss"]), "began": float(began)}  # pyright: ignore


def test_a_checkpoint_is_written_within_the_grace(tmp_path):
    with Experiment("sweep", root=tmp_path) as experiment:
        factory = Factory(
            train, minimize="loss", experiment=experiment, retries=1, time_limit=4.0, grace=30.0,
            propose=Grid({"rate": [0.1]}),
        )  # fmt: skip
        factory.run(trials=1)
        assert factory.trials["state"].tolist() == ["completed"], factory.records[0].reason
        assert 1 <= factory.records[0].result["began"] < 1_000
