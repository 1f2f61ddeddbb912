"""Trains many ways, each undisturbed and killed; run by test_resume.py in a process of its own.

Every run is a fork of this process, which never uses more than one thread: a fork costs
milliseconds where a new interpreter would import torch for seconds.
"""

# ruff: noqa: B023  (the functions made in the loop of main are called at once)

# Ignite types what an engine's state holds more narrowly than it is.
# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false
# pyright: reportIndexIssue=false, reportOptionalSubscript=false, reportArgumentType=false

from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch._dynamo  # the first optimizer would import it, in each process
from ignite.engine import Engine, Events
from ignite.handlers import EarlyStopping
from ignite.handlers.param_scheduler import CosineAnnealingScheduler
from ignite.metrics import Accuracy, RunningAverage
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy
from torch.utils.data import DataLoader

from fireworks import (
    Checkpointer,
    Experiment,
    ExperimentLogger,
    Graph,
    Message,
    Source,
    create_evaluator,
    create_trainer,
    load_experiment,
    resume,
)
from fireworks.database import TableSource, WriterSource, create_table
from fireworks.engine import trainer_parts
from fireworks.sources import (
    BatchingSource,
    CachingSource,
    MapSource,
    MessageSource,
    SamplerSource,
    ShufflerSource,
)

ROWS, BATCH, EPOCHS = 30, 4, 3  # 8 iterations an epoch, the last one of 2 rows
generator = torch.Generator().manual_seed(0)
TABLE = Message(
    {
        "x": torch.randn(ROWS, 3, generator=generator),
        "label": torch.randint(0, 2, (ROWS,), generator=generator),
        "row": torch.arange(ROWS),
    }
)
LAST = 24
ROWS_FILE = "rows.sqlite"


class Stream(Source):
    """Rows in their own order, of unknown number."""

    def stream(self, start=None):
        for place in range(start or 0, ROWS, 3):
            yield TABLE[place : place + 3], place + 3


def noisy(message, generators):
    message["x"] = message["x"] + 0.1 * generators.normal(size=(3,), dtype=torch.float32)
    return message


def network(dropout=0.0) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(3, 8), nn.BatchNorm1d(8), nn.Dropout(dropout), nn.ReLU(), nn.Linear(8, 2)
    )


def shuffled(source=None):
    return (source or MessageSource(TABLE)) >> ShufflerSource(seed=1) >> BatchingSource(BATCH)


