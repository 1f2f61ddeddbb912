"""Which systems a sweep runs on: Linux in full, macOS with fresh interpreters, Windows not."""

from __future__ import annotations

import sys

from fireworks.errors import SweepFailed


def refuse_windows() -> None:
    """Refuse what has neither process groups nor descriptors that can be handed over.

    Raises:
        SweepFailed: This is Windows.
    """
    if sys.platform == "win32":
        raise SweepFailed(
            "a sweep needs Linux or macOS, whose processes it starts and ends in groups; this is "
            "Windows. Run it inside WSL 2."
        )


def require_linux(what: str) -> None:
    """Refuse what only Linux can do.

    Raises:
        SweepFailed: This is another system.
    """
    refuse_windows()
    if sys.platform != "linux":
        raise SweepFailed(
            f"{what} needs Linux, whose processes can be forked safely and end together; this is "
            f"{sys.platform!r}. Use isolation='spawn'."
        )
