"""What a process of a sweep does: one attempt at a trial, or one after the other."""

from __future__ import annotations

import atexit
import gc
import logging
import multiprocessing.util
import os
import random
import resource
import socket
import sys
import threading
import weakref
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, NoReturn, TextIO

import numpy as np
import torch

from fireworks.factory import linux
from fireworks.factory.lifeline import end_with
from fireworks.factory.outcome import run_train
from fireworks.factory.shared_data import map_shared
from fireworks.factory.transport import load_function
from fireworks.factory.trial import Trial
from fireworks.factory.wire import JSON, Pipe


def run_attempts(files: list[int], folder: str, *, alone: int | None = None) -> NoReturn:
    """Run what the pipe asks for, send what came of it, and end this process.

    Args:
        files: Descriptors of the pipe and, where ``train`` does not travel by name, of its pickle.
        folder: Takes what is printed before the first job has come.
        alone: Where to write this process's pid if it ends without leaving a process behind.
    """
    _redirect(folder)
    _forget_exit_handlers()
    end_with(files[0])
    pipe = Pipe(socket.socket(fileno=files[0]))
    stays = True
    while stays:
        stays = _run_attempt(pipe, pipe.receive(), files[1] if len(files) > 1 else None)
    # Not sys.exit: the interpreter would first wait for threads that the user left running.
    _run_exit_handlers()
    if alone is not None and not linux.has_children():
        os.write(alone, b"%d\n" % os.getpid())
    os._exit(0)


def _run_attempt(pipe: Pipe, job: JSON, pickle: int | None) -> bool:
    """Run one attempt; returns whether another may follow in this process."""
    _redirect(job["folder"])
    linux.name_process(f"trial-{job['trial']}")
    _set_devices(job.get("devices"))
    _set_threads(job["threads"])
    _set_seed(job["seed"])
    memory = linux.anonymous_memory(os.getpid())
    data = map_shared(job.get("data"))  # before the limit: to map it takes none of the memory
    if job.get("memory") is not None:
        _limit_memory(job["memory"])
    threads = threading.active_count()
    pipe.send({"ready": memory})

    def load() -> Callable[..., Any]:
        return _train(tuple(job["train"]) if job["train"] else None, pickle)

    outcome = run_train(load, Trial(job, pipe, data), job)
    stays = bool(job.get("stay")) and outcome["end"] in ("completed", "pruned", "paused")
    if stays:
        gc.collect()
        stays = threading.active_count() <= threads and not linux.has_children()
    sys.stdout.flush()
    sys.stderr.flush()
    with suppress(OSError):  # a parent that is gone needs no answer
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        pipe.send({**outcome, "stays": stays, "peak_memory": peak})
    return stays


_of_the_server: list[object] = []


@cache
def _train(name: tuple[str, str] | None, pickle: int | None) -> Callable[..., Any]:
    return load_function(list(name) if name else None, pickle)


def _redirect(folder: str) -> None:
    """Have what is printed, by whatever language, go to the folder's files."""
    for descriptor, stream in ((1, sys.stdout), (2, sys.stderr)):
        path = Path(folder, "stdout.txt" if descriptor == 1 else "stderr.txt")
        opened = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        os.dup2(opened, descriptor)
        os.close(opened)
        _by_line(stream)


def _by_line(stream: TextIO) -> None:
    # So that what was printed is there after a crash.
    stream.reconfigure(line_buffering=True)  # pyright: ignore[reportAttributeAccessIssue]


def _set_devices(devices: list[str] | None) -> None:
    """Show this process these GPUs alone; CUDA reads it when it is first used."""
    if devices is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(devices)


def _set_threads(number: int) -> None:
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = str(number)  # for the programs that the trial starts
    torch.set_num_threads(number)


def _set_seed(seed: int) -> None:
    random.seed(seed)
    np.random.seed(seed)
    if torch.accelerator.is_available():
        torch.manual_seed(seed)
    else:  # the same, and half a millisecond faster
        torch.default_generator.manual_seed(seed)


@cache
def _limit_memory(limit: int) -> None:
    """Let this process, and each that it starts, have so much more than it has; once."""
    linux.limit_data(limit)


# There is no public way to tell the handlers that were registered before a fork from those after.
# pyright: reportPrivateUsage=false, reportAttributeAccessIssue=false


def _forget_exit_handlers() -> None:
    """Leave to the fork server what the fork server is to do when it ends."""
    atexit._clear()
    # Kept, not cleared: to free a thousand objects means to copy their pages, in 4 ms.
    _of_the_server.append(weakref.finalize._registry)
    weakref.finalize._registry = {}
    weakref.finalize._registered_with_atexit = False
    multiprocessing.util._finalizer_registry.clear()


def _run_exit_handlers() -> None:
    """Do what the user's libraries want done at the end: close event files, remove folders."""
    logging.shutdown()
    with suppress(Exception):
        multiprocessing.util._exit_function()
        atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