class Case:
    """One way to train: everything that a script would build, built again in each process."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.model = network()
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.05, momentum=0.9)
        self.data = shuffled()
        self.options: dict = {}
        self.evaluator = None

    def trainer(self) -> Engine:
        return create_trainer(
            self.model, self.optimizer, cross_entropy,
            inputs="x", target="label", device="cpu", **self.options,
        )  # fmt: skip

    def attach(self, trainer: Engine, experiment: Experiment) -> None:
        """Attach what this case has beyond the others."""


class Momentum(Case):
    pass


class AdamDropoutSchedule(Case):
    def __init__(self, folder):
        super().__init__(folder)
        self.model = network(dropout=0.4)
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=0.01)
        self.options["scheduler"] = torch.optim.lr_scheduler.OneCycleLR(
            self.optimizer, 0.05, total_steps=LAST
        )


class Bfloat16Average(Case):
    def __init__(self, folder):
        super().__init__(folder)
        self.options = {"amp": True, "ema": 0.9, "compile": {"backend": "eager"}}


class Accumulating(Case):
    def __init__(self, folder):
        super().__init__(folder)
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=0.01)
        scheduler = torch.optim.lr_scheduler.MultiStepLR(self.optimizer, [2, 4])
        self.options = {
            "accumulate": 5, "clip_norm": 0.5, "scheduler": scheduler, "amp": "float16",
            "check_loss": False,
        }  # fmt: skip


class WeightedSampler(Case):
    def __init__(self, folder):
        super().__init__(folder)
        sampler = SamplerSource(np.linspace(1, 5, ROWS), seed=3)
        self.data = MessageSource(TABLE) >> sampler >> BatchingSource(BATCH)
        self.options["scheduler"] = CosineAnnealingScheduler(
            self.optimizer, "lr", 0.1, 0.01, cycle_size=10
        )

    def attach(self, trainer, experiment):
        RunningAverage(output_transform=lambda output: output["loss"]).attach(trainer, "average")


class ChangingWeights(Case):
    """A loop through the sampler: its weights are part of the state."""

    def __init__(self, folder):
        super().__init__(folder)
        self.sampler = SamplerSource(
            np.ones(ROWS), seed=3, lookahead=2, batch_size=BATCH, row_column="drawn",
            num_draws=LAST * BATCH,
        )  # fmt: skip
        self.data = MessageSource(TABLE) >> self.sampler

    def attach(self, trainer, experiment):
        @trainer.on(Events.ITERATION_COMPLETED)
        def heavier(engine):
            rows = np.unique(engine.state.batch["drawn"])
            self.sampler.update(rows, np.full(len(rows), 1.0 + engine.state.output.loss.item()))


class CachedEarlyStopping(Case):
    def __init__(self, folder):
        super().__init__(folder)
        cached = MessageSource(TABLE) >> MapSource(noisy, seed=2) >> CachingSource(max_rows=40)
        self.data = shuffled(cached)
        self.options = {
            "scheduler": torch.optim.lr_scheduler.ExponentialLR(self.optimizer, 0.5),
            "schedule": "epoch",
        }
        self.evaluator = create_evaluator(
            self.model, metrics={"accuracy": Accuracy()}, inputs="x", target="label", device="cpu"
        )

    def attach(self, trainer, experiment):
        rows = MessageSource(TABLE) >> BatchingSource(10)
        trainer.add_event_handler(Events.EPOCH_COMPLETED, lambda: self.evaluator.run(rows))
        stopping = EarlyStopping(3, lambda engine: -1.0, trainer)
        stopping.attach(self.evaluator, reset_engine=trainer)
        trainer.add_event_handler(
            Events.EPOCH_COMPLETED,
            lambda: experiment.log({"patience": stopping.counter}, step=trainer.state.iteration),
        )


class Database(Case):
    def __init__(self, folder):
        super().__init__(folder)
        self.data = shuffled(TableSource("killed_training", f"sqlite:///{folder / ROWS_FILE}"))


class DatabaseServer(Case):
    """The rows are on PostgreSQL, and weights drawn anew for each epoch."""

    url = ""

    def __init__(self, folder):
        super().__init__(folder)
        sampler = SamplerSource(np.linspace(1, 5, ROWS), seed=3)
        self.data = TableSource("killed_training", self.url) >> sampler >> BatchingSource(BATCH)


class Adversaries(Case):
    """Two models with an optimizer each; the noise comes from torch's global generator."""

    def trainer(self):
        generator, critic = nn.Linear(2, 3), nn.Linear(3, 1)
        self.model = nn.ModuleDict({"generator": generator, "critic": critic})
        self.optimizer = torch.optim.Adam(generator.parameters(), lr=0.05)
        of_critic = torch.optim.SGD(critic.parameters(), lr=0.05, momentum=0.9)

        def update(engine, batch):
            fake, ones = generator(torch.randn(len(batch), 2)), torch.ones(len(batch), 1)
            of_critic.zero_grad()
            right, wrong = critic(batch["x"]), critic(fake.detach())
            loss = binary_cross_entropy_with_logits(right, ones)
            (loss + binary_cross_entropy_with_logits(wrong, 1 - ones)).backward()
            of_critic.step()
            self.optimizer.zero_grad()
            fooled = binary_cross_entropy_with_logits(critic(fake), ones)
            fooled.backward()
            self.optimizer.step()
            return {"loss": fooled.detach()}

        models = {"generator": generator, "critic": critic}
        return create_trainer(
            models, {"generator": self.optimizer, "critic": of_critic}, update=update, device="cpu"
        )


