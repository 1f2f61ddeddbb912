"""MLflow and Trackio at the work of benchmarks/experiment.py, which starts this for its lines.

They need other releases of packages that Fireworks uses, so they have an environment of their own:

    python -m venv trackers && trackers/bin/pip install mlflow trackio
    TRACKERS_PYTHON=trackers/bin/python python benchmarks/experiment.py
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

METRICS = {f"train/metric_{i}": 0.1 * i + 0.037 for i in range(10)}


def mlflow_log(folder: Path) -> tuple[Callable[[int], None], Callable[[], None]]:
    import mlflow

    mlflow.set_tracking_uri(f"sqlite:///{folder}/mlflow.sqlite")
    mlflow.set_experiment("speed")
    mlflow.start_run()
    return lambda step: mlflow.log_metrics(METRICS, step=step), mlflow.end_run


def trackio_log(folder: Path) -> tuple[Callable[[int], None], Callable[[], None]]:
    os.environ["TRACKIO_DIR"] = str(folder)
    import trackio

    trackio.init(project="speed")
    return lambda step: trackio.log(METRICS, step=step), trackio.finish


def measured(name: str, calls: int) -> dict[str, object]:
    """One run: the caller's microseconds at a 2 ms step, and the size of what it wrote."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        log, close = {"mlflow": mlflow_log, "trackio": trackio_log}[name](folder)
        times: list[float] = []
        for step in range(calls):
            start = time.perf_counter_ns()
            log(step)
            times.append((time.perf_counter_ns() - start) / 1000)
            time.sleep(0.002)
        start = time.perf_counter()
        close()
        size = sum(each.stat().st_size for each in folder.rglob("*") if each.is_file())
    times.sort()
    return {
        "name": f"{name} {importlib.metadata.version(name)}",
        "p50": times[calls // 2],
        "p99": times[calls * 99 // 100],
        "bytes": size / (calls * len(METRICS)),
    }


if __name__ == "__main__":
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    tracker, count = sys.argv[1], int(sys.argv[2])
    sys.stdout, printed = sys.stderr, sys.stdout  # they print, too
    print(json.dumps(measured(tracker, count)), file=printed)
