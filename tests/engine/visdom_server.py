"""A Visdom server of the tests' own, in a process that they may kill; nobody else can reach it."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

from tests.servers import free_port, pids

PROGRAM = """
import sys
from visdom.server.run_server import start_server
start_server(
    port=int(sys.argv[1]), hostname="127.0.0.1", base_url="", env_path=sys.argv[2], bind_local=True
)
"""


class VisdomServer:
    """It keeps what it is given in memory: when killed, it forgets."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.address = f"http://127.0.0.1:{self.port}"
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with (self._folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-W", "ignore", "-c", PROGRAM, str(self.port), str(self._folder)],
                stdout=log,
                stderr=log,
                cwd=self._folder,
                env={"HOME": str(self._folder), "NO_PROXY": "127.0.0.1"},
            )
        pids.add(self._process.pid)
        deadline = time.monotonic() + 60
        while True:
            try:
                self._post("env_state", {})
                return
            except OSError:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    self.kill()
                    raise RuntimeError((self._folder / "server.log").read_text()) from None
                time.sleep(0.05)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            pids.discard(self._process.pid)
            self._process = None

    @property
    def running(self) -> bool:
        return self._process is not None

    def send_signal(self, number: int) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def curves(self, environment: str) -> dict[str, list[tuple[int, float]]]:
        """The points of each window."""
        windows = self._post("win_data", {"eid": environment, "win": None})
        return {
            name: list(zip(data["x"], data["y"], strict=True))
            for name, each in windows.items()
            for data in each["content"]["data"]
        }

    def _post(self, endpoint: str, message: Any) -> Any:
        request = urllib.request.Request(
            f"{self.address}/{endpoint}", json.dumps(message).encode(), method="POST"
        )
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with direct.open(request, timeout=10) as response:
            return json.loads(response.read())
