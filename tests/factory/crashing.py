"""A program: kills a sweep again and again, resumes it, and compares it with an undisturbed one.

    python crashing.py FOLDER KIND…              after each of its transactions in turn
    python crashing.py FOLDER --often KILLS      one sweep of 60 trials, at random moments
    python crashing.py FOLDER --processes KILLS  the same, its trials in processes: none outlives it

prints a line of JSON for each kind of proposer: what differed, and how often it was killed.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import tempfile
import threading
import time
import traceback
import uuid
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import torch
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from fireworks.experiment import Experiment, load_experiment
from fireworks.factory import Factory, FactoryEvents, Grid, Halving, Random, Trial
from fireworks.factory.forked_memory import arrange_memory
from fireworks.factory.goal import as_goal
from fireworks.factory.ledger import Ledger, make_study
from fireworks.factory.samplers import make_sampler
from fireworks.record.sqlite import SQLiteStore

sys.path.insert(0, str(Path(__file__).parent))
from conftest import marked
from in_thread import InThread

TRIALS = 5
SPACE = {"x": FloatDistribution(0, 1), "n": IntDistribution(1, 64, log=True)}


def train(trial: Trial) -> dict[str, float]:
    for step in (1, 2):
        trial.experiment.log({"loss": trial.params["x"] / step}, step=step)
        time.sleep(trial.seed % 3 / 500)
        trial.report(step, trial.params["x"] * (step + trial.seed % 3))
    if trial.number == 1:
        raise ValueError("this one fails, again and again")
    return {"accuracy": trial.params["x"], "size": float(trial.params.get("n", 1))}


def space(trial: optuna.Trial) -> dict[str, Any]:
    kind = trial.suggest_categorical("kind", ["plain", "deep"])
    params = {"kind": kind, "x": trial.suggest_float("x", 0, 1)}
    if kind == "deep":
        params["n"] = trial.suggest_int("n", 1, 9)
    trial.set_user_attr("seen", kind)
    return params


def climb(params: Any, metrics: Any) -> dict[str, Any]:
    if not len(metrics):
        return {"x": 0.25}
    best = int(np.nanargmax(metrics["accuracy"].fillna(-1)))
    return {"x": float(params["x"].iloc[best]) * 1.125}


def sampler(name: str, **options: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return getattr(optuna.samplers, name)(seed=5, **options)


KINDS: dict[str, Callable[[], dict[str, Any]]] = {
    "tpe": lambda: {
        "propose": space,
        "sampler": sampler("TPESampler", n_startup_trials=2, constant_liar=True),
        "pruner": optuna.pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=2),
        "maximize": "accuracy",
        "constraints": ["size <= 8"],
    },
    "random": lambda: {"propose": SPACE, "sampler": "random", "pruner": "median"},
    "nsga-ii": lambda: {
        "propose": SPACE,
        "sampler": sampler("NSGAIISampler", population_size=2),
        "maximize": ["accuracy", "size"],
    },
    "cma-es": lambda: {
        "propose": SPACE,
        "sampler": sampler("CmaEsSampler", n_startup_trials=1, popsize=4),
    },
    "qmc": lambda: {"propose": SPACE, "sampler": "qmc"},
    "gp": lambda: {"propose": SPACE, "sampler": sampler("GPSampler", n_startup_trials=2)},
    "optuna's grid": lambda: {
        "propose": {"x": FloatDistribution(0, 1), "kind": CategoricalDistribution(["a", "b"])},
        "sampler": optuna.samplers.GridSampler({"x": [0.1, 0.5, 0.9], "kind": ["a", "b"]}, seed=1),
    },
    "grid": lambda: {"propose": Grid({"x": [0.1, 0.5, 0.9], "kind": ["a", "b"]})},
    "own random": lambda: {"propose": Random(SPACE)},
    "blackboard": lambda: {"propose": climb},
    "halving": lambda: {
        "propose": SPACE,
        "scheduler": Halving(min_epochs=1, max_epochs=3, factor=2),
    },
}


@contextmanager
def killed_after(transactions: int) -> Iterator[None]:
    """Kill this process once so many transactions are committed; 0: never."""
    original = SQLiteStore.transaction
    done = 0

    @contextmanager
    def counting(store: SQLiteStore) -> Iterator[Any]:
        nonlocal done
        with original(store) as connection:
            yield connection
        # A trial's own transactions are its process's.
        done += threading.current_thread() is threading.main_thread()
        if done == transactions:
            os.kill(os.getpid(), signal.SIGKILL)

    SQLiteStore.transaction = counting
    try:
        yield
    finally:
        SQLiteStore.transaction = original


def begin(root: Path, kind: str, **options: Any) -> Factory:
    factory = Factory(
        train,
        **{
            "maximize": "accuracy",
            "experiment": Experiment("sweep", root=root),
            "seed": 3,
            "workers": 2,
            "retries": 1,
            "backend": InThread(train),
            **(options or KINDS[kind]()),
        },
    )
    factory.enqueue({"x": 0.5, "kind": "a"} if "grid" in kind else {"x": 0.5})
    return factory


def outcome(run: Path) -> dict[str, Any]:
    """All that must not depend on crashes."""
    with load_experiment(run) as experiment:
        trials = experiment.sql("SELECT number, state, seed, result FROM trials ORDER BY number")
        params = experiment.sql("SELECT * FROM params WHERE trial >= 0 ORDER BY trial, name")
        reports = experiment.sql("SELECT trial, step, value FROM reports ORDER BY trial, step")
        told = experiment.sql("SELECT trial, told FROM sweep_trials ORDER BY trial")
        metrics = experiment.sql("SELECT trial, step, value FROM metric ORDER BY trial, step")
    frames = {
        "trials": trials,
        "params": params,
        "reports": reports,
        "told": told,
        "metrics": metrics,
    }
    return {name: json.loads(each.to_json(orient="values")) for name, each in frames.items()}


def finished(run: Path) -> dict[int, int]:
    """The attempts at the trials that are finished."""
    with load_experiment(run) as experiment:
        rows = experiment.sql("SELECT number, state, attempt FROM trials").values.tolist()
    ended = ("completed", "failed", "pruned")
    return {number: attempt for number, state, attempt in rows if state in ended}


def forked(action: Callable[[], None]) -> int:
    """Run something in a process of its own; returns how it ended."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            action()
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def try_all(kind: str, folder: Path) -> dict[str, Any]:
    """Compare the sweep with those that are killed after their first, second … transaction."""

    def run(root: Path, transactions: int) -> None:
        with killed_after(transactions):
            begin(root, kind).run(trials=TRIALS)

    def resume(path: Path) -> None:
        options = {"maximize": None, **KINDS[kind]()}
        if options["maximize"] is None:
            del options["maximize"]
        before = finished(path)
        factory = Factory.resume(path, train, backend=InThread(train), **options)
        factory.run(trials=TRIALS)
        after = finished(path)
        assert {number: after[number] for number in before} == before, "a finished trial ran again"

    import_lazily(KINDS[kind]())
    arrange_memory()  # it forks a hundred times
    assert forked(lambda: run(folder / "undisturbed", 0)) == 0
    expected = outcome(folder / "undisturbed" / "sweep-0001")
    differences: list[Any] = []
    kills = 0
    while True:
        root = folder / f"{kills}"
        ended = forked(lambda root=root, after=kills + 1: run(root, after))
        if ended == 0:
            break
        if ended != -signal.SIGKILL:
            differences.append([kills, "run", ended])
            break
        kills += 1
        path = root / "sweep-0001"
        if not (path / "experiment.sqlite").exists() or not has_begun(path):
            continue
        if forked(lambda path=path: resume(path)) != 0:
            differences.append([kills, "resume failed"])
            continue
        got = outcome(path)
        differences += [
            [kills, name, expected[name], got[name]]
            for name in expected
            if got[name] != expected[name]
        ]
    return {"kind": kind, "kills": kills, "differences": differences}


