"""Packages that only some features need: imported at first use, missed with a useful message."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

from fireworks.errors import MissingDependency


def require(module: str, *, extra: str, purpose: str) -> ModuleType:
    """Import and return an optional module.

    Args:
        module: The module to import, for example ``"optuna"``.
        extra: The extra of ``fireworks-ml`` that installs it.
        purpose: What needs it, as the subject of a sentence: ``"Proposing parameters"``.

    Raises:
        MissingDependency: The package is not installed; the message names the command that
            installs it.
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        package = module.partition(".")[0]
        if (error.name or package).partition(".")[0] != package:
            raise  # the package is there and lacks something of its own: not ours to explain
        raise MissingDependency(
            f"{purpose} needs the package {package!r}, which is not installed. "
            f"Install it with: pip install 'fireworks-ml[{extra}]'"
        ) from None
