"""The same training with every trainer: three metrics an iteration, checkpoints, a progress bar."""

from __future__ import annotations

import contextlib
import logging
import os
import time
import warnings
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import lightning.pytorch as lightning
import torch
import transformers
from ignite.engine import Engine, Events
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, Dataset

from fireworks import Checkpointer, Experiment, ExperimentLogger, create_trainer
from fireworks.engine import ProgressBar

warnings.filterwarnings("ignore", module="lightning|transformers|torch.optim")
for name in ("lightning.pytorch", "lightning.pytorch.utilities.rank_zero"):
    logging.getLogger(name).setLevel(logging.ERROR)

CHECKPOINT_EVERY = 1_000

Batch = dict[str, torch.Tensor]


class Batches(Dataset[Any]):
    """The same batch again and again, which takes no time to make."""

    def __init__(self, batch: Any, iterations: int) -> None:
        self._batch = batch
        self._iterations = iterations
        self._asked: list[float] = []

    def __len__(self) -> int:
        return self._iterations

    def __getitem__(self, item: int) -> Any:
        self._asked.append(time.perf_counter())
        return self._batch

    def __iter__(self) -> Iterator[Any]:
        return map(self.__getitem__, range(self._iterations))

    def seconds(self, steps: int) -> list[float]:
        """How long a step took, in each block of so many."""
        marks = self._asked[::steps]
        return [(end - begin) / steps for begin, end in pairwise(marks)]


def images() -> Batch:
    """256 rows."""
    return {"x": torch.randn(256, 512), "label": torch.randint(0, 10, (256,))}


def parts() -> tuple[nn.Module, torch.optim.Optimizer]:
    """A model and optimizer whose step takes about 2 ms on one core."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(512, 256), nn.ReLU(), nn.Linear(256, 10))
    return model, torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)


def by_hand(batches: Batches, root: Path) -> None:
    """Nothing is logged and nothing kept."""
    model, optimizer = parts()
    for batch in batches:
        model.train()
        optimizer.zero_grad()
        loss = cross_entropy(model(batch["x"]), batch["label"])
        loss.backward()
        optimizer.step()


def bare_ignite(batches: Batches, root: Path) -> None:
    """An Engine with no handlers; nothing is logged and nothing kept."""
    model, optimizer = parts()

    def step(engine: Engine, batch: Batch) -> torch.Tensor:
        model.train()
        optimizer.zero_grad()
        loss = cross_entropy(model(batch["x"]), batch["label"])
        loss.backward()
        optimizer.step()
        return loss.detach()

    Engine(step).run(batches)


def fireworks(batches: Batches, root: Path) -> None:
    """Ours, with the optimizer's settings logged by hand."""
    model, optimizer = parts()
    trainer = create_trainer(
        model, optimizer, cross_entropy, inputs="x", target="label", device="cpu"
    )
    with Experiment("real", root=root) as experiment, open(os.devnull, "w") as nowhere:
        ExperimentLogger(experiment).attach(trainer)

        @trainer.on(Events.ITERATION_COMPLETED)
        def log_two_more() -> None:
            group = optimizer.param_groups[0]
            experiment.log(
                {"lr": group["lr"], "momentum": group["momentum"]}, step=trainer.state.iteration
            )

        Checkpointer(experiment).attach(trainer, every=CHECKPOINT_EVERY)
        ProgressBar(nowhere).attach(trainer)
        trainer.run(batches)


class _Module(lightning.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.model, self._optimizer = parts()

    def training_step(self, batch: Batch, number: int) -> torch.Tensor:
        loss = cross_entropy(self.model(batch["x"]), batch["label"])
        group = self._optimizer.param_groups[0]
        self.log("loss", loss, prog_bar=True)
        self.log_dict({"lr": group["lr"], "momentum": group["momentum"]})
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return self._optimizer


def with_lightning(batches: Batches, root: Path) -> None:
    """Lightning, with its CSV logger."""
    trainer = lightning.Trainer(
        accelerator="cpu", max_epochs=1, logger=CSVLogger(root), log_every_n_steps=1,
        callbacks=[ModelCheckpoint(root, every_n_train_steps=CHECKPOINT_EVERY)],
        enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(_Module(), DataLoader(batches, batch_size=None))


class _WithLoss(nn.Module):
    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: torch.Tensor, label: torch.Tensor) -> dict[str, torch.Tensor]:
        output = self.model(x)
        return {"loss": cross_entropy(output, label), "logits": output}


def with_hugging_face(batches: Batches, root: Path) -> None:
    """The Trainer of transformers, which logs loss, learning rate and epoch."""
    model, optimizer = parts()
    arguments = transformers.TrainingArguments(
        str(root), per_device_train_batch_size=1, num_train_epochs=1, logging_steps=1,
        save_steps=CHECKPOINT_EVERY, report_to=[], use_cpu=True, remove_unused_columns=False,
        max_grad_norm=0.0,
    )  # fmt: skip
    constant = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1.0)
    transformers.Trainer(
        _WithLoss(model), arguments, data_collator=lambda rows: rows[0], train_dataset=batches,
        optimizers=(optimizer, constant),
    ).train()  # fmt: skip


def quietly(way: Callable[[Batches, Path], None], *arguments: Any) -> None:
    """Run a way with its progress bar going nowhere."""
    with (
        open(os.devnull, "w") as nowhere,
        contextlib.redirect_stdout(nowhere),
        contextlib.redirect_stderr(nowhere),
    ):
        way(*arguments)


WAYS: dict[str, Callable[[Batches, Path], None]] = {
    "by hand, nothing logged": by_hand,
    "bare Ignite, nothing logged": bare_ignite,
    "fireworks": fireworks,
    "Lightning": with_lightning,
    "Hugging Face Trainer": with_hugging_face,
}
