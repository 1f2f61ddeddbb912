"""Where the data of a run stands: a source's state, a loader's own, or how much to read again."""

from __future__ import annotations

import json
import logging
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, final
from weakref import WeakKeyDictionary

import torch
from ignite.engine import Engine, Events

from fireworks.engine.parts import has_state
from fireworks.engine.random_state import random_state, restore_random_state
from fireworks.errors import StateMismatch
from fireworks.message import Message

_log = logging.getLogger(__name__)


@final
class DataState:
    """Knows, during a run, how to come back to the batch that comes next.

    A source says so itself, and so does a loader with ``state_dict`` (torchdata's). Of anything
    else the batches since its iterator was made are counted: to be read again, with the random
    state that it was made with.

    Args:
        trainer: Whose data it is.
    """

    def __init__(self, trainer: Engine) -> None:
        self._began = 0
        self._random: dict[str, Any] | None = None
        trainer.add_event_handler(Events.STARTED, self._start)
        trainer.add_event_handler(Events.EPOCH_STARTED, self._first)
        trainer.add_event_handler(Events.DATALOADER_STOP_ITERATION, self._again)

    def snapshot(self, engine: Engine, iteration: int, random: dict[str, Any]) -> dict[str, Any]:
        """Return where the data stands after an iteration.

        Args:
            engine: The trainer.
            iteration: The iterations that are done.
            random: The state of the random generators now.
        """
        data: Any = engine.state.dataloader
        kind = _kind(data)
        if kind == "none":
            return {"kind": kind}
        if kind == "source":
            rows = {key: _to_bytes(each) for key, each in data.state_rows().items()}
            return {"kind": kind, "state": json.dumps(data.state_dict()), "rows": rows}
        if kind == "loader":
            return {"kind": kind, "state": data.state_dict()}
        done = iteration - self._began
        if self._random is None or done == _length(data):  # the next batch is of a new iterator
            return {"kind": "replay", "done": 0, "random": random}
        return {"kind": "replay", "done": done, "random": self._random}

    def replayed(self, done: int, iteration: int, random: dict[str, Any]) -> None:
        """Hear that the iterator has come to where another run's stood."""
        self._began, self._random = iteration - done, random

    def _start(self, engine: Engine) -> None:
        self._began, self._random = engine.state.iteration, None

    def _first(self, engine: Engine) -> None:
        if self._random is None and not _keeps_state(engine.state.dataloader):
            self._random = random_state()

    def _again(self, engine: Engine) -> None:
        if not _keeps_state(engine.state.dataloader):
            self._began, self._random = engine.state.iteration, random_state()


def restore_data(data: Any, saved: Mapping[str, Any]) -> Iterable[Any] | None:
    """Bring the data of a run to where a snapshot was taken.

    Returns:
        What to iterate instead of ``data`` the first time, or None.

    Raises:
        StateMismatch: It is other data than the snapshot's; a source names the difference.
    """
    kind = saved["kind"]
    here = _kind(data)
    if kind != here:
        names = {
            "none": "no data", "source": "a source", "loader": "a loader that keeps its state",
            "replay": "an iterable without a state",
        }  # fmt: skip
        raise StateMismatch(
            f"The checkpoint was taken of a run over {names[kind]}; this is a run over "
            f"{names[here]} ({type(data).__name__})."
        )
    if kind == "source":
        rows = {key: _from_bytes(each) for key, each in saved["rows"].items()}
        data.load_state_dict(json.loads(saved["state"]), rows)
    elif kind == "loader":
        data.load_state_dict(saved["state"])
    elif kind == "replay":
        return _Replayed(data, saved["done"], saved["random"])
    return None


_states: WeakKeyDictionary[Engine, DataState] = WeakKeyDictionary()


def data_state_of(trainer: Engine) -> DataState:
    """Return what follows the data of a trainer, attached at the first call."""
    if trainer not in _states:
        _states[trainer] = DataState(trainer)
    return _states[trainer]


@final
class _Replayed:
    """Data of which the batches that were used before are read again, and left."""

    def __init__(self, data: Iterable[Any], done: int, random: Mapping[str, Any]) -> None:
        self._data = data
        self._done = done
        self._random = random

    def __iter__(self) -> Iterator[Any]:
        restore_random_state(self._random)
        batches = iter(self._data)
        if self._done:
            _log.warning(
                "reading %d batches again: a %s keeps no state; a Source does",
                self._done,
                type(self._data).__name__,
            )
        for _ in range(self._done):
            next(batches)
        return batches


def _kind(data: Any) -> str:
    if data is None:
        return "none"
    if hasattr(data, "state_rows"):
        return "source"
    return "loader" if has_state(data) else "replay"


def _keeps_state(data: Any) -> bool:
    return _kind(data) != "replay"


def _length(data: Any) -> int | None:
    try:
        return len(data)
    except TypeError:
        return None


def _to_bytes(rows: Message) -> torch.Tensor:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.arrow"
        rows.save(path)
        return torch.frombuffer(bytearray(path.read_bytes()), dtype=torch.uint8)


def _from_bytes(content: torch.Tensor) -> Message:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.arrow"
        path.write_bytes(content.numpy().tobytes())
        return Message.load(path).copy()
