"""A run that is killed and resumed ends with the record of one that was not."""

import contextlib
import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from fireworks.errors import ExperimentReadOnly, WrongValue
from fireworks.experiment import Experiment, Text, load_experiment, open_attempt
from fireworks.message import Message

TRAINING = """
import json, os, sys, time
from fireworks.experiment import Experiment, Text, load_experiment
from fireworks.message import Message

def train(path, steps, pause, every=50):
    checkpoint = os.path.join(path, "files", "checkpoint.json")
    begin, position = 0, 0
    if os.path.exists(checkpoint):
        state = json.load(open(checkpoint))
        begin, position = state["step"], state["position"]
    with load_experiment(path, write=True, position=position) as experiment:
        for step in range(begin, steps):
            experiment.log({"loss": step / 7, "accuracy": step / 9}, step=step)
            if step % 3 == 0:
                experiment.log({"note": Text(str(step))}, step=step)
            if step % 20 == 0:
                experiment.log({"rows": Message({"x": [step, step + 1]})}, step=step)
            if (step + 1) % every == 0:
                with experiment.file("checkpoint.json", "w") as stream:
                    json.dump({"step": step + 1, "position": experiment.mark()}, stream)
            time.sleep(pause)
"""


def record(path: Path) -> list[list[list[object]]]:
    read = load_experiment(path)
    return [
        read.sql(query).values.tolist()
        for query in (
            "SELECT trial, name, step, value FROM metric ORDER BY trial, name, step",
            "SELECT name, latest.step, value FROM latest JOIN series ON id = series ORDER BY name",
            "SELECT trial, name, step, kind, data FROM media ORDER BY name, step",
            "SELECT trial, step, x FROM rows ORDER BY step, x",
        )
    ]


@pytest.mark.slow
def test_killed_and_resumed_fifty_times_no_hole_and_no_double(
    tmp_path: Path, python: Callable[..., Any], store: str | None
) -> None:
    scope: dict[str, Any] = {}
    exec(TRAINING, scope)
    steps = 1000
    undisturbed = Experiment("undisturbed", root=tmp_path, store=store)
    undisturbed.close()
    scope["train"](undisturbed.path, steps, 0.0)
    with Experiment("disturbed", root=tmp_path, store=store) as experiment:
        path = experiment.path
    # One process forks each attempt, so that fifty imports need not be waited for.
    parent = python(
        TRAINING
        + """
for line in sys.stdin:
    child = os.fork()
    if not child:
        train(sys.argv[1], int(sys.argv[2]), 0.001)
        os._exit(0)
    print(child, flush=True)
    print(os.waitpid(child, 0)[1], flush=True)
""",
        path,
        steps,
    )
    chance = random.Random(3)
    killed = 0
    for _ in range(500):
        parent.stdin.write("go\n")
        parent.stdin.flush()
        child = int(parent.stdout.readline())
        if killed < 50:
            time.sleep(chance.uniform(0.01, 0.1))
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        status = int(parent.stdout.readline())
        killed += status == signal.SIGKILL
        if status == 0:
            break
    parent.communicate(timeout=20)
    assert killed == 50
    assert load_experiment(path).status == "completed"
    assert record(path) == record(undisturbed.path)


def test_rewinding_deletes_what_came_later_in_every_table(experiment: Experiment) -> None:
    table = experiment.table("mine", {"word": sa.Text})
    insert = table.table.insert()

    def work(step: int) -> None:
        experiment.log({"loss": float(step), "text": Text("t")}, step=step)
        experiment.log(rows=Message({"x": [step]}), step=step)
        with table.engine.begin() as connection:
            connection.execute(insert, {"word": str(step)})

    work(0)
    here = experiment.mark()
    work(1)
    assert len(experiment.message("mine")) == 2
    experiment.rewind(here)
    assert experiment.metrics()["step"].tolist() == [0]
    assert experiment.latest == {"loss": 0.0}
    assert list(experiment.media("text")) == [0]
    assert experiment.message("rows")["x"].tolist() == [0]
    assert experiment.message("mine")["word"].tolist() == ["0"]
    experiment.log(loss=9.0)  # the next step is counted from what is there now
    assert experiment.metrics()["step"].tolist() == [0, 1]
    assert experiment.mark() > here


def test_an_attempt_goes_on_from_its_checkpoint(experiment: Experiment) -> None:
    experiment.sweep.add_trial(0, seed=1, params={})
    experiment.sweep.add_trial(1, seed=1, params={})
    first = experiment.sweep.start_attempt(0, host="here")
    other = experiment.sweep.start_attempt(1, host="here")
    with (
        open_attempt(experiment.path, 1, other) as trial,
        open_attempt(experiment.path, 0, first) as mine,
    ):
        mine.log(loss=0.0, step=0)
        experiment.sweep.report(0, first, 0, 0.5)
        here = mine.mark()
        experiment.sweep.report(0, first, 1, 0.25)
        mine.log(loss=1.0, step=1)
        mine.flush()
        trial.log(loss=5.0, step=0)
    experiment.sweep.requeue(0)
    assert experiment.sweep.start_attempt(0, host="here", position=here) == 2
    assert experiment.metrics("loss", trials=0)["value"].tolist() == [0.0]
    assert experiment.metrics("loss", trials=1)["value"].tolist() == [5.0]
    assert experiment.sql("SELECT trial, step FROM reports").values.tolist() == [[0, 0]]


def test_positions_that_are_none(experiment: Experiment) -> None:
    for bad in (-1, 10**6, True, "x"):
        with pytest.raises(WrongValue, match="no position"):
            experiment.rewind(bad)  # pyright: ignore[reportArgumentType]
    with pytest.raises(ExperimentReadOnly):
        load_experiment(experiment.path).rewind(0)
    with pytest.raises(WrongValue, match="write=True"):
        load_experiment(experiment.path, position=0)
    path = experiment.path
    experiment.close()
    with pytest.raises(WrongValue, match="no position"):
        load_experiment(path, write=True, position=10**6)
    load_experiment(path, write=True).close()  # nobody was left as its owner
