"""The next batches, read while this one computes."""

from __future__ import annotations

import queue
import threading
import weakref
from collections.abc import Iterator, Mapping
from typing import Any, final

import torch

from fireworks.engine.transfer import Transfer
from fireworks.errors import WrongType, WrongValue
from fireworks.message import Message
from fireworks.source import Source

_State = tuple[dict[str, Any], dict[str, Message]]
_Item = tuple[Message | BaseException | None, _State | None, torch.cuda.Event | None]


@final
class Prefetch:
    """A source whose batches are read ahead by a background thread.

    It is data for an engine: ``trainer.run(Prefetch(source), max_epochs=10)``. The order is the
    source's, and its state that of the batch handed out last, however far the thread is ahead. With
    CUDA the thread also puts the batches into page-locked memory, so that their copies to the GPU
    do not block; with ``device="cuda"`` it makes these copies, too, while the GPU computes.

    Args:
        source: The source.
        batches: How many batches to hold ready, at most.
        pin: Whether to put them into page-locked memory; by default where there is CUDA.
        device: A CUDA device to copy them to; elsewhere the trainer does that.

    Raises:
        WrongType: It is no source; a DataLoader reads ahead by itself.
        WrongValue: ``batches`` is below 1, or ``device`` is no CUDA device.
    """

    def __init__(
        self,
        source: Source,
        batches: int = 2,
        *,
        pin: bool | None = None,
        device: str | torch.device | None = None,
    ) -> None:
        if not isinstance(source, Source):
            raise WrongType(
                f"Prefetch reads a Source ahead, not {type(source).__name__}. A DataLoader does so "
                "by itself with num_workers=1."
            )
        if batches < 1:
            raise WrongValue(f"batches must be at least 1; it is {batches!r}.")
        if device is not None and torch.device(device).type != "cuda":
            raise WrongValue(f"device is a CUDA device to copy batches to, not {str(device)!r}.")
        self.source = source
        self._batches = batches
        self._pin = torch.cuda.is_available() if pin is None else pin
        self._transfer = None if device is None else Transfer(torch.device(device))
        self._state: _State | None = None

    def __len__(self) -> int:
        return len(self.source)

    def __iter__(self) -> Iterator[Message]:
        ahead = _Ahead(self._batches)
        thread = threading.Thread(
            target=_read,
            args=(self.source, ahead, self._pin, self._transfer),
            name="prefetch",
            daemon=True,
        )
        batches = _Batches(self, ahead, self._transfer)
        # An abandoned iteration (an exception, an early end) is simply let go of.
        weakref.finalize(batches, ahead.stop)
        thread.start()
        return batches

    def state_dict(self) -> dict[str, Any]:
        """Return where the batch handed out last stands."""
        return self.source.state_dict() if self._state is None else self._state[0]

    def state_rows(self) -> dict[str, Message]:
        """Return the part of the state that is too large for `state_dict`, by source."""
        return self.source.state_rows() if self._state is None else self._state[1]

    def load_state_dict(
        self, saved: Mapping[str, Any], rows: Mapping[str, Message] | None = None
    ) -> None:
        """Make the next iteration go on where a state was taken."""
        self.source.load_state_dict(saved, rows)
        self._state = None

    def handed_out(self, state: _State | None) -> None:
        """Hear which batch was handed out."""
        self._state = state


@final
class _Ahead:
    """What is between the thread that reads and the one that trains."""

    def __init__(self, size: int) -> None:
        self.items: queue.Queue[_Item] = queue.Queue(size)
        self.stopped = threading.Event()

    def stop(self) -> None:
        """Let the thread end."""
        self.stopped.set()
        while True:  # it may be waiting for a place
            try:
                self.items.get_nowait()
            except queue.Empty:
                return

    def put(
        self,
        item: Message | BaseException | None,
        state: _State | None = None,
        there: torch.cuda.Event | None = None,
    ) -> bool:
        """Hand something over; whether anybody still wants it."""
        if not self.stopped.is_set():
            self.items.put((item, state, there))
        return not self.stopped.is_set()


class _Batches(Iterator[Message]):
    def __init__(self, prefetch: Prefetch, ahead: _Ahead, transfer: Transfer | None) -> None:
        self._prefetch = prefetch
        self._ahead = ahead
        self._transfer = transfer
        self._ended = False

    def __next__(self) -> Message:
        if self._ended:
            raise StopIteration
        item, state, there = self._ahead.items.get()
        if isinstance(item, Message):
            if self._transfer is not None and there is not None:
                self._transfer.finish(item, there)
            self._prefetch.handed_out(state)
            return item
        self._ended = True
        if item is None:
            raise StopIteration
        raise item


def _read(source: Source, ahead: _Ahead, pin: bool, transfer: Transfer | None) -> None:
    """Read a pass in a thread."""
    there = None
    try:
        with iter(source) as batches:
            for batch in batches:
                # Taken here: the source goes on while the batch waits.
                state = batches.state_dict(), source.state_rows()
                if pin and batch.device is not None and batch.device.type == "cpu":
                    batch = batch.pin_memory()
                if transfer is not None:
                    batch, there = transfer.begin(batch)
                if not ahead.put(batch, state, there):
                    return
        ahead.put(None)
    except BaseException as error:
        ahead.put(error)
