"""The fork server: a program that imports once and then forks a fresh process for each attempt.

It runs no training itself and starts no thread, so that what it forks is sound. It ends, and every
process of every attempt with it, when the Factory's process ends or closes the control socket.
"""

from __future__ import annotations

import gc
import importlib
import os
import select
import signal
import socket
import sys
import traceback
from contextlib import suppress
from typing import Any, NoReturn

from fireworks.factory import linux
from fireworks.factory.forked_memory import arrange_memory
from fireworks.factory.wire import receive_control, send_control

# What every trial is likely to need. The first optimizer that is made imports torch._dynamo, which
# takes longer than all the rest together.
BASE_MODULES = (
    "cloudpickle",
    "torch",
    "torch._dynamo",
    "ignite.engine",
    "ignite.metrics",
    "ignite.handlers",
    "fireworks.message",
    "fireworks.experiment",
    "fireworks.engine",
    "fireworks.factory.child",
)
OPTIONAL_MODULES = ("torch.utils.tensorboard",)
_MOST_FILES = 500  # watched for changes: an answer is one packet
_SIGNALS = (signal.SIGCHLD, signal.SIGTERM)


def main(control_descriptor: int, parent: int) -> None:
    """Serve until the parent goes.

    Args:
        control_descriptor: Our end of the control socket.
        parent: Pid of the Factory's process.
    """
    linux.die_with_parent(parent)
    linux.adopt_orphans()
    linux.name_process("fireworks-fork")
    control = socket.socket(fileno=control_descriptor)
    order, _ = receive_control(control)
    if order is None:
        return
    sys.argv[:] = order["argv"]
    imported = _preload(order["modules"], order["leave_out"])
    gc.collect()
    gc.freeze()  # the collector of a child would otherwise touch, and so copy, every page
    if not imported["offenders"]:
        arrange_memory()
    send_control(control, imported)
    Server(control, parent).serve()


def _preload(modules: list[str], leave_out: list[str]) -> dict[str, Any]:
    """Import the modules; say which could not be and which made this process unfit to fork."""
    for module in BASE_MODULES:
        importlib.import_module(module)
    for module in OPTIONAL_MODULES:
        # A package that is missing or broken matters to the trials that use it, and only to them.
        with suppress(Exception):
            importlib.import_module(module)
    offenders: dict[str, str] = {}
    failed: dict[str, str] = {}
    threads = linux.count_threads()
    for module in modules:
        if module in leave_out:
            continue
        try:
            importlib.import_module(module)
        except BaseException:  # also SystemExit: a script that was meant to be run
            failed[module] = traceback.format_exc()
        if linux.count_threads() > threads:
            offenders[module] = "it starts a thread when it is imported"
        elif sys.modules["torch"].cuda.is_initialized():
            offenders[module] = "it uses CUDA when it is imported"
        if offenders:
            break
    return {"offenders": offenders, "failed": failed, "files": _users_files()}


def _users_files() -> list[str]:
    """The files of modules that are not installed: those that are edited from sweep to sweep."""
    installed = {sys.prefix, sys.base_prefix, sys.exec_prefix}
    files = (
        module.__file__
        for name, module in list(sys.modules.items())
        if not name.startswith("fireworks.") and getattr(module, "__file__", None)
    )
    return [
        file
        for file in files
        if file and not any(file.startswith(f"{folder}{os.sep}") for folder in installed)
    ][:_MOST_FILES]


