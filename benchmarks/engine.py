"""Trainers, handlers, checkpoints and reading ahead against the same written by hand."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any

import grain
import numpy as np
import torch
from ignite.engine import Engine, Events
from timing import describe_machine, options
from timing.rounds import interleaved, table
from torch import nn
from torch.utils.data import DataLoader, Dataset
from trainers import WAYS, Batches, images, quietly

from fireworks import (
    Checkpointer,
    Experiment,
    ExperimentLogger,
    Message,
    Source,
    TensorBoardLogger,
    VisdomLogger,
    create_trainer,
)
from fireworks.engine import (
    DataProfiler,
    ModelSummary,
    Prefetch,
    ProgressBar,
    SystemMonitor,
    WeightStatistics,
)

LATE = 0.004  # seconds that a batch and a step take


class Terminal(StringIO):
    """Where a progress bar moves."""

    def isatty(self) -> bool:
        """Say that it is one."""
        return True


def empty_trainer(output: object = None) -> Engine:
    model = nn.Linear(1, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    return create_trainer(model, optimizer, update=lambda engine, batch: output, device="cpu")


def empty_steps(root: Path, rounds: int) -> None:
    """What each handler adds to an iteration."""
    experiment = Experiment("empty", root=root)
    nobody = "http://127.0.0.1:9"  # where no Visdom server answers
    model = nn.Linear(1, 1)
    attach: dict[str, Callable[[Engine], object]] = {
        "create_trainer, no handlers": lambda engine: None,
        "Checkpointer": lambda engine: Checkpointer(experiment).attach(engine, every=10**9),
        "DataProfiler": lambda engine: DataProfiler().attach(engine),
        "ExperimentLogger": lambda engine: ExperimentLogger(experiment).attach(engine),
        "ModelSummary": lambda engine: ModelSummary(model).attach(engine),
        "ProgressBar, on a terminal": lambda engine: ProgressBar(Terminal()).attach(engine),
        "SystemMonitor": lambda engine: SystemMonitor(experiment).attach(engine),
        "TensorBoardLogger": lambda engine: TensorBoardLogger(experiment).attach(engine),
        "VisdomLogger, no server": lambda engine: VisdomLogger(experiment, nobody).attach(engine),
        "WeightStatistics, every 100": lambda engine: WeightStatistics(model, experiment).attach(
            engine
        ),
    }
    output = {"loss": 0.5}
    engines = {"bare Ignite": Engine(lambda engine, batch: output)}
    for name, how in attach.items():
        engines[name] = empty_trainer(output)
        how(engines[name])
    blocks: dict[str, list[float]] = {name: [] for name in engines}
    for _ in range(rounds):
        for name, engine in engines.items():
            batches = Batches(None, 1_000)
            engine.run(batches)
            blocks[name] += batches.seconds(50)
    experiment.close()
    bare = min(blocks["bare Ignite"])
    print("\n### An iteration of an empty step that gives a loss, in the fastest 50\n")
    print("| with | µs | more than bare Ignite, µs | ratio |\n|---|---:|---:|---:|")
    for name, own in blocks.items():
        fastest, more = min(own) * 1e6, (min(own) - bare) * 1e6
        print(f"| {name} | {fastest:.2f} | {more:.2f} | {min(own) / bare:.2f} |")


def real_steps(root: Path, rounds: int, short: bool) -> None:
    """A step of about 2 ms; three metrics an iteration, checkpoints, a progress bar."""
    iterations, block = (400, 50) if short else (2_000, 100)
    blocks: dict[str, list[float]] = {name: [] for name in WAYS}
    wholes: dict[str, list[float]] = {name: [] for name in WAYS}
    for _ in range(rounds):
        for name, way in WAYS.items():
            batches = Batches(images(), iterations)
            start = time.perf_counter()
            quietly(way, batches, root)
            wholes[name].append((time.perf_counter() - start) / iterations)
            blocks[name] += batches.seconds(block)
    by_hand = next(iter(WAYS))
    print(f"\n### A real step, of {iterations:,} a run\n")
    print(f"| way | fastest {block} steps, µs each | ratio | median | with start and end | ratio |")
    print("|---|---:|---:|---:|---:|---:|")
    for name, own in blocks.items():
        print(
            f"| {name} | {min(own) * 1e6:,.0f} | {min(own) / min(blocks[by_hand]):.2f} | "
            f"{statistics.median(own) * 1e6:,.0f} | {min(wholes[name]) * 1e6:,.0f} | "
            f"{min(wholes[name]) / min(wholes[by_hand]):.2f} |"
        )
    over = {name: min(own) - min(blocks[by_hand]) for name, own in blocks.items()}
    ours = over["fireworks"]
    print(
        f"\nMore than the loop by hand, in the fastest {block} steps: fireworks {ours * 1e6:,.0f} "
        f"µs; {ours / over['Lightning']:.3f} of Lightning's, "
        f"{ours / over['Hugging Face Trainer']:.3f} of the Hugging Face Trainer's."
    )


def timed(engine: Engine, batches: Any) -> float:
    """Seconds that a run takes."""
    start = time.perf_counter()
    engine.run(batches)
    return time.perf_counter() - start


def late(item: int) -> dict[str, np.ndarray]:
    """Return a batch that takes as long as a step, as from a disk."""
    began = time.perf_counter()
    batch = {"row": np.arange(item * 256, (item + 1) * 256)}
    time.sleep(max(0.0, began + LATE - time.perf_counter()))
    return batch


class LateDataset(Dataset[dict[str, np.ndarray]]):
    """Such batches for a DataLoader, and for grain."""

    def __len__(self) -> int:
        return 100

    def __getitem__(self, item: int) -> dict[str, np.ndarray]:
        return late(item)


class LateSource(Source):
    """Such batches as a source."""

    num_rows = 100 * 256

    @property
    def item_rows(self) -> int:
        """Rows in a batch."""
        return 256

    def read(self, rows: np.ndarray) -> Message:
        """Return a batch, late."""
        return Message(late(int(rows[0]) // 256))


def reading_ahead(rounds: int) -> None:
    def step(engine: Engine, batch: object) -> None:
        time.sleep(LATE)

    engine = Engine(step)
    loader = DataLoader(LateDataset(), batch_size=None, num_workers=1, persistent_workers=True)

    def by_grain(**reading: int) -> Any:
        options = grain.ReadOptions(**reading)
        return grain.MapDataset.source(LateDataset()).to_iter_dataset(options)

    data: dict[str, Callable[[], Any]] = {
        "grain, 16 threads": by_grain,
        "grain, one thread": lambda: by_grain(num_threads=1, prefetch_buffer_size=2),
        "DataLoader, one worker": lambda: loader,
        "Source": LateSource,
        "Prefetch(Source)": lambda: Prefetch(LateSource()),
    }
    seconds = interleaved(
        {name: lambda make=make: timed(engine, make()) for name, make in data.items()}, rounds
    )
    table(
        "100 batches of 4 ms for steps of 4 ms (400 ms at the least)", "ms", seconds,
        lambda each: each * 1e3,
    )  # fmt: skip


def checkpoints(root: Path, rounds: int, short: bool) -> None:
    """How long a step is held up for a checkpoint."""
    width = 1_000 if short else 5_000
    model = nn.Sequential(*(nn.Linear(width, width) for _ in range(4)))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    numbers = sum(each.numel() for each in model.parameters())
    inline, held = [], []
    with Experiment("large", root=root) as experiment:
        trainer = create_trainer(model, optimizer, update=lambda engine, batch: None, device="cpu")
        began = 0.0

        @trainer.on(Events.GET_BATCH_STARTED)
        def begin() -> None:
            nonlocal began
            began = time.perf_counter()

        saver = Checkpointer(experiment).attach(trainer, every=1, keep=1)

        @trainer.on(Events.GET_BATCH_COMPLETED)
        def end() -> None:
            held.append(time.perf_counter() - began)

        @trainer.on(Events.ITERATION_STARTED)
        def write_inline() -> None:
            while saver.writing:  # as a longer step would
                time.sleep(0.005)
            start = time.perf_counter()
            torch.save({"model": model.state_dict()}, root / "inline.pt")
            inline.append(time.perf_counter() - start)

        trainer.run(range(rounds + 1))
    table(
        f"A checkpoint of {numbers / 1e6:.0f}M parameters, step held up for", "ms",
        {"torch.save": inline[1:], "Checkpointer": held[1:]},  # none before the first iteration
        lambda each: each * 1e3,
    )  # fmt: skip


def main() -> None:
    short = options(__doc__ or "").short
    rounds = 3 if short else 9
    torch.set_num_threads(1)
    packages = (
        "torch", "pytorch-ignite", "numpy", "lightning", "transformers", "accelerate", "grain",
    )  # fmt: skip
    print(f"## Engine\n\n{describe_machine(*packages)},")
    print(f"one torch thread, {rounds} rounds.")
    parts: list[Callable[[Path], None]] = [
        lambda root: empty_steps(root, rounds),
        lambda root: real_steps(root, 3 if short else 5, short),
        lambda root: reading_ahead(rounds),
        lambda root: checkpoints(root, rounds, short),
    ]
    for part in parts:
        with tempfile.TemporaryDirectory() as folder:
            part(Path(folder))


if __name__ == "__main__":
    main()