class Streamed(Case):
    def __init__(self, folder):
        super().__init__(folder)
        self.data = Stream() >> ShufflerSource(seed=4, window=8) >> BatchingSource(BATCH)


class PlainLoader(Case):
    """torch's own loader, which keeps no state, with transforms that use global generators."""

    def __init__(self, folder):
        super().__init__(folder)
        self.data = DataLoader(
            list(range(ROWS)),
            batch_size=BATCH,
            shuffle=True,
            collate_fn=self.collate,
        )

    def collate(self, rows):
        batch = {name: TABLE.array(name)[rows] for name in TABLE.columns}
        batch["x"] = batch["x"] + 0.01 * torch.randn(len(rows), 3) + 0.01 * random.random()
        return batch


class PlainEngine(Case):
    """An engine and a step that a user wrote; gradients kept over several iterations."""

    def trainer(self):
        def step(engine, batch):
            self.model.train()
            loss = cross_entropy(self.model(batch["x"] + np.random.normal() / 50), batch["label"])
            (loss / 2).backward()
            if engine.state.iteration % 2 == 0:
                self.optimizer.step()
                self.optimizer.zero_grad()
            return loss.item()

        return Engine(step)


CASES = [
    Momentum, AdamDropoutSchedule, Bfloat16Average, Accumulating, WeightedSampler, ChangingWeights,
    CachedEarlyStopping, Database, Streamed, PlainLoader, PlainEngine, DatabaseServer, Adversaries,
]  # fmt: skip


def train(case: type[Case], folder: Path, kill: tuple[int, str] | None, go_on: bool) -> None:
    """Train to the end, or to where a signal ends the process."""
    this = case(folder)
    trainer = this.trainer()
    path = folder / "run-0001"
    experiment = (
        load_experiment(path, write=True)
        if go_on and path.exists()
        else Experiment("run", root=folder)
    )
    objects = None
    if isinstance(this, PlainEngine):
        from fireworks.engine.gradients import Gradients

        objects = {
            "model": this.model, "optimizer": this.optimizer,
            "gradients": Gradients({"optimizer": this.optimizer}),
        }  # fmt: skip
    ExperimentLogger(experiment).attach(trainer, this.evaluator)
    this.attach(trainer, experiment)
    saver = Checkpointer(experiment, objects=objects).attach(trainer, every=3, keep=2)

    @trainer.on(Events.ITERATION_COMPLETED)
    def log_rows(engine):
        rows = engine.state.batch["row"].tolist()
        number = sum((place + 1) * row for place, row in enumerate(rows))
        experiment.log({"rows": number}, step=engine.state.iteration)

    if kill is not None:
        step, event = kill
        count = 0

        @trainer.on(event)
        def die(engine):
            nonlocal count
            count += 1
            if count == step:
                os.kill(os.getpid(), signal.SIGKILL)

    found = resume(trainer, experiment) if go_on else None
    seed = 5 if found is None else 7  # what is not restored will differ
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    trainer.run(this.data, max_epochs=EPOCHS)
    assert saver.last is not None
    result: dict[str, Any] = {
        "model": this.model.state_dict(),
        "optimizer": this.optimizer.state_dict(),
    }
    if "ema" in trainer_parts(trainer):
        result["ema"] = trainer_parts(trainer)["ema"].state_dict()
    if "scaler" in trainer_parts(trainer):
        result["scaler"] = trainer_parts(trainer)["scaler"].state_dict()
    result["random"] = [torch.rand(1), random.random(), float(np.random.rand())]
    experiment.close()
    torch.save(result, folder / "result.pt")


def forked(work: Callable[[], None]) -> int:
    """Do work in a fork; return its exit status, as os.wait gives it."""
    pid = os.fork()
    if pid == 0:
        try:
            work()
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
    return os.waitpid(pid, 0)[1]


def fill(url: str) -> None:
    rows = TABLE.copy()
    rows["id"] = np.arange(ROWS)
    table = create_table("killed_training", rows, url)
    Graph(MessageSource(rows) >> BatchingSource(10) >> WriterSource(table, url)).drain()


