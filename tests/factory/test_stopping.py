"""Sweeps that are asked to end from outside, and what their trials have printed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fireworks.experiment import Experiment, load_experiment
from fireworks.factory import Factory, FactoryEvents, Trial

TRIALS = 20
SCRIPT = """
import sys, time
from pathlib import Path
from fireworks.factory import Factory, Random

TRIALS = 20

def train(trial):
    print("printed by", trial.number, flush=True)
    print("an error of", trial.number, file=sys.stderr)
    while trial.number and not Path("go").exists():
        time.sleep(0.02)
    return {"accuracy": trial.params["x"]}

Factory(
    train, propose=Random({"x": (0.0, 1.0)}), maximize="accuracy", experiment="long", workers=2,
).run(trials=TRIALS)
"""


def fireworks(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [Path(sys.executable).with_name("fireworks"), *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def sweep(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A sweep whose trials 1 and 2 wait."""
    (tmp_path / "script.py").write_text(SCRIPT)
    with (tmp_path / "output").open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "script.py"], cwd=tmp_path, stdout=output, stderr=output
        )
    waiting = tmp_path / "runs/long-0001/trials/2/attempt-1/stdout.txt"
    deadline = time.monotonic() + 60
    while not waiting.exists() or not waiting.read_text():
        assert process.poll() is None and time.monotonic() < deadline, (
            tmp_path / "output"
        ).read_text()
        time.sleep(0.02)
    yield process
    process.kill()
    process.wait()


def states(tmp_path: Path) -> list[str]:
    with load_experiment(tmp_path / "runs" / "long-0001") as experiment:
        return experiment.sql("SELECT state FROM trials ORDER BY number")["state"].tolist()


def status(tmp_path: Path) -> str:
    with load_experiment(tmp_path / "runs" / "long-0001") as experiment:
        return experiment.status


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_stop_lets_what_runs_finish(tmp_path: Path, sweep: subprocess.Popen[bytes]) -> None:
    done = fireworks(tmp_path, "stop", "long-0001")
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"asked process {sweep.pid} to stop: its running trials may finish\n"
    time.sleep(0.2)
    assert sweep.poll() is None
    (tmp_path / "go").touch()
    assert sweep.wait(20) == 0
    assert set(states(tmp_path)) == {"completed"} and len(states(tmp_path)) == 3
    again = fireworks(tmp_path, "stop", "long-0001")
    assert again.returncode == 1 and "'long-0001' is not running" in again.stderr
    assert status(tmp_path) == "stopped"
    goes_on = fireworks(tmp_path, "resume", "long-0001")
    assert goes_on.returncode == 0, goes_on.stderr
    assert states(tmp_path) == ["completed"] * TRIALS and status(tmp_path) == "completed"
    complete = fireworks(tmp_path, "resume", "long-0001")
    assert complete.returncode == 1 and "is complete" in complete.stderr


def test_stop_now_stops_what_runs(tmp_path: Path, sweep: subprocess.Popen[bytes]) -> None:
    done = fireworks(tmp_path, "stop", "runs/long-0001", "--now")
    assert done.returncode == 0, done.stderr
    assert sweep.wait(20) == 128 + signal.SIGTERM
    assert states(tmp_path) == ["completed", "stopped", "stopped"]
    assert status(tmp_path) == "stopped"


def test_logs_shows_what_a_trial_has_printed(
    tmp_path: Path, sweep: subprocess.Popen[bytes]
) -> None:
    both = fireworks(tmp_path, "logs", "long-0001", "0")
    assert (both.stdout, both.stderr) == ("printed by 0\n", "an error of 0\n")
    one = fireworks(tmp_path, "logs", "runs/long-0001", "1", "--stream", "stdout", "--attempt", "1")
    assert (one.stdout, one.stderr) == ("printed by 1\n", "")
    missing = fireworks(tmp_path, "logs", "long-0001", "77")
    assert missing.returncode == 1 and "no trial 77 that began; the last is 2" in missing.stderr
    missing = fireworks(tmp_path, "logs", "long-0001", "1", "--attempt", "3")
    assert missing.returncode == 1 and "Trial 1 has no attempt 3" in missing.stderr
    follower = subprocess.Popen(
        [Path(sys.executable).with_name("fireworks"), "logs", "long-0001", "1", "--follow"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    time.sleep(0.1)
    os.kill(sweep.pid, signal.SIGTERM)
    out, _ = follower.communicate(timeout=20)
    assert out == b"printed by 1\n" and follower.returncode == 0


def test_logs_shows_the_last_lines_of_a_large_file(tmp_path: Path) -> None:
    with Experiment("printed", root=tmp_path / "runs") as experiment:
        folder = experiment.path / "trials" / "0" / "attempt-1"
        folder.mkdir(parents=True)
        text = "".join(f"line {number}\n" for number in range(30_000))
        (folder / "stdout.txt").write_text(text)
        for lines, expected in ((1, 1), (3, 3), (20_000, 20_000), (99_999, 30_000)):
            done = fireworks(tmp_path, "logs", "printed-0001", "0", "--lines", str(lines))
            assert done.stdout == "".join(text.splitlines(True)[-expected:])
        (folder / "stdout.txt").write_text("no newline\nat the end")
        done = fireworks(tmp_path, "logs", "printed-0001", "0", "--lines", "1")
        assert done.stdout == "at the end"
        none = fireworks(tmp_path, "stop", "printed-0002")
        assert none.returncode == 1 and "no experiment 'printed-0002'" in none.stderr


def test_a_trial_that_is_asked_to_end_takes_a_checkpoint_first(
    make: Callable[..., Factory], experiment: Experiment
) -> None:
    def train(trial: Trial) -> dict[str, float]:
        import torch
        from ignite.engine import Events

        from fireworks.engine import create_evaluator, create_trainer

        model = torch.nn.Linear(1, 1)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        batches = [{"x": torch.ones(2, 1), "y": torch.ones(2, 1)}] * 600
        loss = torch.nn.functional.mse_loss
        trainer = create_trainer(model, optimizer, loss, inputs="x", target="y")
        evaluator = create_evaluator(model, metrics={}, inputs="x", target="y")
        if trial.attempt == 1:
            trainer.add_event_handler(Events.ITERATION_COMPLETED, lambda: time.sleep(0.01))
        trial.attach(trainer, evaluator, data=batches[:1])
        first = trainer.state.iteration
        trainer.run(batches, max_epochs=1)
        return {"accuracy": 1.0, "first": first}

    factory = make(train, workers=1, time_limit=3.0, retries=1)
    begun: list[int] = []
    factory.add_event_handler(
        FactoryEvents.TRIAL_RETRIED,
        lambda: begun.extend(
            int(path.stem.removeprefix("step-"))
            for path in experiment.path.glob("trials/0/attempt-1/checkpoints/step-*.json")
        ),
    )
    factory.run(trials=1)
    assert factory.trials["attempts"].tolist() == [2]
    assert len(begun) == 1 and 0 < begun[0] < 600
    reasons = experiment.sql("SELECT reason, exit_code FROM attempts ORDER BY number")
    assert reasons["reason"].tolist()[0] == "over its time limit of 3 s"
    rows = experiment.sql("SELECT step FROM metric WHERE name = 'train/loss' ORDER BY step")
    assert rows["step"].tolist() == list(range(1, 601))
