"""The model of a finished trial: made by ``train`` itself, with the weights of its checkpoint."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

from fireworks.errors import WrongValue
from fireworks.factory.records import TrialRecord
from fireworks.factory.trial import Trial
from fireworks.factory.wire import Pipe
from fireworks.record.checkpoints import earlier_folders, list_checkpoints

if TYPE_CHECKING:
    from torch.nn import Module


@final
class ModelMade(BaseException):
    """Leaves ``train`` with the model; a user's ``except Exception`` does not stop it."""

    def __init__(self, parts: Mapping[str, Any]) -> None:
        super().__init__("the model is made")
        self.parts = parts


def load_model(
    train: Callable[[Trial], Any],
    record: TrialRecord,
    run: Path,
    data: Any = None,
) -> Module | dict[str, Module]:
    """Call ``train`` until it attaches its trainer, and give the model its trained weights.

    Args:
        train: What made the model.
        record: The trial.
        run: The experiment's folder.
        data: What the trials of the sweep share.

    Returns:
        The model, in evaluation mode; where there are several, a dict of them by name.

    Raises:
        WrongValue: The trial has no checkpoint, or ``train`` attaches no trainer.
    """
    from fireworks.engine import read_state
    from fireworks.engine.part_states import load_part_states

    folders = earlier_folders(run, record.number, record.attempts)
    path = next((each.path for folder in folders for each in list_checkpoints(folder)), None)
    if path is None:
        raise WrongValue(
            f"trial {record.number} wrote no checkpoint: its train must call "
            "trial.attach(trainer, evaluator, ...), which writes one at every epoch"
        )
    ours, theirs = socket.socketpair()
    with ours, theirs:
        job = {
            "trial": record.number,
            "attempt": record.attempts,
            "params": record.params,
            "seed": record.seed,
            "experiment": os.fspath(run),
            "load": os.fspath(path),
        }
        try:
            train(Trial(job, Pipe(theirs), data))
        except ModelMade as made:
            saved = read_state(path)["parts"]
            models = {name: part for name, part in made.parts.items() if name.startswith("model")}
            load_part_states(models, {name: saved[name] for name in models if name in saved})
            for model in models.values():
                model.eval()
            return models.get("model", models)
    raise WrongValue(
        "train attached no trainer that create_trainer made: there is no model to load"
    )
