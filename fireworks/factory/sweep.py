"""The loop of a sweep: start what may be started, wait, record what happened, repeat."""

from __future__ import annotations

import logging
import socket
import time
from collections import deque
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, final

from fireworks.errors import SweepFailed
from fireworks.factory.backend import Backend, Ended, Job, Notice, Said, Started
from fireworks.factory.display import Display
from fireworks.factory.events import FactoryEvents
from fireworks.factory.halving import Brackets
from fireworks.factory.interrupts import Interrupts
from fireworks.factory.judge import Verdict, judge
from fireworks.factory.limits import Watch
from fireworks.factory.linux import attempt_token, kill_marked, run_token
from fireworks.factory.proposals import Proposals
from fireworks.factory.proposers import EndSearch
from fireworks.factory.records import TrialRecord
from fireworks.factory.settings import Settings
from fireworks.factory.shared_data import SharedData
from fireworks.factory.slots import Slots
from fireworks.factory.wire import JSON
from fireworks.record.checkpoints import position_to_go_on_from

if TYPE_CHECKING:
    from fireworks.experiment import Experiment

logger = logging.getLogger("fireworks.factory")

_MOST_LOSSES = 3  # in a row, of attempts that ended through no doing of their own
_MISNAMED_ENOUGH = 2  # trials that fail for a wrong name, and no others, before the sweep gives up


@dataclass
class _Running:
    """An attempt under way."""

    record: TrialRecord
    began: float
    devices: list[str] | None  # the GPUs that it has
    last_words: JSON | None = None
    intent: Verdict | None = None  # what it is to end as, where it is we who end it


