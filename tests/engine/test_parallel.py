"""Two processes that train together are one that trains on the same batches."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from fireworks import load_experiment, resume
from fireworks.engine import read_state, trainer_parts
from fireworks.errors import StateMismatch

sys.path.insert(0, str(Path(__file__).parent))
try:
    from parallel_training import build  # pyright: ignore[reportMissingImports]
finally:
    sys.path.pop(0)


def test_two_processes_equal_one_and_one_cannot_go_on_from_two(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    program = str(Path(__file__).with_name("parallel_training.py"))
    environment = {
        **os.environ, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2",
        "GLOO_SOCKET_IFNAME": "lo",
    }  # fmt: skip
    processes = [
        subprocess.Popen(
            [sys.executable, "-W", "ignore", program, str(tmp_path)],
            env={**environment, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(2)
    ]
    try:
        for process in processes:
            output, _ = process.communicate(timeout=90)
            assert process.returncode == 0, output
    finally:
        for process in processes:
            process.kill()
            process.communicate()
    alone, batches = build(0, 1)
    alone.run(batches, max_epochs=3)
    expected = trainer_parts(alone)["model"].state_dict()  # pyright: ignore
    ranks = [torch.load(tmp_path / f"rank-{rank}.pt") for rank in range(2)]
    for name, value in expected.items():
        assert torch.equal(ranks[0][name], ranks[1][name])
        torch.testing.assert_close(ranks[0][name], value)

    run = tmp_path / "run-0001"
    state = read_state(run / "checkpoints" / "step-0000015.pt")
    assert len(state["random"]) == 2
    single, _ = build(0, 1)
    with (
        load_experiment(run, write=True) as experiment,
        pytest.raises(StateMismatch, match="of 2 processes; these are 1"),
    ):
        resume(single, experiment)
