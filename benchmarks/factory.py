"""Sweeps against a bare fork server, Ray Tune, Syne Tune, Optuna, joblib and process pools.

Ray Tune and Syne Tune take part where they are installed; they are not in the extra ``bench``.
TUNERS_PYTHON names an interpreter that has them, where this one has not (see sweeps/peers.py).
"""

from __future__ import annotations

import logging
import os
import signal
import statistics
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import optuna
from sweeps.bare import BareForkServer
from sweeps.peers import Elsewhere, Peer, compute, installed
from timing import describe_machine, options
from timing.rounds import interleaved, table

from fireworks.experiment import Experiment
from fireworks.factory import Factory, FactoryEvents, Random, Trial
from fireworks.factory.backend import Backend, Ended, Job, Notice, Said

SPACE = {"x": optuna.distributions.FloatDistribution(0.0, 1.0)}


def trivial(trial: Trial) -> dict[str, float]:
    trial.experiment.log(loss=0.5)
    return {"a": trial.params["x"]}


def without_rows(trial: Trial) -> dict[str, float]:
    return {"a": trial.params["x"]}


def computing(trial: Trial) -> dict[str, float]:
    compute(0.3)
    return {"a": trial.params["x"]}


class Sweeping:
    """A Factory that stays open: each call runs some more trials."""

    def __init__(self, root: Path, train: Any, **how: Any) -> None:
        self.experiment = Experiment("bench", root=root)
        self.factory = Factory(
            train, propose=Random(SPACE), maximize="a", experiment=self.experiment, seed=1, **how
        )
        self.factory.__enter__()
        self.more(2)

    def more(self, trials: int) -> None:
        """Run so many trials more."""
        self.factory.run(trials=len(self.factory.records) + trials)

    def close(self) -> None:
        """End it."""
        self.factory.close()
        self.experiment.close()


@contextmanager
def sweeps(root: Path, **ways: dict[str, Any]) -> Iterator[dict[str, Sweeping]]:
    made = {name: Sweeping(root, **how) for name, how in ways.items()}
    try:
        yield made
    finally:
        for each in made.values():
            each.close()


def trivial_trials(root: Path, rounds: int, trials: int, slots: int) -> None:
    """A trial that does nothing: with two slots how many a second, with one how long it takes."""
    with (
        BareForkServer() as bare,
        sweeps(
            root,
            rows={"train": trivial, "workers": slots},
            no_rows={"train": without_rows, "workers": slots},
            warm={"train": trivial, "workers": slots, "isolation": "warm"},
            warm_no_rows={"train": without_rows, "workers": slots, "isolation": "warm"},
        ) as ours,
    ):
        ways: dict[str, Callable[[], object]] = {
            "bare fork server, nothing recorded": lambda: bare.run(trials, slots),
            "isolated, rows written": lambda: ours["rows"].more(trials),
            "isolated, no rows": lambda: ours["no_rows"].more(trials),
            "warm, rows written": lambda: ours["warm"].more(trials),
            "warm, no rows": lambda: ours["warm_no_rows"].more(trials),
        }
        seconds = interleaved(ways, rounds=rounds)
    what = "throughput: two slots" if slots == 2 else "latency: one slot"
    table(f"A trivial trial, {what}", "ms", seconds, lambda s: s / trials * 1e3)


def isolated_and_warm(root: Path, short: bool) -> None:
    for slots in (2, 1):
        trivial_trials(root, rounds=3 if short else 9, trials=20 if short else 60, slots=slots)


@contextmanager
def all_peers() -> Iterator[dict[str, Peer]]:
    """The peers that are installed here, or where TUNERS_PYTHON says."""
    python = os.environ.get("TUNERS_PYTHON")
    if python is None:
        yield installed()
        return
    elsewhere = Elsewhere(python)
    try:
        yield {**installed(), **elsewhere.peers}
    finally:
        elsewhere.close()