@final
class Sweep:
    """The trials of one Factory and the loop that runs them.

    Each thing that happens is committed to the experiment before anybody is told of it.

    Args:
        proposals: Which trials there are to be.
        settings: The numbers.
        slots: Where trials may run.
        fire: Calls the handlers of an event, with the trial that it is about.
    """

    def __init__(
        self,
        proposals: Proposals,
        settings: Settings,
        slots: Slots,
        fire: Callable[..., None],
    ) -> None:
        self.records = proposals.trials
        self.settings = settings
        self._proposals = proposals
        self._pruning = proposals.pruning
        self._brackets = proposals.brackets
        self._goal = self.records.goal
        self._fire = fire
        self._slots = slots
        self.shared: SharedData | None = None  # what all trials read
        self._loaded: Experiment | None = None
        self._queue: deque[TrialRecord] = deque()  # waiting for another attempt
        self._running: dict[str, _Running] = {}
        self._notices: deque[Notice] = deque()  # heard and not yet acted upon
        self._losses = 0
        self._misnamed = 0
        self._exhausted = False
        self._undecided = True  # whether a trial has ended or paused since the last decisions
        self._draining: str | None = None  # why no further trial is begun

    def run(
        self,
        trials: int,
        experiment: Experiment,
        backend: Backend,
        train: list[str] | None,
        file: int | None,
        display: Display,
    ) -> None:
        """Run until there are so many trials; see :meth:`fireworks.factory.Factory.run`."""
        self._experiment, self._backend, self._display = experiment, backend, display
        self._train, self._file = train, file
        self._draining = None
        experiment.sweep.ended_early = False
        self._watch = Watch(self.settings.limits)
        self._begin(trials)
        with Interrupts(backend.wake) as interrupts:
            try:
                self._fire(FactoryEvents.STARTED)
                self._loop(trials, interrupts)
                ended = sum(self.records.counts[each] for each in ("completed", "pruned", "failed"))
                experiment.sweep.ended_early = self._draining is not None and ended < trials
                self._fire(FactoryEvents.COMPLETED)
            except BaseException as error:
                self._abandon(f"the sweep ended with {type(error).__name__}: {error}")
                raise
        if interrupts.count > 1:
            raise KeyboardInterrupt
        if not interrupts.count:
            self._check_any_completed()

    def load(self, experiment: Experiment) -> None:
        """Get to know the trials that are recorded, and put back in the queue what is unfinished.

        What an earlier owner of the experiment left running is killed first.
        """
        if self._loaded is not experiment:  # else what runs is ours: warm processes that wait
            kill_marked(run_token(experiment.path))
            self._loaded = experiment
        sweep, settings = experiment.sweep, self.settings
        sweep.set_objective([(each.metric, each.direction) for each in self._goal.objectives])
        self._proposals.begin(
            sweep, experiment.path / "trials", seed=settings.seed, ordered=settings.ordered
        )
        self._queue.clear()
        for record in self._proposals.unfinished():
            if record.state != "queued":
                sweep.requeue(record.number, state="stopped", reason="the sweep's process ended")
                self.records.change(record, "queued")
            self._queue.append(record)

    def _begin(self, trials: int) -> None:
        self.load(self._experiment)
        self._exhausted, self._undecided = False, True
        sweep = self._experiment.sweep
        settings = self.settings
        sweep.event(
            "started",
            data={
                "trials": trials,
                "workers": settings.workers,
                "ordered": settings.ordered,
                "retries": settings.retries,
                "cpus_per_trial": settings.threads,
                "seed": settings.seed,
                "limits": asdict(settings.limits),
            },
        )

    def _loop(self, trials: int, interrupts: Interrupts) -> None:
        answered = 0
        while True:
            self._fill(trials)
            if not self._running:
                return
            self._notices.extend(self._backend.poll(self._watch.timeout()))
            while self._notices:
                self._hear(self._notices.popleft())
            self._hold_to_limits()
            while answered < interrupts.count:
                answered += 1
                self._interrupt(answered)

    def _fill(self, trials: int) -> None:
        """Begin attempts while there is a free worker and something to run."""
        while len(self._running) < self.settings.workers and not self._draining:
            complete = self._exhausted or len(self.records) >= trials
            if self._undecided and self._brackets is not None:
                self._undecided = False
                self._decide(self._brackets)
            elif self._queue:
                self._start(self._queue.popleft())
            elif not complete and self._proposals.may_propose():
                self._propose()
            elif complete and self._brackets is not None and (closed := self._brackets.close()):
                self._experiment.sweep.set_state(closed)
                self._undecided = True
            else:
                return

    def _propose(self) -> None:
        try:
            record = self._proposals.propose()
        except EndSearch as end:
            self._exhausted = True
            logger.info("the search ends after %d trials: %s", len(self.records), end)
            return
        self._queue.append(record)
        self._fire(FactoryEvents.PROPOSED, record)

    def _decide(self, brackets: Brackets) -> None:
        """End paused trials, and go on with others, where all that they compete with are there."""
        for decision in brackets.decide(self.records):
            pruned, promoted = (
                [record.number for record in each] for each in (decision.pruned, decision.promoted)
            )
            self._experiment.sweep.decide(pruned, promoted, decision.state)
            for record in decision.pruned:
                self.records.change(record, "pruned")
                self._display.finished(record)
                self._fire(FactoryEvents.TRIAL_PRUNED, record)
            for record in decision.promoted:
                self.records.change(record, "queued")
                self._queue.append(record)

    def _start(self, record: TrialRecord) -> None:
        sweep = self._experiment.sweep
        # What an earlier attempt recorded up to the checkpoint that this one goes on from, stays.
        position = position_to_go_on_from(self._experiment.path, record.number, record.attempts)
        record.attempts = sweep.start_attempt(
            record.number, host=socket.gethostname(), position=position
        )
        record.reason, record.result = None, None
        self.records.change(record, "running")
        record.reports.clear()
        if position > 0:
            record.reports |= sweep.reports(record.number)
        if self._pruning is not None and record.attempts > 1:
            self._pruning.restart_trial(record.number, record.reports)
        folder = record.path / f"attempt-{record.attempts}"
        folder.mkdir(parents=True)
        attempt = attempt_token(self._experiment.path, record.number, record.attempts)
        devices = self._slots.take()
        description = {
            "trial": record.number,
            "attempt": record.attempts,
            "seed": record.seed,
            "params": record.params,
            "experiment": str(self._experiment.path),
            "threads": self.settings.threads,
            "devices": devices,
            "memory": self.settings.limits.memory,
            "progress": self.settings.limits.progress_interval,
            "data": self.shared and self.shared.write(self._experiment.path),
            "train": self._train,
            "objective": self._goal.metrics,
        }
        began = time.monotonic()
        try:
            self._backend.submit(Job(attempt, description, self._file, folder))
        except BaseException as error:
            self._slots.give_back(devices)
            record.reason = f"no process was started: {error}"
            self.records.change(record, "stopped")
            sweep.finish_attempt(
                record.number, record.attempts, state="stopped", reason=record.reason
            )
            raise
        self._running[attempt] = _Running(record, began, devices)
        self._watch.submitted(attempt)
        self._fire(FactoryEvents.TRIAL_STARTED, record)

    def _hear(self, notice: Notice) -> None:
        running = self._running[notice.id]
        record = running.record
        match notice:
            case Started(pid=pid):
                self._watch.started(notice.id, pid)
                self._experiment.sweep.set_process(record.number, record.attempts, pid)
            case Said(message=message):
                self._watch.heard(notice.id, message)
                if "report" in message:
                    self._take_report(notice.id, record, *message["report"])
                elif "end" in message:
                    running.last_words = message
            case Ended():
                del self._running[notice.id]
                self._watch.ended(notice.id)
                self._slots.give_back(running.devices)
                self._finish(running, notice)

    def _take_report(self, attempt: str, record: TrialRecord, step: int, value: float) -> None:
        self._experiment.sweep.report(record.number, record.attempts, step, value)
        record.reports[step] = value
        self._fire(FactoryEvents.TRIAL_REPORTED, record)
        prune = self._pruning is not None and self._pruning.decide(record.number, step, value)
        pause = self._brackets is not None and self._brackets.pauses(record.number, step)
        self._backend.send(attempt, {"prune": prune, "pause": pause})
        self._fire(FactoryEvents.DECIDED, record)

    def _finish(self, running: _Running, end: Ended) -> None:
        record = running.record
        verdict = judge(running.last_words, end, self._goal)
        if running.intent is not None and verdict.state != "completed":
            verdict = running.intent  # not how its process died: we had asked it to
        record.seconds = time.monotonic() - running.began
        record.result, record.reason = verdict.result, verdict.reason
        if verdict.state == "completed" and verdict.result is not None:
            record.values = self._goal.values(verdict.result)
            record.feasible = self._goal.feasible(verdict.result)
        self.records.change(record, verdict.state)
        record.failures += verdict.state == "failed" and not _is_lost(running, end)
        again = verdict.state == "failed" and self._deserves_another(record, running, end)
        self._experiment.sweep.finish_attempt(
            record.number,
            record.attempts,
            state=verdict.state,
            result=verdict.result,
            feasible=record.feasible,
            reason=verdict.reason,
            exit_code=end.exit_code,
            signal=end.signal,
            peak_memory=end.peak_memory,
            retry=again,
        )
        self._undecided = True
        self._count(verdict, end, lost=_is_lost(running, end), again=again)
        if again:
            self.records.change(record, "queued")
            self._queue.append(record)
            logger.warning("trial %d will be tried again: %s", record.number, verdict.reason)
            self._fire(FactoryEvents.TRIAL_RETRIED, record)
            return
        if verdict.state != "paused":
            self._display.finished(record)
        events = {
            "completed": FactoryEvents.TRIAL_COMPLETED,
            "pruned": FactoryEvents.TRIAL_PRUNED,
            "paused": FactoryEvents.TRIAL_PAUSED,
            "failed": FactoryEvents.TRIAL_FAILED,
        }
        if verdict.state in events:
            self._fire(events[verdict.state], record)

    def _deserves_another(self, record: TrialRecord, running: _Running, end: Ended) -> bool:
        if self._draining:
            return False
        if _is_lost(running, end):
            return True  # no doing of its own: not one of its retries
        return record.failures <= self.settings.retries

    def _count(self, verdict: Verdict, end: Ended, *, lost: bool, again: bool) -> None:
        """Notice when going on makes no sense."""
        self._losses = self._losses + 1 if lost else 0
        if self._losses >= _MOST_LOSSES:
            raise SweepFailed(f"{self._losses} attempts in a row were lost: {end.lost}")
        self._misnamed += verdict.misnamed and not again
        if _MISNAMED_ENOUGH <= self._misnamed == self.records.finished and not self._draining:
            self._draining = "an objective or a parameter is misnamed"
            logger.error("the sweep ends early: %s", verdict.reason)

    def _interrupt(self, count: int) -> None:
        if count == 1:
            self._draining = "interrupted"
            self._experiment.sweep.event("interrupted")
            logger.warning(
                "interrupted: %d running trials may finish; Ctrl-C again stops them",
                len(self._running),
            )
            self._fire(FactoryEvents.INTERRUPTED)
            return
        for attempt in self._running:
            self._stop(attempt, Verdict("stopped", reason="stopped by Ctrl-C"))

    def _stop(self, attempt: str, intent: Verdict) -> None:
        self._watch.ended(attempt)
        self._running[attempt].intent = intent
        self._backend.kill(attempt, grace=self.settings.grace)

    def _hold_to_limits(self) -> None:
        for attempt, reason in self._watch.exceeded():
            self._stop(attempt, Verdict("failed", reason=reason))
        over = self._watch.sweep_exceeded()
        if over is None:
            return
        self._draining = over
        logger.warning("%s: what runs is stopped", over)
        for attempt, running in self._running.items():
            if running.intent is None:
                self._stop(attempt, Verdict("stopped", reason=over))

    def _abandon(self, reason: str) -> None:
        """End what runs, and record it as stopped; nothing is told to handlers any more."""
        for attempt in self._running:
            self._backend.kill(attempt, grace=0)
        while self._running:
            if not self._notices:
                self._notices.extend(self._backend.poll())
                continue
            notice = self._notices.popleft()
            if isinstance(notice, Ended):
                running = self._running.pop(notice.id)
                record = running.record
                self._slots.give_back(running.devices)
                record.reason = reason
                self.records.change(record, "stopped")
                self._experiment.sweep.finish_attempt(
                    record.number,
                    record.attempts,
                    state="stopped",
                    reason=reason,
                    exit_code=notice.exit_code,
                    signal=notice.signal,
                    peak_memory=notice.peak_memory,
                )

    def _check_any_completed(self) -> None:
        """Raises SweepFailed where no trial has completed, with the first failure's reason."""
        if self.records.counts["completed"] or self.records.counts["paused"]:
            return
        failed = [record for record in self.records if record.state == "failed"]
        if failed:
            first = failed[0]
            raise SweepFailed(
                f"no trial of {len(self.records)} completed. Trial {first.number} failed: "
                f"{first.reason} (what it printed: {first.stderr})"
            )
        raise SweepFailed(f"no trial of {len(self.records)} completed: all were pruned or stopped")


def _is_lost(running: _Running, end: Ended) -> bool:
    """Whether an attempt ended through no doing of its own, before it had said what came of it."""
    return end.lost is not None and running.last_words is None
