"""A process ends, and takes its group along, when the sweep that it belongs to is gone."""

from __future__ import annotations

import os
import select
import signal
import threading


def end_with(pipe: int) -> None:
    """Kill this process's group as soon as the other end of a pipe is closed.

    The kernel's own signal for the death of a parent (Linux) ends one process, also where C code
    holds the interpreter's lock; this ends what the process has started, too: a DataLoader's
    workers.

    Args:
        pipe: Descriptor of a socket whose other end the sweep's process alone holds.
    """

    def watch() -> None:
        poll = select.poll()
        poll.register(pipe, getattr(select, "POLLRDHUP", 0))  # a hang-up is told of in any case
        poll.poll()
        os.killpg(0, signal.SIGKILL)

    threading.Thread(target=watch, name="fireworks-parent", daemon=True).start()
