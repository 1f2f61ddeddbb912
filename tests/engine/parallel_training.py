"""One of two processes that train together; run by test_parallel.py."""

from __future__ import annotations

import sys
from pathlib import Path

import ignite.distributed as idist
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from fireworks import Checkpointer, Experiment, ExperimentLogger, Message, create_trainer
from fireworks.engine import trainer_parts
from fireworks.sources import BatchingSource, MessageSource, ShardSource, ShufflerSource

generator = torch.Generator().manual_seed(0)
ROWS = Message({"x": torch.randn(48, 3, generator=generator), "label": torch.arange(48) % 2})


def build(rank: int, world: int):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 2))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    trainer = create_trainer(
        model, optimizer, cross_entropy, inputs="x", target="label", device="cpu", accumulate=2
    )
    source = MessageSource(ROWS) >> ShufflerSource(1) >> ShardSource(rank, world)
    return trainer, source >> BatchingSource(8 // world)


def main(root: Path) -> None:
    idist.initialize("gloo")
    try:
        rank = idist.get_rank()
        trainer, batches = build(rank, idist.get_world_size())
        experiment = Experiment("run", root=root) if rank == 0 else None
        if experiment is not None:
            ExperimentLogger(experiment).attach(trainer)
        Checkpointer(experiment).attach(trainer, every=5)
        trainer.run(batches, max_epochs=3)
        torch.save(trainer_parts(trainer)["model"].state_dict(), root / f"rank-{rank}.pt")  # pyright: ignore
        if experiment is not None:
            experiment.close()
        idist.barrier()  # rank 0 holds the store that the other may still be asking
    finally:
        idist.finalize()


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(Path(sys.argv[1]))
