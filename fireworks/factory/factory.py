"""The Factory: proposes parameters, has each trial run in a process, decides, and goes on."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar, final

from fireworks.errors import WrongType, WrongValue
from fireworks.experiment import Experiment
from fireworks.factory.backend import Backend
from fireworks.factory.display import Display
from fireworks.factory.events import FactoryEvents, Handlers
from fireworks.factory.isolation import Isolation, check_isolation, open_backend
from fireworks.factory.limits import Limits
from fireworks.factory.proposers import as_proposer
from fireworks.factory.records import Objective, TrialRecord, ranked, to_frame, to_table
from fireworks.factory.slots import Slots
from fireworks.factory.sweep import Settings, Sweep
from fireworks.factory.transport import Transport
from fireworks.factory.trial import Trial

if TYPE_CHECKING:
    import pandas as pd
    from rich.table import Table

_Handler = TypeVar("_Handler", bound=Callable[..., Any])


@final
class Factory:
    """Searches for good parameters: each trial runs ``train`` in a process of its own.

    Whatever happens to a trial's process (an exception, a crash, a signal) ends that trial alone.
    All that is known of the trials is recorded in the experiment as it happens. As a context
    manager the Factory keeps its fork server from one ``run`` to the next.

    Args:
        train: Called with a :class:`Trial`; returns a dict of metrics with the objective in it.
        propose: Where parameters come from: a function ``space(trial)`` of an Optuna trial, a dict
            of Optuna's distributions, ``Grid({...})``, ``Random({...})``, or a function
            ``(params, metrics)`` of all that was tried, which may raise ``EndSearch``.
        maximize: The metric to make large. Either this or ``minimize``.
        minimize: The metric to make small.
        experiment: Where to record; or the name of one to be created in ``runs/``.
        workers: How many trials run at once.
        seed: All proposals and the trials' seeds follow from it; None draws one and records it.
        sampler: An Optuna sampler; by default TPE.
        pruner: An Optuna pruner that decides on what trials report; by default nothing is pruned.
        retries: How many more attempts a failed trial gets, with the same parameters.
        ordered: Trial n is proposed from exactly the results of the trials up to n - ordered, so
            that a sweep is the same for any number of workers up to this one. By default the
            number of workers. A larger number keeps workers busy where trials differ in length.
        isolation: ``"fork-server"`` forks a fresh process for each attempt from one that has
            imported everything; ``"warm"`` has each process run many trials, which may notice
            each other (see :class:`Warm`); ``"spawn"`` starts a fresh interpreter, in seconds. By
            default the first on Linux and the last on macOS.
        cpus_per_trial: Number of threads that torch may use in a trial.
        gpus_per_trial: GPUs that a trial sees; a fraction shares one among several trials, 0 hides
            all. By default each trial sees all.
        time_limit: Seconds that an attempt at a trial may take; it fails then. None: no limit.
        sweep_time_limit: Seconds that ``run`` may take; what runs then is stopped.
        progress_limit: Seconds that may pass in an attempt without an iteration of an attached
            engine, a log or a report; it fails then. None: no limit.
        memory_limit: Bytes that an attempt may take beyond what its process begins with; it fails
            then. None: no limit.
        grace: Seconds that a trial has to end by itself when it is stopped.
        backend: What runs the attempts, in place of ``isolation``. It stays open, and may serve
            another Factory afterwards.

    Raises:
        WrongType: An argument of the wrong kind.
        WrongValue: An argument that makes no sense, both or neither of maximize and minimize.
        MissingDependency: The proposer, sampler or pruner needs Optuna, which is not installed.
    """

    def __init__(
        self,
        train: Callable[[Trial], Mapping[str, Any]],
        *,
        propose: Any,
        maximize: str | None = None,
        minimize: str | None = None,
        experiment: Experiment | str = "sweep",
        workers: int = 2,
        seed: int | None = None,
        sampler: Any = None,
        pruner: Any = None,
        retries: int = 0,
        ordered: int | None = None,
        isolation: Isolation | None = None,
        cpus_per_trial: int = 1,
        gpus_per_trial: float | None = None,
        time_limit: float | None = None,
        sweep_time_limit: float | None = None,
        progress_limit: float | None = None,
        memory_limit: int | None = None,
        grace: float = 10.0,
        backend: Backend | None = None,
    ) -> None:
        if not callable(train):
            raise WrongType(f"train must be a function of a trial, not {train!r}")
        self._train = train
        self._objective = _objective(maximize, minimize)
        settings = Settings(
            workers=_at_least(1, "workers", workers),
            ordered=_at_least(1, "ordered", workers if ordered is None else ordered),
            retries=_at_least(0, "retries", retries),
            threads=_at_least(1, "cpus_per_trial", cpus_per_trial),
            seed=int.from_bytes(os.urandom(4), "big")
            if seed is None
            else _at_least(0, "seed", seed),
            limits=Limits(
                trial=_positive("time_limit", time_limit),
                sweep=_positive("sweep_time_limit", sweep_time_limit),
                progress=_positive("progress_limit", progress_limit),
                memory=None if memory_limit is None else _at_least(1, "memory_limit", memory_limit),
            ),
            grace=_seconds("grace", grace),
        )
        slots = Slots(settings.workers, gpus_per_trial)
        self._isolation: Isolation = check_isolation(isolation)
        self._handlers = Handlers(self)
        self._sweep = Sweep(
            self._objective, as_proposer(propose, sampler), pruner, settings, slots, self._fire
        )
        self._experiment = experiment
        self._owns_experiment = False
        self._backend = backend
        self._owns_backend = False
        self._entered = False
        self._trial: TrialRecord | None = None

    def __enter__(self) -> Factory:
        self._entered = True
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._entered = False
        self._close(kind, error, trace)

    def run(self, trials: int) -> None:
        """Run until the sweep has so many trials, or the proposer has nothing more to try.

        A further call goes on where the last one stopped. Ctrl-C once lets the running trials
        finish and returns; twice stops them and raises KeyboardInterrupt.

        Args:
            trials: How many trials the sweep is to have in all, those of earlier calls included.

        Raises:
            SweepFailed: No trial completed, or no process can be started; says why.
            WrongType: ``train`` uses something that cannot be pickled; named.
            WrongValue: ``train`` drags in too much data; named.
        """
        _at_least(1, "trials", trials)
        train = Transport(self._train)
        with ExitStack() as stack:
            if not self._entered:
                stack.push(self._close)
            display = Display(self._sweep.records, trials, self._objective)
            stack.enter_context(display)
            backend = self._open_backend(train)
            experiment = self._open_experiment()
            file = stack.enter_context(train.file())
            self._sweep.run(trials, experiment, backend, train.name, file, display)

    def close(self) -> None:
        """End the fork server, and close the experiment where the Factory created it."""
        self._close(None, None, None)

    def _close(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._owns_backend and self._backend is not None:
            self._backend.close()
            self._backend, self._owns_backend = None, False
        if self._owns_experiment and isinstance(self._experiment, Experiment):
            self._experiment.__exit__(kind, error, trace)  # an error is recorded as its end
            self._owns_experiment = False

    def on(self, event: Any, *args: Any, **kwargs: Any) -> Callable[[_Handler], _Handler]:
        """Decorate a handler: ``@factory.on(FactoryEvents.TRIAL_COMPLETED(every=5))``.

        Args:
            event: One of :class:`FactoryEvents`, with Ignite's filters where wanted.
            *args: Passed on to the handler, after the factory.
            **kwargs: Passed on to the handler.
        """

        def register(handler: _Handler) -> _Handler:
            self.add_event_handler(event, handler, *args, **kwargs)
            return handler

        return register

    def add_event_handler(
        self, event: Any, handler: Callable[..., Any], *args: Any, **kwargs: Any
    ) -> None:
        """Have a handler called with the factory at each such event; see :meth:`on`.

        What it raises ends the sweep: the running trials are stopped first.
        """
        self._handlers.add(event, handler, *args, **kwargs)

    @property
    def experiment(self) -> Experiment:
        """The experiment that the sweep is recorded in.

        Raises:
            WrongValue: It has only a name so far: ``run`` creates it.
        """
        if not isinstance(self._experiment, Experiment):
            raise WrongValue(f"run creates the experiment {self._experiment!r}: call it first")
        return self._experiment

    @property
    def seed(self) -> int:
        """The sweep's seed."""
        return self._sweep.settings.seed

    @property
    def trial(self) -> TrialRecord:
        """In a handler: the trial that the event is about.

        Raises:
            WrongValue: No event about a trial is being handled.
        """
        if self._trial is None:
            raise WrongValue("factory.trial is for handlers of an event about a trial, during it")
        return self._trial

    @property
    def records(self) -> list[TrialRecord]:
        """All trials so far, by number."""
        return list(self._sweep.records)

    @property
    def best_trial(self) -> TrialRecord | None:
        """The best trial that has completed; None before the first has."""
        first = next(iter(ranked(self._sweep.records, self._objective)), None)
        return first if first is not None and first.value is not None else None

    @property
    def best(self) -> dict[str, Any] | None:
        """The best trial's number, metrics and parameters; None before a trial has completed."""
        best = self.best_trial
        if best is None:
            return None
        return {"trial": best.number, **(best.result or {}), **best.params}

    @property
    def trials(self) -> pd.DataFrame:
        """A row per trial: number, state, metrics, parameters, seconds, attempts, reason."""
        return to_frame(self._sweep.records)

    def table(self, rows: int | None = None) -> Table:
        """The trials as a table that ``rich.print`` shows, best first.

        Args:
            rows: How many to show; all where None.
        """
        return to_table(self._sweep.records, self._objective, rows)

    def _fire(self, event: FactoryEvents, record: TrialRecord | None = None) -> None:
        self._trial = record
        try:
            self._handlers.fire(event)
        finally:
            self._trial = None

    def _open_backend(self, train: Transport) -> Backend:
        if self._backend is None:
            self._backend = open_backend(self._isolation, train.required, train.modules)
            self._owns_backend = True
        self._backend.start()
        return self._backend

    def _open_experiment(self) -> Experiment:
        if isinstance(self._experiment, Experiment):
            return self._experiment
        self._experiment = Experiment(self._experiment)
        self._owns_experiment = True
        return self._experiment


def _objective(maximize: object, minimize: object) -> Objective:
    if (maximize is None) == (minimize is None):
        raise WrongValue(
            "a sweep needs one objective: either maximize= or minimize=, with the name of a metric "
            f"that train returns; got maximize={maximize!r}, minimize={minimize!r}"
        )
    metric = minimize if maximize is None else maximize
    if not isinstance(metric, str) or not metric:
        raise WrongType(f"the objective must be the name of one metric, not {metric!r}")
    return Objective(metric, "minimize" if maximize is None else "maximize")


def _at_least(least: int, name: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise WrongType(f"{name} must be an int, not {value!r}")
    if value < least:
        raise WrongValue(f"{name} must be at least {least}, not {value}")
    return value


def _seconds(name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise WrongType(f"{name} must be a number of seconds, not {value!r}")
    if not value >= 0:
        raise WrongValue(f"{name} must be at least 0 seconds, not {value}")
    return float(value)


def _positive(name: str, value: object) -> float | None:
    if value is None:
        return None
    if _seconds(name, value) == 0:
        raise WrongValue(f"{name} must be more than 0 seconds")
    return _seconds(name, value)