def metrics(folder: Path) -> list[tuple]:
    connection = sqlite3.connect(folder / "run-0001" / "experiment.sqlite")
    rows = connection.execute("SELECT name, step, value FROM metric ORDER BY name, step").fetchall()
    latest = connection.execute(
        "SELECT name, step, value FROM latest JOIN series ON id = series ORDER BY name"
    ).fetchall()
    connection.close()
    return rows + latest


def differences(a, b, where="") -> list[str]:
    """Where two results differ in any bit."""
    if isinstance(a, torch.Tensor):
        return [] if torch.equal(a, b) else [where]
    if isinstance(a, dict):
        if set(a) != set(b):
            return [f"{where}: {set(a) ^ set(b)}"]
        return [line for key in a for line in differences(a[key], b[key], f"{where}/{key}")]
    if isinstance(a, list | tuple):
        if len(a) != len(b):
            return [f"{where}: {len(a)} != {len(b)}"]
        pairs = enumerate(zip(a, b, strict=True))
        return [line for i, (x, y) in pairs for line in differences(x, y, f"{where}/{i}")]
    return [] if a == b else [f"{where}: {a} != {b}"]


def prove(case: type[Case], root: Path, kills: int, seed: int) -> list[str]:
    """Train undisturbed, then killed and gone on with; say for each whether it is the same."""
    chosen = random.Random(f"{seed} {case.__name__}")
    events = ["ITERATION_STARTED", "ITERATION_COMPLETED", "GET_BATCH_COMPLETED"]
    undisturbed = root / case.__name__
    undisturbed.mkdir()
    if case is Database:
        assert forked(lambda: fill(f"sqlite:///{undisturbed / ROWS_FILE}")) == 0
    if case is DatabaseServer:
        assert forked(lambda: fill(DatabaseServer.url)) == 0
    assert forked(lambda: train(case, undisturbed, None, False)) == 0, case.__name__
    report: list[str] = []
    for number in range(kills):
        folder = root / f"{case.__name__}-{number}"
        folder.mkdir()
        if case is Database:
            (folder / ROWS_FILE).symlink_to(undisturbed / ROWS_FILE)
        kill, again = (chosen.randint(1, LAST), chosen.choice(events)), None
        status = forked(lambda: train(case, folder, kill, False))
        assert os.WIFSIGNALED(status), (case.__name__, kill)
        if number == 0:  # a second time, before much was done
            again = chosen.randint(1, 5), chosen.choice(events)
            forked(lambda: train(case, folder, again, True))
        ended = forked(lambda: train(case, folder, None, True))
        line = f"{case.__name__} killed at {kill}, {again}: "
        if ended != 0:
            report.append(line + "did not end")
            continue
        expected, found = (torch.load(each / "result.pt") for each in (undisturbed, folder))
        wrong = differences(expected, found) + differences(metrics(undisturbed), metrics(folder))
        report.append(line + (f"differs in {wrong[:6]}" if wrong else "equal"))
    return report


def main(root: Path, kills: int, seed: int, names: list[str]) -> None:
    """Prove the cases, half of them in each of two processes."""
    torch.set_num_threads(1)
    torch.compile(torch.nn.Linear(1, 1), backend="eager")(torch.ones(1, 1))  # loads what it needs
    wanted = [each for each in CASES if each.__name__ in names] or CASES
    pids: list[int] = []
    for lane in range(2):
        pid = os.fork()
        if pid == 0:
            report: list[str] = []
            try:
                for case in wanted[lane::2]:
                    report += prove(case, root, kills, seed)
            except BaseException as error:
                report.append(repr(error))
            (root / f"report-{lane}.json").write_text(json.dumps(report))
            os._exit(0)
        pids.append(pid)
    for pid in pids:
        os.waitpid(pid, 0)
    reports = [json.loads((root / f"report-{lane}.json").read_bytes()) for lane in range(2)]
    print(json.dumps([*reports[0], *reports[1]], indent=0))


if __name__ == "__main__":
    DatabaseServer.url = sys.argv[4]
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[5:])
