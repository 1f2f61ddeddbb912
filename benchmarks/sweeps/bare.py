"""The least that a fork server can do: fork, compute, answer. Nothing is recorded or watched."""

from __future__ import annotations

import os
import signal
import subprocess
import sys


class BareForkServer:
    """Has imported torch and Ignite; forks a process for each number and has it squared."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            env={**os.environ, "JE_ARROW_MALLOC_CONF": "background_thread:false"},
        )
        self.run(2, slots=1)  # it has imported everything now

    def __enter__(self) -> BareForkServer:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()

    def run(self, trials: int, slots: int) -> dict[int, int]:
        """Have so many numbers squared, so many at once."""
        assert self._process.stdin is not None and self._process.stdout is not None
        results: dict[int, int] = {}
        begun, unread = 0, b""
        while len(results) < trials:
            while begun < trials and begun - len(results) < slots:
                self._process.stdin.write(b"%d\n" % begun)
                begun += 1
            *lines, unread = (unread + os.read(self._process.stdout.fileno(), 4096)).split(b"\n")
            for line in lines:
                number, result = line.split()
                results[int(number)] = int(result)
        return results


def serve() -> None:
    """Fork for each number on standard input; each child answers on standard output and ends."""
    import gc

    import torch
    import torch._dynamo
    from ignite import engine, handlers, metrics

    assert engine and handlers and metrics
    gc.collect()
    gc.freeze()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    unread = b""
    while content := os.read(0, 4096):
        *lines, unread = (unread + content).split(b"\n")
        for line in lines:
            if os.fork() == 0:
                torch.set_num_threads(1)
                os.write(1, b"%d %d\n" % (int(line), int(line) ** 2))
                os._exit(0)


if __name__ == "__main__":
    serve()