class Server:
    """The loop that forks, reaps and reports.

    Args:
        control: The socket to the Factory's process.
        parent: That process's pid.
    """

    def __init__(self, control: socket.socket, parent: int) -> None:
        self._control = control
        self._parent = parent
        self._attempts: dict[int, str] = {}  # by the pid of the attempt's leader
        self._alone: set[int] = set()
        self._wake_read, self._wake_write = os.pipe()
        # Each attempt's leader that ends without a child says so here, or all processes of the
        # machine would have to be looked at.
        self._alone_read, self._alone_write = os.pipe()
        for descriptor in (self._wake_read, self._wake_write, self._alone_read):
            os.set_blocking(descriptor, False)

    def serve(self) -> None:
        """Answer orders and deaths until the Factory's process goes."""
        for each in _SIGNALS:
            signal.signal(each, lambda *_: None)  # without a handler nothing would be written
        signal.set_wakeup_fd(self._wake_write)
        # The death of the parent is now a request to end tidily: the groups first, then we.
        linux.die_with_parent(self._parent, signal.SIGTERM)
        poll = select.poll()
        poll.register(self._control, select.POLLIN)
        poll.register(self._wake_read, select.POLLIN)
        with suppress(BrokenPipeError, ConnectionResetError):
            while self._turn({descriptor for descriptor, _ in poll.poll()}):
                pass
        self._end()
        if os.getppid() != self._parent:
            os._exit(0)  # not by and by: the interpreter takes its time to take itself apart

    def _turn(self, ready: set[int]) -> bool:
        if self._wake_read in ready:
            signals = os.read(self._wake_read, 4096)
            if signal.SIGTERM in signals:
                return False
            self._reap()
        if self._control.fileno() in ready:
            order, files = receive_control(self._control)
            if order is None:
                return False
            if order["order"] == "fork":
                self._fork(order, files)
            else:
                self._kill(order["attempt"])
        return True

    def _fork(self, order: dict[str, Any], files: list[int]) -> None:
        # A signal between the fork and the child's own handlers would be answered by ours.
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        server = os.getpid()
        try:
            pid = os.fork()
        except OSError as error:
            reason = f"no process could be forked: {error}"
            send_control(self._control, {"refused": order["attempt"], "reason": reason})
        else:
            if pid == 0:
                self._become_child(server, order, files)
            self._attempts[pid] = order["attempt"]
            descriptor = os.pidfd_open(pid)
            send_control(self._control, {"started": order["attempt"], "pid": pid}, [descriptor])
            os.close(descriptor)
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
            for each in files:
                os.close(each)

    def _become_child(self, server: int, order: dict[str, Any], files: list[int]) -> NoReturn:
        try:
            linux.die_with_parent(server)
            os.setsid()
            signal.set_wakeup_fd(-1)
            for each in _SIGNALS:
                signal.signal(each, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
            for descriptor in (self._wake_read, self._wake_write, self._alone_read):
                os.close(descriptor)
            self._control.close()
            linux.adopt_orphans()
            linux.mark_process(order["attempt"])
            from fireworks.factory.child import run_attempts

            run_attempts(files, order["folder"], alone=self._alone_write)
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(70)

    def _kill(self, attempt: str) -> None:
        for pid, each in self._attempts.items():
            if each == attempt:
                _kill_group(pid)

    def _reap(self) -> None:
        """Wait for all that have died: leaders are reported, adopted orphans only waited for."""
        while True:
            try:
                dead = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                return
            if dead is None:
                return
            attempt = self._attempts.pop(dead.si_pid, None)
            if attempt is not None:
                # Before the leader is reaped its pid, and so its group's, cannot be another's.
                _kill_group(dead.si_pid)
            _, status, usage = os.wait4(dead.si_pid, 0)
            if attempt is not None:
                if not self._was_alone(dead.si_pid):
                    linux.kill_marked(attempt)  # what had left its group, too
                code = os.waitstatus_to_exitcode(status)
                send_control(
                    self._control,
                    {
                        "ended": attempt,
                        "exit_code": code if code >= 0 else None,
                        "signal": -code if code < 0 else None,
                        "peak_memory": usage.ru_maxrss * 1024,
                    },
                )

    def _was_alone(self, pid: int) -> bool:
        """Whether a process that has ended had no children, by its own word."""
        with suppress(BlockingIOError):
            said = os.read(self._alone_read, 1 << 16).split()
            self._alone.update(int(each) for each in said)
        alone = pid in self._alone
        self._alone.discard(pid)
        return alone

    def _end(self) -> None:
        for pid in self._attempts:
            _kill_group(pid)
        for pid, attempt in self._attempts.items():
            os.waitpid(pid, 0)
            linux.kill_marked(attempt)


def _kill_group(leader: int) -> None:
    """Kill an attempt's processes; its leader is a child of ours that was not reaped yet."""
    os.kill(leader, signal.SIGKILL)
    with suppress(ProcessLookupError):  # it was just forked and leads no group yet
        os.killpg(leader, signal.SIGKILL)