def import_lazily(options: dict[str, Any]) -> None:
    """Have samplers import what they need, once for all processes that are forked from here."""
    if isinstance(options.get("sampler"), optuna.samplers.BaseSampler | str):
        study = make_study(as_goal("accuracy", None), Ledger(), make_sampler(options["sampler"], 0))
        for value in range(4):
            asked = study.ask(SPACE if "grid" not in str(options).lower() else options["propose"])
            with suppress(RuntimeError, ValueError):
                study.tell(asked, [float(value)])


def kill_often(kills: int, folder: Path, *, processes: bool) -> dict[str, Any]:
    """Kill one sweep at random moments, go on with it each time, and compare the end.

    Args:
        kills: How often.
        folder: Where the runs go.
        processes: Whether trials run in processes of their own, all of which are to be gone a
            second after each kill.
    """
    options = {**KINDS["tpe"](), "propose": SPACE, "constraints": []}
    moments = np.random.default_rng(11)

    marker = f"CRASHING={uuid.uuid4().hex}"

    def work(root: Path, begun: int | None = None) -> None:
        path = newest(root)
        alone = processes and begun is not None
        backend = None if alone else InThread(train)
        name, _, value = marker.partition("=")
        os.environ[name] = value
        if path is None:
            factory = begin(root, "tpe", **options, backend=backend)
        else:
            factory = Factory.resume(path, train, backend=backend, **options)
        if begun is not None:
            factory.add_event_handler(FactoryEvents.STARTED, lambda: os.write(begun, b"!"))
        factory.run(trials=60)

    assert forked(lambda: work(folder / "undisturbed")) == 0
    ended: dict[int, int] = {}
    differences: list[Any] = []
    running: list[int] = []  # processes, when it was killed
    root = folder / "killed"
    for _ in range(kills):
        reader, writer = os.pipe()
        pid = os.fork()
        if pid == 0:
            with suppress(BaseException):
                work(root, writer)
            os._exit(0)
        os.close(writer)
        os.read(reader, 1)
        time.sleep(float(moments.uniform(0, 0.5 if processes else 0.1)))
        running.append(len(marked(marker)))
        os.kill(pid, signal.SIGKILL)
        os.close(reader)
        os.waitpid(pid, 0)
        deadline = time.monotonic() + 1
        while (left := marked(marker)) and time.monotonic() < deadline:
            time.sleep(0.01)
        if left:
            differences.append(["alive a second after the kill", left])
        now = finished(newest(root) or root)
        if {number: now.get(number) for number in ended} != ended:
            differences.append(["a finished trial was lost or ran again", ended, now])
        ended = now
    if forked(lambda: work(root)) != 0:
        differences.append("the last one failed")
    expected, got = (outcome(newest(each) or each) for each in (folder / "undisturbed", root))
    differences += [
        [name, expected[name], got[name]] for name in got if got[name] != expected[name]
    ]
    return {
        "kind": "often",
        "kills": kills,
        "left": 60 - len(ended),
        "running": running,
        "differences": differences,
    }


def newest(root: Path) -> Path | None:
    """The last run in which a sweep has begun."""
    runs = [each for each in sorted(root.glob("sweep-*")) if has_begun(each)]
    return runs[-1] if runs else None


def has_begun(path: Path) -> bool:
    """Whether there is a sweep to go on with: before it is recorded, nothing was done."""
    with load_experiment(path) as experiment:
        return len(experiment.sql("SELECT 1 FROM sweep_state WHERE key = 'sweep'")) > 0


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    torch.set_num_threads(1)
    os.chdir(sys.argv[1])  # where no run asks git for its commit
    if sys.argv[2] in ("--often", "--processes"):
        with tempfile.TemporaryDirectory(dir=sys.argv[1]) as place:
            processes = sys.argv[2] == "--processes"
            print(json.dumps(kill_often(int(sys.argv[3]), Path(place), processes=processes)))
        sys.exit()
    for kind in sys.argv[2:]:
        with tempfile.TemporaryDirectory(dir=sys.argv[1]) as place:
            print(json.dumps(try_all(kind, Path(place))), flush=True)
