"""Trainers, handlers, checkpoints and reading ahead against the same written by hand."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from io import StringIO
from pathlib import Path

import numpy as np
import torch
from ignite.engine import Engine, Events
from timing import compare, describe_machine, options
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, Dataset

from fireworks import Checkpointer, Experiment, ExperimentLogger, Message, Source, create_trainer
from fireworks.engine import DataProfiler, Prefetch, ProgressBar, SystemMonitor

ITERATIONS = 2_000


def nothing(engine: Engine, batch: object) -> None:
    """An update function that does nothing."""


def empty_trainer() -> Engine:
    model = nn.Linear(1, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    return create_trainer(model, optimizer, update=nothing, device="cpu")


def empty_steps(root: Path, rounds: int) -> None:
    batches = list(range(ITERATIONS))
    experiment = Experiment("empty", root=root)
    value = {"loss": 0.5}
    logged = create_logged(value)
    ways: dict[str, Engine] = {
        "bare Ignite": Engine(nothing),
        "create_trainer": empty_trainer(),
        "with Checkpointer": empty_trainer(),
        "with DataProfiler": empty_trainer(),
        "with ProgressBar": empty_trainer(),
        "with SystemMonitor": empty_trainer(),
        "a loss, no logger": create_logged(value),
        "a loss, ExperimentLogger": logged,
    }
    Checkpointer(experiment).attach(ways["with Checkpointer"], every=10**9)
    DataProfiler().attach(ways["with DataProfiler"])
    ProgressBar(StringIO()).attach(ways["with ProgressBar"])
    SystemMonitor(experiment).attach(ways["with SystemMonitor"])
    ExperimentLogger(experiment).attach(logged)
    compare(
        f"{ITERATIONS:,} iterations of an empty step (Checkpointer: and one checkpoint at the end)",
        {name: lambda _, engine=engine: engine.run(batches) for name, engine in ways.items()},
        rounds=rounds,
    )
    experiment.close()


def create_logged(value: dict[str, float]) -> Engine:
    model = nn.Linear(1, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    return create_trainer(model, optimizer, update=lambda engine, batch: value, device="cpu")


def real_steps(root: Path, rounds: int, short: bool) -> None:
    """A step of about 2 ms; three metrics an iteration, checkpoints, a progress bar."""
    iterations = 100 if short else 500
    x, y = torch.randn(256, 512), torch.randint(0, 10, (256,))
    batches = [{"x": x, "label": y}] * iterations

    def parts() -> tuple[nn.Module, torch.optim.Optimizer]:
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(512, 384), nn.ReLU(), nn.Linear(384, 10))
        return model, torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)

    def by_hand(_: object) -> None:
        model, optimizer = parts()
        for batch in batches:
            model.train()
            optimizer.zero_grad()
            loss = cross_entropy(model(batch["x"]), batch["label"])
            loss.backward()
            optimizer.step()

    def ignite(_: object) -> None:
        model, optimizer = parts()

        def step(engine: Engine, batch: dict[str, torch.Tensor]) -> float:
            model.train()
            optimizer.zero_grad()
            loss = cross_entropy(model(batch["x"]), batch["label"])
            loss.backward()
            optimizer.step()
            return loss.item()

        Engine(step).run(batches)

    def fireworks(_: object) -> None:
        model, optimizer = parts()
        trainer = create_trainer(
            model, optimizer, cross_entropy, inputs="x", target="label", device="cpu"
        )
        with Experiment("real", root=root) as experiment:
            ExperimentLogger(experiment).attach(trainer)

            @trainer.on(Events.ITERATION_COMPLETED)
            def log_two_more() -> None:
                group = optimizer.param_groups[0]
                experiment.log(
                    {"lr": group["lr"], "momentum": group["momentum"]},
                    step=trainer.state.iteration,
                )

            Checkpointer(experiment).attach(trainer, every=1_000)
            ProgressBar(StringIO()).attach(trainer)
            trainer.run(batches)

    compare(
        f"{iterations} real steps; ours with three metrics each, a checkpoint, a progress bar",
        {"by hand, nothing logged": by_hand, "bare Ignite, nothing logged": ignite,
         "fireworks": fireworks},
        rounds=rounds,
    )  # fmt: skip


class Sleeping(Source):
    """Batches that take 4 ms each, as from a disk."""

    num_rows = 100 * 256

    @property
    def item_rows(self) -> int:
        """Rows in a batch."""
        return 256

    def read(self, rows: np.ndarray) -> Message:
        """Return a batch, late."""
        time.sleep(0.004)
        return Message({"row": rows})


class SleepingDataset(Dataset[int]):
    """The same for a DataLoader."""

    def __len__(self) -> int:
        return 100

    def __getitem__(self, item: int) -> int:
        time.sleep(0.004)
        return item


def reading_ahead(rounds: int) -> None:
    engine = Engine(lambda engine, batch: time.sleep(0.004))
    loader = DataLoader(SleepingDataset(), batch_size=None, num_workers=1, persistent_workers=True)
    compare(
        "100 batches of 4 ms for steps of 4 ms (400 ms at the least)",
        {
            "DataLoader, one worker": lambda _: engine.run(loader),
            "Source": lambda _: engine.run(Sleeping()),
            "Prefetch(Source)": lambda _: engine.run(Prefetch(Sleeping())),
        },
        rounds=rounds,
    )


def checkpoints(root: Path, rounds: int, short: bool) -> None:
    """How long a step is held up for a checkpoint."""
    width = 1_000 if short else 5_000
    model = nn.Sequential(*(nn.Linear(width, width) for _ in range(4)))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    numbers = sum(each.numel() for each in model.parameters())
    with Experiment("large", root=root) as experiment:
        held: list[float] = []
        trainer = create_trainer(model, optimizer, update=nothing, device="cpu")
        began = 0.0

        @trainer.on(Events.GET_BATCH_STARTED)
        def begin() -> None:
            nonlocal began
            began = time.perf_counter()

        saver = Checkpointer(experiment).attach(trainer, every=1, keep=1)

        @trainer.on(Events.GET_BATCH_COMPLETED)
        def end() -> None:
            held.append(time.perf_counter() - began)

        trainer.add_event_handler(Events.ITERATION_STARTED, lambda: wait_for(saver))
        trainer.run(range(rounds + 2))
    inline: list[float] = []
    for _ in range(rounds):
        start = time.perf_counter()
        torch.save({"model": model.state_dict()}, root / "inline.pt")
        inline.append(time.perf_counter() - start)
    held = held[1:]  # no checkpoint before the first iteration
    print(f"\n### A checkpoint of {numbers / 1e6:.0f}M parameters, step held up for\n")
    print("| way | fastest ms | median ms | median ratio |\n|---|---:|---:|---:|")
    whole = statistics.median(inline)
    for name, times in (("torch.save", inline), ("Checkpointer", held)):
        median = statistics.median(times)
        print(f"| {name} | {min(times) * 1e3:,.1f} | {median * 1e3:,.1f} | {median / whole:.2f} |")


def wait_for(saver: Checkpointer) -> None:
    """Let the thread finish, as a longer step would."""
    while saver.writing:
        time.sleep(0.005)


def main() -> None:
    short = options(__doc__ or "").short
    rounds = 3 if short else 9
    torch.set_num_threads(1)
    print(f"## Engine\n\n{describe_machine('torch', 'pytorch-ignite', 'numpy')},")
    print(f"one torch thread, {rounds} rounds.")
    parts: list[Callable[[Path], None]] = [
        lambda root: empty_steps(root, rounds),
        lambda root: real_steps(root, rounds, short),
        lambda root: reading_ahead(rounds),
        lambda root: checkpoints(root, rounds, short),
    ]
    for part in parts:
        with tempfile.TemporaryDirectory() as folder:
            part(Path(folder))


if __name__ == "__main__":
    main()
