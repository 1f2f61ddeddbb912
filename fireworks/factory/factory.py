"""The Factory: proposes parameters, has each trial run in a process, decides, and goes on."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar, final

from fireworks.errors import WrongValue
from fireworks.experiment import Experiment, load_experiment
from fireworks.factory.backend import Backend
from fireworks.factory.display import Display
from fireworks.factory.events import FactoryEvents, Handlers
from fireworks.factory.exchange import earlier_trials, write_study
from fireworks.factory.goal import as_goal
from fireworks.factory.halving import Halving, check_scheduler
from fireworks.factory.identity import differences
from fireworks.factory.isolation import Isolation, check_isolation, open_backend
from fireworks.factory.loading import load_model
from fireworks.factory.parts import Evaluation, Stopping, Training, as_train, until
from fireworks.factory.proposals import Proposals
from fireworks.factory.proposers import as_proposer
from fireworks.factory.records import TrialRecord, pareto_front, to_frame, to_table
from fireworks.factory.resuming import (
    SWEEP,
    describe_sweep,
    function_named,
    read_description,
    refuse_changes,
)
from fireworks.factory.samplers import make_pruning
from fireworks.factory.settings import at_least, make_settings
from fireworks.factory.shared_data import SharedData
from fireworks.factory.slots import Slots
from fireworks.factory.sweep import Sweep
from fireworks.factory.transport import Transport
from fireworks.factory.trial import Trial
from fireworks.record.json_values import plain
from fireworks.record.layout import FORCE_VARIABLE

if TYPE_CHECKING:
    import pandas as pd
    from rich.table import Table

    from fireworks.message import Message


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
        evaluate: Turns what ``train`` returns into the metrics: a function ``(trial, trained)``.
        stop: Whether to end the search: a function ``(params, metrics)`` of all that was tried.
        maximize: The metric to make large, or several; the first one decides which is the best.
        minimize: The metric to make small, or several. Either this or ``maximize`` is needed.
        constraints: Bounds such as ``"latency <= 20"``; what is beyond them is never the best.
        experiment: Where to record; or the name of one to be created in ``runs/``.
        workers: How many trials run at once.
        seed: All proposals and the trials' seeds follow from it; None draws one and records it.
        sampler: An Optuna sampler; by default TPE.
        pruner: An Optuna pruner that decides on what trials report; by default nothing is pruned.
        scheduler: ``Halving(...)`` pauses trials, and goes on with the best of them.
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
        data: A Message, or several by name, too large to be loaded by every trial: written once,
            and mapped into the memory of each as ``trial.data``.
        backend: What runs the attempts, in place of ``isolation``. It stays open, and may serve
            another Factory afterwards.

    Raises:
        WrongType: An argument of the wrong kind.
        WrongValue: An argument that makes no sense, or neither of maximize and minimize.
        MissingDependency: The proposer, sampler or pruner needs Optuna, which is not installed.
    """

    def __init__(
        self,
        train: Callable[[Trial], Any] | Training,
        *,
        propose: Any,
        evaluate: Callable[[Trial, Any], Mapping[str, Any]] | Evaluation | None = None,
        stop: Callable[[Message, Message], bool] | Stopping | None = None,
        maximize: str | Sequence[str] | None = None,
        minimize: str | Sequence[str] | None = None,
        constraints: Sequence[str] = (),
        experiment: Experiment | str = "sweep",
        workers: int = 2,
        seed: int | None = None,
        sampler: Any = None,
        pruner: Any = None,
        scheduler: Halving | None = None,
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
        data: Message | Mapping[str, Message] | None = None,
        backend: Backend | None = None,
    ) -> None:
        self._train = as_train(train, evaluate)
        self._goal = as_goal(maximize, minimize, constraints)
        numbers: dict[str, Any] = {
            "workers": workers,
            "retries": retries,
            "cpus_per_trial": cpus_per_trial,
            "time_limit": time_limit,
            "sweep_time_limit": sweep_time_limit,
            "progress_limit": progress_limit,
            "memory_limit": memory_limit,
            "grace": grace,
        }
        settings = make_settings(seed=seed, ordered=ordered, **numbers)
        slots = Slots(settings.workers, gpus_per_trial)
        self._isolation: Isolation = check_isolation(isolation)
        self._handlers = Handlers(self)
        proposer = as_proposer(propose, sampler)
        self._proposals = Proposals(
            self._goal,
            until(proposer, stop),
            make_pruning(pruner, self._goal),
            check_scheduler(scheduler, self._goal),
            self._load_model,
        )
        self._sweep = Sweep(self._proposals, settings, slots, self._fire)
        self._data = data
        self._sweep.shared = None if data is None else SharedData(data)
        self._given = {"seed": seed, "ordered": ordered}
        self._recorded = describe_sweep(
            self._goal,
            proposer,
            {"train": train, "evaluate": evaluate, "propose": propose, "stop": stop},
            {"pruner": pruner, "scheduler": scheduler},
            {
                **numbers,
                "sampler": sampler,
                "pruner": pruner,
                "isolation": isolation,
                "gpus_per_trial": gpus_per_trial,
            },
        )
        self._recorded["identity"] |= {"seed": settings.seed, "ordered": settings.ordered}
        self._force = FORCE_VARIABLE in os.environ
        self._experiment = experiment
        self._owns_experiment = False
        self._closed = False  # whether the experiment was ours, and is closed
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

    @classmethod
    def resume(
        cls,
        path: str | os.PathLike[str],
        train: Callable[[Trial], Any] | Training | None = None,
        *,
        propose: Any = None,
        force: bool = False,
        **options: Any,
    ) -> Factory:
        """Go on with a recorded sweep, also one whose process was killed.

        No finished trial is lost or run again; those that ran are queued again, and go on from
        their last checkpoint. What is proposed next is what an undisturbed sweep would propose.

        Args:
            path: The experiment's folder.
            train: As it was; may be left out where it can be imported by its name.
            propose: As it was; the same.
            force: Go on even if the goal, the space or the code has changed.
            **options: As for :class:`Factory`; those that are left out are as they were, if they
                are plain values, or functions that can be imported by their names.

        Raises:
            ExperimentNotFound: There is no experiment at ``path``.
            ExperimentInUse: Another process owns it; names its pid.
            WrongValue: It holds no sweep; a function that was left out cannot be imported.
            StateMismatch: The goal, the space or the code has changed; shows how.
        """
        recorded = read_description(path)
        identity, names = recorded["identity"], recorded["names"]
        if not {"maximize", "minimize"} & options.keys():
            for name, direction in identity["objectives"]:
                options.setdefault(direction, []).append(name)
            options.setdefault("constraints", identity["constraints"])
        if options.get("scheduler") is None and identity["scheduler"] is not None:
            options["scheduler"] = Halving(**identity["scheduler"])
        for name in ("evaluate", "stop"):
            if name not in options and f"code of {name}" in identity:
                options[name] = function_named(name, names.get(name))
        factory = cls(
            function_named("train", names.get("train")) if train is None else train,
            propose=function_named("propose", names.get("propose")) if propose is None else propose,
            **{**recorded["options"], **options},
        )
        factory._force |= force
        refuse_changes(factory._changes(recorded), force=force)
        factory._experiment = load_experiment(path, write=True)
        factory._owns_experiment = True
        try:
            factory._agree(factory._experiment)
            factory._sweep.load(factory._experiment)
        except BaseException as error:
            factory._close(type(error), error, error.__traceback__)
            raise
        return factory

    def _changes(self, recorded: Mapping[str, Any]) -> list[str]:
        """Take over what was not given; returns what differs."""
        before = recorded["identity"]
        known = {name: before[name] for name, given in self._given.items() if given is None}
        self._sweep.settings = replace(self._sweep.settings, **known)
        self._recorded["identity"] |= known
        return differences(before, self._recorded["identity"])

    def _agree(self, experiment: Experiment) -> None:
        """Make sure that an experiment holds this very sweep, or none yet.

        Raises:
            StateMismatch: It holds another one.
        """
        before = experiment.sweep.state().get(SWEEP)
        if before is not None:
            changed = self._changes(before)
            refuse_changes(changed, force=self._force)
            if changed:
                experiment.sweep.event("changed", data=changed)
        wishes = self._proposals.wishes() if before is None else {}
        if before != self._recorded:
            experiment.sweep.set_state({SWEEP: self._recorded, **wishes})

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
        at_least(1, "trials", trials)
        train = Transport(self._train)
        with ExitStack() as stack:
            if not self._entered:
                stack.push(self._close)
            display = Display(self._sweep.records, trials)
            stack.enter_context(display)
            backend = self._open_backend(train)
            experiment = self._open_experiment()
            self._agree(experiment)
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
        if self._sweep.shared is not None:
            self._sweep.shared.close()
        if self._owns_experiment and isinstance(self._experiment, Experiment):
            self._experiment.__exit__(kind, error, trace)  # an error is recorded as its end
            self._owns_experiment, self._closed = False, True

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

    def enqueue(self, params: Mapping[str, Any]) -> None:
        """Have parameters tried before anything else is proposed; again and again if called so.

        Args:
            params: By name; what is left out, the proposer fills in where it can.

        Raises:
            WrongType: A value is no JSON value.
            WrongValue: (when it is its turn) The space has no such parameter or value.
        """
        plain(params, what="What is enqueued")
        self._proposals.enqueue(params)

    def learn_from(self, path: str | os.PathLike[str]) -> int:
        """Begin with what an earlier sweep found, which may have had another space.

        Args:
            path: The folder of its experiment.

        Returns:
            How many finished trials it has.

        Raises:
            ExperimentNotFound: There is no experiment at ``path``.
            WrongValue: It has no finished trial, or this sweep has begun already.
        """
        trials = earlier_trials(path)
        self._proposals.learn(trials)
        return len(trials)

    def export_study(self, storage: str, name: str | None = None) -> None:
        """Write an Optuna study of the trials, for Optuna's own tools.

        Args:
            storage: An URL such as ``"sqlite:///study.db"``, or one of Optuna's storages.
            name: The study's name; the experiment's id by default.

        Raises:
            WrongValue: There is a study of that name already.
            MissingDependency: Optuna is not installed.
        """
        write_study(storage, name or self.experiment.id, self._goal, self.experiment)

    @property
    def best_trial(self) -> TrialRecord | None:
        """The best trial that has completed and keeps to the constraints; None before there is one.

        Of several objectives the first one decides, the next where trials are equal in it; see
        `best_trials`.
        """
        return self._sweep.records.best

    @property
    def best_trials(self) -> list[TrialRecord]:
        """The Pareto front: the trials that no other one beats in all objectives, by number."""
        return pareto_front(self._sweep.records, self._goal)

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
        return to_table(self._sweep.records, self._goal, rows)

    def _load_model(self, record: TrialRecord) -> Any:
        return load_model(self._train, record, self.experiment.path, self._data)

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
            if self._closed:
                self._experiment = load_experiment(self._experiment.path, write=True)
                self._owns_experiment, self._closed = True, False
            return self._experiment
        self._experiment = Experiment(self._experiment)
        self._owns_experiment = True
        return self._experiment
