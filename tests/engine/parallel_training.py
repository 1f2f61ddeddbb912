"""Two processes that train together: undisturbed, stopped by SIGTERM, and gone on with.

Run by test_parallel.py in a process of its own, which it forks: a fork costs milliseconds where a
new interpreter would import torch for seconds.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import ignite.distributed as idist
import torch
import torch._dynamo  # the first optimizer would import it, in each process
from ignite.engine import Engine, Events
from torch import nn
from torch.nn.functional import cross_entropy

from fireworks import (
    Checkpointer,
    Experiment,
    ExperimentLogger,
    Message,
    create_trainer,
    load_experiment,
    resume,
)
from fireworks.engine import trainer_parts
from fireworks.sources import BatchingSource, MessageSource, ShardSource, ShufflerSource

generator = torch.Generator().manual_seed(0)
ROWS = Message({"x": torch.randn(48, 3, generator=generator), "label": torch.arange(48) % 2})
EPOCHS = 3  # of six iterations
SECONDS = 60  # that a pair of processes may take


def build(rank: int, world: int):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 2))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    trainer = create_trainer(
        model, optimizer, cross_entropy, inputs="x", target="label", device="cpu", accumulate=2
    )
    source = MessageSource(ROWS) >> ShufflerSource(1) >> ShardSource(rank, world)
    return trainer, source >> BatchingSource(8 // world)


def train(root: Path, slowly: bool) -> None:
    """Train to the end, from a checkpoint where there is one."""
    rank = idist.get_rank()
    trainer, batches = build(rank, idist.get_world_size())
    path = root / "run-0001"
    if path.exists():
        experiment = load_experiment(path, write=rank == 0)
        resume(trainer, experiment)
    else:
        idist.barrier()  # the other may still have to look
        experiment = Experiment("run", root=root) if rank == 0 else None
    if experiment is not None and rank == 0:
        ExperimentLogger(experiment).attach(trainer)
    Checkpointer(experiment).attach(trainer, every=5)

    @trainer.on(Events.ITERATION_COMPLETED)
    def wait(engine: Engine) -> None:
        if slowly:
            (root / f"iteration-{rank}").write_text(str(engine.state.iteration))
            time.sleep(0.05 * (1 + rank))

    try:
        trainer.run(batches, max_epochs=EPOCHS)
    except SystemExit:
        if experiment is not None and rank == 0:
            experiment.close("stopped")
        raise
    torch.save(trainer_parts(trainer)["model"].state_dict(), root / f"rank-{rank}.pt")
    if experiment is not None and rank == 0:
        experiment.close()


def pair(work: Callable[[], None], during: Callable[[list[int]], None] | None = None) -> list[int]:
    """Do work in two processes that know each other; returns their exit codes."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    os.environ.update(
        MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), WORLD_SIZE="2", GLOO_SOCKET_IFNAME="lo"
    )
    pids: list[int] = []
    for rank in range(2):
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                signal.alarm(SECONDS)
                os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank))
                idist.initialize("gloo")
                work()
                code = 0
            except SystemExit as ended:
                code = int(ended.code or 0)
            except BaseException:
                traceback.print_exc()
            finally:
                # Rank 0 holds the store that the other may still be asking.
                if code != 1:
                    idist.barrier()
                idist.finalize()
                os._exit(code)
        pids.append(pid)
    if during is not None:
        during(pids)
    return [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids]


def stop_one(root: Path, pids: list[int]) -> None:
    """Send SIGTERM to rank 1 when both have trained for some iterations."""
    progress = [root / f"iteration-{rank}" for rank in range(2)]
    while not all(each.exists() and int(each.read_text() or 0) >= 4 for each in progress):
        time.sleep(0.01)
    os.kill(pids[1], signal.SIGTERM)


def main(root: Path) -> None:
    torch.set_num_threads(1)
    whole, stopped = root / "whole", root / "stopped"
    for folder in (whole, stopped):
        folder.mkdir()
    codes = {
        "whole": pair(lambda: train(whole, slowly=False)),
        "stopped": pair(lambda: train(stopped, slowly=True), lambda pids: stop_one(stopped, pids)),
    }
    for path in (stopped / "run-0001" / "checkpoints").glob("step-*.json"):
        (stopped / path.name).write_bytes(path.read_bytes())
    codes["resumed"] = pair(lambda: train(stopped, slowly=False))
    print(json.dumps(codes))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
