"""The same sweeps by Ray Tune, Syne Tune, Optuna, joblib and the standard library.

Each runs so many trials, two at once, of a trial that does nothing or computes for a while.

Ray Tune and Syne Tune pull in much, so they may have an environment of their own:

    python -m venv tuners && tuners/bin/pip install torch "ray[tune]" syne-tune
    TUNERS_PYTHON=tuners/bin/python python benchmarks/factory.py
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import logging
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import IO, Any

Peer = Callable[[int, float], object]


def compute(seconds: float) -> float:
    """Use the processor for so many seconds of its time, in Python."""
    end = time.thread_time() + seconds
    total = 0.0
    while time.thread_time() < end:
        total += 1.0
    return total


def trial(x: float, seconds: float) -> float:
    """What a trial does, in a process that has imported torch, as training does."""
    import torch

    torch.set_num_threads(1)
    compute(seconds)
    return x


def process_pool(trials: int, seconds: float) -> object:
    """A fresh, spawned process for each trial."""
    with ProcessPoolExecutor(2, mp_context=get_context("spawn"), max_tasks_per_child=1) as pool:
        return list(pool.map(trial, range(trials), [seconds] * trials))


def joblib_processes(trials: int, seconds: float) -> object:
    """Processes of joblib, which stay."""
    from joblib import Parallel, delayed

    return Parallel(n_jobs=2)(delayed(trial)(x, seconds) for x in range(trials))


def optuna_threads(trials: int, seconds: float) -> object:
    """Threads of Optuna, recorded in a database as ours are."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with tempfile.TemporaryDirectory() as folder:
        study = optuna.create_study(
            storage=f"sqlite:///{folder}/study.db", sampler=optuna.samplers.RandomSampler(seed=1)
        )
        study.optimize(
            lambda each: trial(each.suggest_float("x", 0, 1), seconds), n_trials=trials, n_jobs=2
        )
        return study.best_value


def _ray(trials: int, seconds: float, reuse: bool) -> object:
    os.environ.update(RAY_AIR_NEW_OUTPUT="0", TUNE_DISABLE_AUTO_CALLBACK_LOGGERS="1")
    import ray
    from ray import tune

    if not ray.is_initialized():
        ray.init(
            num_cpus=2, include_dashboard=False, logging_level=logging.ERROR, log_to_driver=False
        )

    def train(config: dict[str, float]) -> None:
        tune.report({"a": trial(config["x"], seconds)})

    with tempfile.TemporaryDirectory() as folder:
        tuner = tune.Tuner(
            train,
            param_space={"x": tune.uniform(0, 1)},
            tune_config=tune.TuneConfig(num_samples=trials, reuse_actors=reuse),
            run_config=tune.RunConfig(storage_path=folder, verbose=0),
        )
        return tuner.fit()


def ray_tune(trials: int, seconds: float) -> object:
    """Ray Tune, a fresh actor for each trial."""
    return _ray(trials, seconds, reuse=False)


def ray_tune_reusing(trials: int, seconds: float) -> object:
    """Ray Tune, whose actors stay."""
    return _ray(trials, seconds, reuse=True)


SYNE_TRIAL = """
import argparse
from syne_tune import Reporter
parser = argparse.ArgumentParser()
parser.add_argument("--x", type=float)
parser.add_argument("--seconds", type=float)
given = parser.parse_known_args()[0]
from sweeps.peers import trial
Reporter()(a=trial(given.x, given.seconds))
"""


def syne_tune(trials: int, seconds: float) -> object:
    """Syne Tune with its local backend: a fresh interpreter for each trial."""
    from syne_tune import StoppingCriterion, Tuner
    from syne_tune.backend import LocalBackend
    from syne_tune.config_space import uniform
    from syne_tune.optimizer.baselines import RandomSearch

    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder, "train.py")
        script.write_text(SYNE_TRIAL)
        os.environ["PYTHONPATH"] = str(Path(__file__).parents[1])
        os.environ["SYNETUNE_FOLDER"] = folder
        Tuner(
            trial_backend=LocalBackend(entry_point=str(script)),
            scheduler=RandomSearch({"x": uniform(0, 1), "seconds": seconds}, metrics=["a"]),
            stop_criterion=StoppingCriterion(max_num_trials_finished=trials),
            n_workers=2,
            sleep_time=0.05,
            print_update_interval=1e9,
        ).run()
    return None


def installed() -> dict[str, Peer]:
    """The peers that there are here, by name."""
    peers: dict[str, tuple[str, Peer]] = {
        "ProcessPoolExecutor, spawn": ("concurrent", process_pool),
        "Ray Tune": ("ray", ray_tune),
        "Ray Tune, actors reused": ("ray", ray_tune_reusing),
        "Syne Tune, local": ("syne_tune", syne_tune),
        "joblib": ("joblib", joblib_processes),
        "Optuna, n_jobs=2": ("optuna", optuna_threads),
    }
    return {
        name: peer for name, (module, peer) in peers.items() if importlib.util.find_spec(module)
    }


class Elsewhere:
    """The peers that another environment has and this one lacks, run there.

    Args:
        python: Its interpreter.

    Attributes:
        peers: Each returns the seconds that it took.
        versions: Of what was found there.
    """

    def __init__(self, python: str) -> None:
        self._process = subprocess.Popen(
            [python, "-m", "sweeps.peers"],
            cwd=Path(__file__).parents[1],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        names, self.versions = self._answer()
        self.peers: dict[str, Peer] = {
            name: lambda trials, seconds, name=name: self._ask(name, trials, seconds)
            for name in names
            if name not in installed()
        }

    def close(self) -> None:
        """End it."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()

    def _ask(self, name: str, trials: int, seconds: float) -> float:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps([name, trials, seconds]) + "\n")
        self._process.stdin.flush()
        return float(self._answer())

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        return json.loads(self._process.stdout.readline())


def _serve(answers: IO[str]) -> None:
    """Run the peers that standard input names, and answer with their seconds."""
    peers = installed()
    versions = {
        name: importlib.metadata.version(name)
        for name in ("ray", "syne-tune")
        if importlib.util.find_spec(name.replace("-", "_"))
    }
    print(json.dumps([list(peers), versions]), file=answers, flush=True)
    for line in sys.stdin:
        name, trials, seconds = json.loads(line)
        began = time.perf_counter()
        peers[name](trials, seconds)
        print(json.dumps(time.perf_counter() - began), file=answers, flush=True)


if __name__ == "__main__":
    own = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what the peers print is no answer
    _serve(own)
