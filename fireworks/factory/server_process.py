"""The fork server's process, its socket, and the thread that started it."""

from __future__ import annotations

import json
import logging
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterable
from contextlib import suppress
from typing import IO, Any, final

from fireworks.errors import SweepFailed
from fireworks.factory.linux import MARKER, NO_ATTEMPT
from fireworks.factory.wire import receive_control, send_control

logger = logging.getLogger("fireworks.factory")

_START_LIMIT = 300.0  # seconds that all imports together may take
_PROGRAM = """
import json, sys
sys.path[:] = json.loads(sys.argv[1])
from fireworks.factory.server import main
main(int(sys.argv[2]), int(sys.argv[3]))
"""
# Libraries that start threads when they are imported would make forking unsound. CUDA's
# availability is to be asked without starting CUDA. Sets of strings are to have one order in
# every sweep.
_ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "JE_ARROW_MALLOC_CONF": "background_thread:false",
    "PYTORCH_NVML_BASED_CUDA_CHECK": "1",
    MARKER: NO_ATTEMPT,
}


@final
class ServerProcess:
    """A fork server that has imported everything and may fork.

    Args:
        modules: What it is to import.
        required: Those of them without which no trial can run.

    Attributes:
        control: The socket that orders and news go over.

    Raises:
        SweepFailed: A required module cannot be imported there, or the server ends.
    """

    control: socket.socket

    def __init__(self, modules: list[str], required: frozenset[str]) -> None:
        self._required = required
        self._output: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - close() closes it
        self._process: subprocess.Popen[bytes] | None = None
        self._keeper: threading.Thread | None = None
        self._ready = False  # whether it has imported all and may fork
        self._path = list(sys.path)
        self._files: dict[str, int] = {}
        left_out: dict[str, str] = {}
        try:
            while offenders := self._launch(modules, list(left_out)):
                for name, why in offenders.items():
                    logger.warning(
                        "the module %r is not imported ahead of the trials: %s. "
                        "Each trial imports it by itself, and so starts more slowly.",
                        name,
                        why,
                    )
                left_out |= offenders
                self._stop()
        except BaseException:
            self.close()
            raise

    @property
    def pid(self) -> int | None:
        """Its pid; None where it was not started."""
        return self._process.pid if self._process else None

    @property
    def outdated(self) -> bool:
        """Whether ``sys.path`` or a file that it has imported is another one by now."""
        return sys.path != self._path or _times(self._files) != self._files

    def close(self) -> str:
        """End the server and all that it forked; returns how it ended, for a message."""
        self._stop()
        code = self._process.returncode if self._process else None
        output = self._last_output()
        self._output.close()
        how = f"signal {signal.Signals(-code).name}" if code and code < 0 else f"exit code {code}"
        return f"the fork server ended ({how}){': ' + output if output else ''}"

    def _launch(self, modules: list[str], leave_out: list[str]) -> dict[str, str]:
        """Start the process and have it import; returns the modules that make it unfit."""
        self.control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        started = threading.Event()
        failure: list[BaseException] = []

        def keep() -> None:
            # The kernel's signal for the parent's death follows the thread that started the
            # process, so this one lives exactly as long as the server does.
            try:
                self._process = self._popen(theirs)
            except BaseException as error:
                failure.append(error)
                return
            finally:
                started.set()
            self._process.wait()

        self._keeper = threading.Thread(target=keep, name="fireworks-fork-server", daemon=True)
        self._keeper.start()
        started.wait()
        theirs.close()
        if failure:
            raise SweepFailed(f"the fork server cannot be started: {failure[0]}")
        self.control.settimeout(_START_LIMIT)
        answer: dict[str, Any] | None = None
        with suppress(BrokenPipeError):
            send_control(
                self.control, {"modules": modules, "leave_out": leave_out, "argv": sys.argv}
            )
            try:
                answer, _ = receive_control(self.control)
            except TimeoutError:
                raise SweepFailed(
                    f"the imports of the fork server took more than {_START_LIMIT:.0f} s"
                ) from None
        self.control.settimeout(None)
        if answer is None:
            self._stop()
            raise SweepFailed(
                f"the fork server ended while it imported its modules:\n{self._last_output()}"
            )
        for name, trace in answer["failed"].items():
            message = f"the module {name!r} cannot be imported in the processes of the trials"
            if name in self._required:
                raise SweepFailed(f"{message}:\n{trace}")
            logger.warning("%s: %s", message, trace.strip().splitlines()[-1])
        self._files = _times(answer["files"])
        self._ready = not answer["offenders"]
        return answer["offenders"]

    def _popen(self, control: socket.socket) -> subprocess.Popen[bytes]:
        environment = {**os.environ, **_ENVIRONMENT}
        environment.setdefault("PYTHONHASHSEED", "0")
        return subprocess.Popen(
            [
                sys.executable,
                *subprocess._args_from_interpreter_flags(),  # pyright: ignore
                "-c",
                _PROGRAM,
                json.dumps(sys.path),
                str(control.fileno()),
                str(os.getpid()),
            ],
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=self._output,
            pass_fds=[control.fileno()],
            env=environment,
            start_new_session=True,  # Ctrl-C in the terminal is for the Factory alone
        )

    def _stop(self) -> None:
        """Close the socket, which ends the server; by force where that does not help."""
        if self._keeper is None:
            return
        self.control.close()
        if not self._ready and self._process is not None:
            self._process.kill()  # it has forked nothing, and hears nothing while it imports
        self._keeper.join(10)
        if self._keeper.is_alive() and self._process is not None:
            self._process.kill()
            self._keeper.join()

    def _last_output(self) -> str:
        self._output.seek(0)
        return self._output.read()[-4000:].decode(errors="replace").strip()


def _times(files: Iterable[str]) -> dict[str, int]:
    """When each file was last written to; of one that is gone, 0."""
    times = dict.fromkeys(files, 0)
    for file in times:
        with suppress(OSError):
            times[file] = os.stat(file).st_mtime_ns
    return times
