"""Batches on their way to a GPU while it computes."""

from __future__ import annotations

from typing import final

import torch

from fireworks.message import Message


@final
class Transfer:
    """Copies batches to a CUDA device beside what it computes, in a stream of its own.

    Args:
        device: The device.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream = torch.cuda.Stream(device)

    def begin(self, batch: Message) -> tuple[Message, torch.cuda.Event]:
        """Start the copy of a batch from page-locked memory; for the thread that reads ahead."""
        with torch.cuda.stream(self._stream):
            moved = batch.to(self._device, non_blocking=True)
            there = torch.cuda.Event()
            there.record(self._stream)
        return moved, there

    def finish(self, batch: Message, there: torch.cuda.Event) -> None:
        """Let what is computed from now on wait for the copy; for the thread that computes."""
        computing = torch.cuda.current_stream(self._device)
        computing.wait_event(there)
        for name in batch.columns:
            values = batch.array(name)
            if isinstance(values, torch.Tensor):
                # Else its memory could be given to the next copy while it is still being read.
                values.record_stream(computing)