def peers(root: Path, short: bool) -> None:
    """The same of the others, a few trials each; Ray's and joblib's processes are warm by then."""
    trials = 4 if short else 12
    with (
        all_peers() as others,
        sweeps(
            root,
            isolated={"train": trivial},
            spawn={"train": trivial, "isolation": "spawn"},
            warm={"train": trivial, "isolation": "warm"},
        ) as ours,
    ):
        ways: dict[str, Callable[[], object]] = {
            f"fireworks, {name}": lambda s=each: s.more(trials) for name, each in ours.items()
        }
        for name, peer in others.items():
            ways[name] = lambda p=peer: p(trials, 0.0)
        for way in ways.values():
            way()
        seconds = interleaved(ways, rounds=1 if short else 5)
    table(f"{trials} trivial trials, two slots, with the peers", "ms", seconds,
          lambda s: s / trials * 1e3)  # fmt: skip


def speed_up(root: Path, short: bool) -> None:
    """Two workers against one, on trials that use the processor for 0.3 s of its time."""
    trials = 6 if short else 20
    with (
        all_peers() as others,
        sweeps(
            root,
            one={"train": computing, "workers": 1},
            two={"train": computing, "workers": 2},
        ) as ours,
    ):
        ways: dict[str, Callable[[], object]] = {
            "one after the other, no sweep": lambda: [compute(0.3) for _ in range(trials)],
            "fireworks, one worker": lambda: ours["one"].more(trials),
            "fireworks, two workers": lambda: ours["two"].more(trials),
        }
        for name, peer in others.items():
            if not short:
                ways[name] = lambda p=peer: p(trials, 0.3)
        seconds = interleaved(ways, rounds=2 if short else 5)
    table(f"{trials} trials of 0.3 s of the processor", "s", seconds, lambda s: s)
    ratios = [a / b for a, b in zip(*list(seconds.values())[:3:2], strict=True)]
    print(f"\ntwo workers: {statistics.median(ratios):.2f} x, best {max(ratios):.2f} x")


def reports(root: Path, short: bool) -> None:
    """A report and its decision, recorded before it is answered."""
    count = 500 if short else 3_000

    def reporting(trial: Trial) -> dict[str, float]:
        import time

        began = time.perf_counter()
        for step in range(count):
            trial.report(step, float(step))
        return {"a": trial.params["x"], "seconds": time.perf_counter() - began}

    median = optuna.pruners.MedianPruner(n_startup_trials=1)
    with sweeps(
        root,
        plain={"train": reporting, "workers": 1},
        pruner={"train": reporting, "workers": 1, "pruner": median},
    ) as ours:

        def ours_of(name: str) -> float:
            ours[name].more(1)
            return float((ours[name].factory.records[-1].result or {})["seconds"])

        def optunas(pruner: optuna.pruners.BasePruner) -> float:
            optuna.logging.set_verbosity(optuna.logging.ERROR)
            with tempfile.TemporaryDirectory() as folder:
                study = optuna.create_study(storage=f"sqlite:///{folder}/s.db", pruner=pruner)
                each = study.ask()
                began = time.perf_counter()
                for step in range(200):
                    each.report(float(step), step)
                    each.should_prune()
                return (time.perf_counter() - began) / 200 * count

        seconds = interleaved(
            {
                "fireworks, no pruner": lambda: ours_of("plain"),
                "fireworks, MedianPruner": lambda: ours_of("pruner"),
                "Optuna on SQLite, no pruner": lambda: optunas(optuna.pruners.NopPruner()),
            },
            rounds=3 if short else 7,
        )
    table(f"Report and decision, {count:,} in a trial", "µs", seconds, lambda s: s / count * 1e6)


class Instant(Backend):
    """Has every attempt completed at once: what is left is the parent's own time."""

    def __init__(self) -> None:
        self._news: deque[Notice] = deque()

    def submit(self, job: Job) -> None:  # noqa: D102
        result = {"a": job.description["params"]["x"]}
        self._news.append(Said(job.id, {"end": "completed", "result": result}))
        self._news.append(Ended(job.id, exit_code=0))

    def send(self, attempt: str, message: Any) -> None: ...  # noqa: D102

    def poll(self, timeout: float | None = None) -> list[Notice]:  # noqa: D102
        news = list(self._news)
        self._news.clear()
        return news

    def kill(self, attempt: str, *, grace: float) -> None: ...  # noqa: D102


