"""Runs Ignite's own tests on engines that carry what our handlers attach to every engine.

    python tests/engine/ignite_suite.py

It fetches the source distribution of the installed Ignite, runs its tests of the engine and of the
handlers that we pass through or stand beside, as they are and then with every `Engine` having our
events, our handling of failures and what follows its data, and prints the tests that fail only so.
It needs the network, and takes minutes: no part of ``make test``.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ignite.engine import Engine

from fireworks.engine.data_length import DataLength
from fireworks.engine.data_state import data_state_of
from fireworks.engine.events import register_events
from fireworks.engine.failures import on_failure

TESTS = {
    "handlers": [
        "base_logger", "checkpoint", "early_stopping", "ema_handler", "handlers", "param_scheduler",
        "state_param_scheduler", "stores", "tensorboard_logger", "terminate_on_nan", "time_limit",
        "timing", "tqdm_logger",
    ],
    "engine": [
        "create_supervised", "custom_events", "deterministic", "engine", "engine_state_dict",
        "event_handlers",
    ],
}  # fmt: skip

COUNTS_HANDLERS = "tests/ignite/engine/test_event_handlers.py::test_remove_event_handler"
"""This one counts all handlers of an engine, and so finds ours."""


def carry_ours(engine: Engine) -> None:
    """Attach to an engine what our trainers and handlers attach to every one."""
    register_events(engine)
    on_failure(engine)
    data_state_of(engine)
    DataLength(engine)


def pytest_configure(config: object) -> None:
    """Called where this file is a plugin of pytest: let every engine carry what is ours."""
    make = Engine.__init__

    def make_ours(self: Engine, *arguments: Any, **options: Any) -> None:
        make(self, *arguments, **options)
        carry_ours(self)

    Engine.__init__ = make_ours


def failures(folder: Path, *options: str) -> set[str]:
    """Run the tests; return those that failed."""
    files = [f"tests/ignite/{part}/test_{name}.py" for part, all in TESTS.items() for name in all]
    done = subprocess.run(
        [
            sys.executable, "-m", "pytest", "-q", "--tb=no", "-rfE", "--color=no", "-W", "ignore",
            "-p", "no:cacheprovider", "-m", "not (distributed or multinode_distributed or tpu)",
            *options, *files,
        ],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent)},
        stdout=subprocess.PIPE,
        text=True,
    )  # fmt: skip
    lines = done.stdout.splitlines()
    print(lines[-1], flush=True)
    return {line.split()[1] for line in lines if line.startswith(("FAILED ", "ERROR "))}


def main() -> None:
    release = version("pytorch-ignite")
    with tempfile.TemporaryDirectory() as place:
        subprocess.run(
            [
                sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary",
                "pytorch-ignite", f"pytorch-ignite=={release}", "--dest", place,
            ],
            check=True,
        )  # fmt: skip
        (archive,) = Path(place).glob("*.tar.gz")
        with tarfile.open(archive) as content:
            content.extractall(place, filter="data")
        folder = archive.with_name(archive.name.removesuffix(".tar.gz"))
        before = failures(folder)
        ours = failures(folder, "-p", Path(__file__).stem)
    only = sorted(ours - before - {COUNTS_HANDLERS})
    print("\n".join(["failing only on our engines:", *only] if only else ["no difference"]))
    sys.exit(bool(only))


if __name__ == "__main__":
    main()
