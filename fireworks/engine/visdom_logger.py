"""Metrics as curves on a Visdom server."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Any, final

from ignite.engine import Engine

from fireworks.engine.scalars import ScalarLogger, Scalars, numbers, read
from fireworks.engine.visdom_windows import VisdomWindows
from fireworks.errors import EngineError, FireworksError
from fireworks.experiment import Experiment

if TYPE_CHECKING:
    import pandas

_log = logging.getLogger(__name__)

_KEPT = 50_000  # values of each metric, and calls of log(), that wait for the server at most
_GATHER_SECONDS = 0.5
_CLOSE_SECONDS = 5.0


@final
class VisdomLogger(ScalarLogger):
    """Shows what a training run measures as curves on a Visdom server.

    A thread sends what was logged, about twice a second; training never waits for the server. When
    the server is gone, the newest values are kept and sent once it is back. What it then lacks, and
    what a resumed run has from before, is drawn from the experiment's record: attach an
    `ExperimentLogger`, too. At the end of a run it is waited for, five seconds at most.

    Args:
        experiment: The experiment, or a trial's.
        server: Where the server is. One for this machine only, that downloads nothing, is started
            by ``python -c "from visdom.server.run_server import start_server;
            start_server(base_url='', bind_local=True)"``.

    Raises:
        MissingDependency: Visdom is not installed.
        WrongValue: ``server`` is no address.
    """

    def __init__(self, experiment: Experiment, server: str = "http://127.0.0.1:8097") -> None:
        self._experiment = experiment
        self._server = server
        self._windows = VisdomWindows(server, _environment(experiment.id, experiment.trial))
        self._queue: deque[tuple[int, dict[str, Any]]] = deque(maxlen=_KEPT)
        self._waiting: dict[str, deque[tuple[int, float]]] = {}
        self._shown: dict[str, int] = {}  # the last step of each window that is up to date
        self._lost = False
        self._thread: threading.Thread | None = None
        self._ending = threading.Event()
        self._sending = threading.Lock()

    def log(self, scalars: Scalars, step: int) -> None:
        """Hand scalars to the thread that sends them."""
        self._queue.append((step, numbers(scalars)))
        if self._thread is None:
            self._ending = threading.Event()
            self._thread = threading.Thread(
                target=self._run, args=(self._ending,), name="visdom", daemon=True
            )
            self._thread.start()

    def flush(self) -> None:
        """Do nothing: an epoch waits for no server, and what is safe is in the record."""

    def failed(self, engine: Engine, error: BaseException) -> None:
        """Send what was logged before the error."""
        self.close()

    def close(self) -> None:
        """Send what is waiting, and end the thread; a further run starts it again."""
        thread, self._thread = self._thread, None
        if thread is not None:
            self._ending.set()
            thread.join(_CLOSE_SECONDS)

    def replay(self, experiment: Experiment | None = None) -> int:
        """Draw every metric of an experiment anew, from its record.

        Args:
            experiment: The experiment, a trial's, or a sweep with all of its trials; by default the
                logger's own.

        Returns:
            How many windows were drawn.

        Raises:
            EngineError: The server does not answer.
        """
        of = experiment or self._experiment
        drawn = 0
        for trial, metrics in of.metrics().groupby("trial"):
            windows = VisdomWindows(self._server, _environment(of.id, int(str(trial))))
            try:
                for name, rows in metrics.groupby("name"):
                    windows.draw(str(name), _points(rows))
                    drawn += 1
            except OSError as error:
                raise EngineError(
                    f"The Visdom server at {self._server} does not answer: {error}. Start it, and "
                    "replay again; the record has everything."
                ) from error
            finally:
                windows.close()
        return drawn

    def _run(self, ending: threading.Event) -> None:
        pause, ended = _GATHER_SECONDS, False
        with self._sending:  # one that the server holds up may outlive its run
            while not ended:
                ended = ending.wait(pause)
                began = time.monotonic()
                self._take()
                self._try_to_send()
                # It copies a whole curve to add a point: leave it time for those who look at them.
                pause = max(_GATHER_SECONDS, 4 * (time.monotonic() - began))
            self._windows.close()

    def _try_to_send(self) -> None:
        try:
            self._send()
            self._lost = False
        except OSError as error:
            self._shown.clear()  # whatever comes back there may know nothing
            if not self._lost:
                self._lost = True
                _log.warning(
                    "the Visdom server at %s does not answer (%s); training goes on, and what it "
                    "misses is drawn when it is back",
                    self._server,
                    error,
                )

    def _take(self) -> None:
        """Sort what was logged by metric."""
        while self._queue:
            step, values = self._queue.popleft()
            for name, value in read(values).items():
                self._waiting.setdefault(name, deque(maxlen=_KEPT)).append((step, value))

    def _send(self) -> None:
        for name, points in self._waiting.items():
            if not points:
                continue
            shown = self._shown.get(name)
            if shown is None:
                whole = dict(self._recorded(name)) | dict(points)
                self._windows.draw(name, sorted(whole.items()))
            elif new := [each for each in points if each[0] > shown]:
                self._windows.append(name, new)
            self._shown[name] = points[-1][0]
            points.clear()

    def _recorded(self, name: str) -> list[tuple[int, float]]:
        trial = self._experiment.trial
        try:
            return _points(self._experiment.metrics(name, trials=-1 if trial is None else trial))
        except FireworksError:  # nothing of that name; or no longer ours, which others report
            return []


def _environment(experiment: str, trial: int | None) -> str:
    return experiment if trial is None or trial < 0 else f"{experiment}-trial-{trial}"


def _points(rows: pandas.DataFrame) -> list[tuple[int, float]]:
    return list(zip(rows["step"].tolist(), rows["value"].tolist(), strict=True))