def parents_time(root: Path, short: bool) -> None:
    """The parent's own processor time per trial, as trials pile up."""
    block, blocks = (200, 5) if short else (1_000, 10)
    print(f"\n### The parent's own time per trial, blocks of {block:,} trials, µs\n")
    names = [f"{(n + 1) * block:,}" for n in range(blocks)]
    print("| proposer | " + " | ".join(names) + " |\n|---|" + "---:|" * blocks)
    ways: dict[str, dict[str, Any]] = {"Random": {"propose": Random(SPACE)}}
    for name, sampler in {
        "Optuna, random": optuna.samplers.RandomSampler(seed=1),
        "Optuna, TPE": optuna.samplers.TPESampler(seed=1),
    }.items():
        space = {"x": optuna.distributions.FloatDistribution(0.0, 1.0)}
        ways[name] = {"propose": space, "sampler": sampler}
    for name, how in ways.items():
        done = min(blocks, 2) if "TPE" in name else blocks
        with Experiment("many", root=root) as experiment:
            factory = Factory(trivial, maximize="a", experiment=experiment, workers=1, seed=1,
                              backend=Instant(), **how)  # fmt: skip
            times: list[str] = []
            with factory:
                for number in range(done):
                    began = time.process_time()
                    factory.run(trials=(number + 1) * block)
                    times.append(f"{(time.process_time() - began) / block * 1e6:,.0f}")
        print(f"| {name} | " + " | ".join(times + [""] * (blocks - done)) + " |", flush=True)


def delays(root: Path, short: bool) -> None:
    """From a child's death, and from a time limit, to what the parent does about it."""
    folder = Path(tempfile.mkdtemp(dir=root))

    def dies(trial: Trial) -> dict[str, float]:
        import os
        import time

        if trial.number % 2 == 0:
            return {"a": 1.0}
        time.sleep(0.2)
        (folder / str(trial.number)).write_text(repr(time.monotonic()))
        os.kill(os.getpid(), signal.SIGKILL)
        return {}

    def hangs(trial: Trial) -> dict[str, float]:
        import time

        if trial.number % 2 == 0:
            return {"a": 1.0}
        asked: list[float] = []
        signal.signal(signal.SIGTERM, lambda *_: asked.append(time.monotonic()))
        began = time.monotonic()
        while not asked:
            pass
        return {"a": 0.0, "late": asked[0] - began - 1.0}

    trials = 10 if short else 30
    with sweeps(root, dying={"train": dies}, hanging={"train": hangs, "time_limit": 1.0}) as ours:
        seen: list[float] = []

        def look(factory: Factory) -> None:
            died = float((folder / str(factory.trial.number)).read_text())
            seen.append(time.monotonic() - died)

        ours["dying"].factory.add_event_handler(FactoryEvents.TRIAL_FAILED, look)
        ours["dying"].more(trials)
        ours["hanging"].more(trials)
        late = [each.result["late"] for each in ours["hanging"].factory.records
                if each.result and "late" in each.result]  # fmt: skip
    print("\n### How soon\n\n| what | median ms | worst ms |\n|---|---:|---:|")
    for name, values in {"a child's death is recorded": seen,
                         "SIGTERM after a time limit arrives": late}.items():  # fmt: skip
        print(f"| {name} | {statistics.median(values) * 1e3:.1f} | {max(values) * 1e3:.1f} |")


def _versions() -> str:
    found: dict[str, str] = {}
    if python := os.environ.get("TUNERS_PYTHON"):
        elsewhere = Elsewhere(python)
        elsewhere.close()
        found = elsewhere.versions
    return ", ".join(f"{name} {found.get(name, 'not measured')}" for name in ("ray", "syne-tune"))


def main() -> None:
    short = options(__doc__ or "").short
    os.environ["OMP_NUM_THREADS"] = "1"
    # Warnings of trials that fail on purpose, and the progress of a hundred sweeps.
    logging.disable(logging.WARNING)
    print(f"## Factory\n\n{describe_machine('torch', 'optuna', 'joblib')}, {_versions()}")
    print(f"load average {os.getloadavg()[0]:.1f} at the beginning", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for part in (isolated_and_warm, speed_up, reports, parents_time, delays, peers):
            part(root, short)
    print(f"\nload average {os.getloadavg()[0]:.1f} at the end")


if __name__ == "__main__":
    main()
