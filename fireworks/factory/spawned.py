"""What a spawned interpreter does before it imports anything large."""

from __future__ import annotations

import os

from fireworks.factory import linux
from fireworks.factory.lifeline import end_with


def main(parent: str, folder: str, *files: str) -> None:
    """Tie this process to the sweep's life, then run its attempt.

    Args:
        parent: Pid of the sweep's process.
        folder: Takes what is printed.
        *files: Descriptors of the pipe and, where there is one, of the pickle of ``train``.
    """
    linux.die_with_parent(int(parent))
    descriptors = [int(file) for file in files]
    for descriptor in descriptors:
        os.set_inheritable(descriptor, False)
    end_with(descriptors[0])
    from fireworks.factory.child import run_attempts

    run_attempts(descriptors, folder)
