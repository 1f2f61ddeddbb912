"""Which trials there are to be: proposed in turn, told in turn, recorded so that it can go on."""

from __future__ import annotations

import hashlib
import json
import logging
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast, final

from fireworks.errors import WrongType, WrongValue
from fireworks.factory.goal import Goal
from fireworks.factory.halving import Brackets, Halving
from fireworks.factory.proposers import EndSearch, Memory, Proposer
from fireworks.factory.records import EarlierTrial, State, TrialRecord
from fireworks.factory.trials import Trials

if TYPE_CHECKING:
    from fireworks.experiment import StoredTrial, SweepRecord
    from fireworks.factory.pruning import Pruning

logger = logging.getLogger("fireworks.factory")

# Proposals in a row that had all been tried: to try one set of parameters with many seeds is a
# search, too.
_REPEATS_WARNED_OF = 20
_MOST_REPEATS = 1000


def trial_seed(seed: int, number: int) -> int:
    """The seed of a trial, 32 bits: a function of the sweep's seed and its number alone."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{number}".encode()).digest()[:4], "big")


@final
class Proposals:
    """The trials of a sweep, from their proposals to what the proposer is told of them.

    A proposal, what it has changed in the proposer, and what the proposer was told before it are
    committed as one: a killed sweep goes on as if nothing had happened.

    Args:
        goal: What the sweep is after.
        proposer: Where parameters come from.
        pruning: Decides on reports; None where nothing is pruned.
        halving: The numbers of successive halving; None where nothing is paused.
        load_model: Loads the model of a trial.

    Attributes:
        trials: All trials so far.
        pruning: As given.
        brackets: What is compared with what; None without halving.
    """

    def __init__(
        self,
        goal: Goal,
        proposer: Proposer,
        pruning: Pruning | None,
        halving: Halving | None,
        load_model: Callable[[TrialRecord], Any],
    ) -> None:
        self.trials = Trials(goal)
        self.pruning = pruning
        self.brackets = None if halving is None else Brackets(halving, goal.objectives[0])
        self._goal = goal
        self._load_model = load_model
        self._proposer = proposer
        self._told = 0  # results that the proposer knows: those of the trials below this number
        self._memories: dict[int, dict[str, Any]] = {}  # what is kept with trials not told yet
        self._enqueued: deque[dict[str, Any]] = deque()
        self._earlier: list[EarlierTrial] = []
        self._wishes_recorded = False
        self._seen: set[str] = set()
        self._repeats = 0
        self._sweep: SweepRecord | None = None
        self._in_order = False  # whether the proposer knows what the record does

    def begin(self, sweep: SweepRecord, folder: Path, *, seed: int, ordered: int) -> None:
        """Begin, or go on with what the record holds.

        Args:
            sweep: The record.
            folder: Where the trials' folders are.
            seed: The sweep's.
            ordered: Trial n is proposed from the results of the trials up to n - ordered.
        """
        self._folder, self._seed, self._ordered = folder, seed, ordered
        if self._sweep is sweep and self._in_order:
            return
        state = sweep.state()
        if not self._wishes_recorded:  # those of an earlier process come first
            new = bool(self._enqueued)
            self._enqueued.extendleft(reversed(state.get("enqueued", [])))
            self._earlier = [EarlierTrial(**each) for each in state.get("earlier", [])]
            if new:
                sweep.set_state(self.wishes())
            self._wishes_recorded = True
        self._sweep = sweep
        self._proposer.begin(self._goal, seed)
        if self._earlier:
            self._proposer.learn(self._earlier)
        self._restore(sweep.trials(), state)
        self._in_order = True

    def enqueue(self, params: Mapping[str, Any]) -> None:
        """Have parameters tried before anything else is proposed."""
        self._enqueued.append(dict(params))
        if self._sweep is not None:
            self._sweep.set_state(self.wishes())

    def learn(self, trials: Sequence[EarlierTrial]) -> None:
        """Have the proposer know the trials of another sweep.

        Raises:
            WrongValue: Something was proposed already.
        """
        if self.trials or self._sweep is not None:
            raise WrongValue("trials of another sweep are learnt from before the first run")
        self._earlier += trials

    def unfinished(self) -> list[TrialRecord]:
        """The trials that are to run again, or first: those whose end nobody was told of yet."""
        return [
            record
            for record in self.trials
            if record.state in ("queued", "running")
            or (record.state == "stopped" and record.number >= self._told)
        ]

    def may_propose(self) -> bool:
        """Whether all results are there that the next proposal is to know; it is told them."""
        known = self._horizon()
        new = self.trials[self._told : known]
        if not all(record.finished for record in new):
            return False
        self._in_order = False  # until the next proposal is committed
        for record in new:
            self._proposer.tell(record)
            if self.pruning is not None:
                attributes = self.pruning.tell(record)
                if attributes:
                    self._memories.setdefault(record.number, {})["pruning"] = attributes
        self._told = max(self._told, known)
        return True

    def propose(self) -> TrialRecord:
        """The next trial, committed.

        Raises:
            EndSearch: There is nothing more to try.
            WrongType, WrongValue: What is proposed are no parameters.
        """
        assert self._sweep is not None
        number = len(self.trials)
        state: dict[str, Any] = {}
        if self._enqueued:
            wanted = self._enqueued[0]
            proposed = self._proposer.adopt(number, wanted)
            state["enqueued"] = list(self._enqueued)[1:]
        elif self._repeats >= _MOST_REPEATS:
            end = EndSearch(f"the last {self._repeats} proposals had all been tried before")
            logger.warning("%s: the search ends", end)
            raise end
        else:
            proposed = self._proposer.propose(number)
        params = self._checked(number, proposed)
        if not self._enqueued:
            state |= self._count_repeats(params)
        memory = self._proposer.remember()
        state |= {f"proposer/{name}": value for name, value in memory.state.items()}
        changed = self._remembered(memory)
        record = TrialRecord(
            number,
            params,
            trial_seed(self._seed, number),
            self._folder / str(number),
            told=self._told,
            loader=self._load_model,
        )
        self._sweep.add_trial(
            number,
            seed=record.seed,
            params=params,
            told=self._told,
            state=state,
            memory=changed,
        )
        if self._enqueued:
            self._enqueued.popleft()
        self._take_in(record)
        for told in [each for each in self._memories if each < self._told]:
            del self._memories[told]
        self._in_order = True
        return record

    def _horizon(self) -> int:
        if self.brackets is not None:
            return self.brackets.horizon()
        return max(0, len(self.trials) - self._ordered + 1)

    def _take_in(self, record: TrialRecord, attributes: Mapping[str, Any] | None = None) -> None:
        self.trials.add(record)
        self._seen.add(_key(record.params))
        if self.brackets is not None:
            self.brackets.add(record.number)
        if self.pruning is not None:
            self.pruning.begin_trial(record.number, record.told, attributes)

    def _checked(self, number: int, params: Any) -> dict[str, Any]:
        if not isinstance(params, Mapping) or not all(isinstance(name, str) for name in params):
            raise WrongType(
                f"the parameters proposed for trial {number} must be a dict by name, not {params!r}"
            )
        return dict(cast("Mapping[str, Any]", params))

    def _count_repeats(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Count the proposals in a row that were tried before; returns what to record of it."""
        before = self._repeats
        self._repeats = before + 1 if _key(params) in self._seen else 0
        if self._repeats == _REPEATS_WARNED_OF:
            logger.warning(
                "the last %d proposals had all been tried before (%s): the search may have tried "
                "everything; after %d it ends.",
                self._repeats,
                _key(params),
                _MOST_REPEATS,
            )
        return {} if self._repeats == before else {"repeats": self._repeats}

    def _remembered(self, memory: Memory) -> dict[int, Any]:
        """What changed of what is kept with trials, by number."""
        changed = dict.fromkeys(memory.trials)
        for number, each in memory.trials.items():
            self._memories.setdefault(number, {})["proposer"] = each
        for number, kept in self._memories.items():
            if number in changed or "pruning" in kept:
                changed[number] = kept
        return changed

    def wishes(self) -> dict[str, Any]:
        """What is asked for and was not proposed yet, for the caller to record by name."""
        self._wishes_recorded = True
        return {
            "enqueued": list(self._enqueued),
            "earlier": [vars(each) for each in self._earlier],
        }

    def _restore(self, stored: Sequence[StoredTrial], state: Mapping[str, Any]) -> None:
        self.trials.clear()
        self._told = stored[-1].told if stored else 0
        self._repeats = state.get("repeats", 0)
        self._memories = {
            each.number: each.memory for each in stored[self._told :] if each.memory is not None
        }
        if self.pruning is not None:
            self.pruning.begin()
        for each in stored:
            record = self._record_of(each)
            self._take_in(record, (each.memory or {}).get("pruning"))
        if self.brackets is not None:
            self.brackets.recall(self.trials, state)
        prefix = "proposer/"
        memory = Memory(
            {key[len(prefix) :]: state[key] for key in state if key.startswith(prefix)},
            {each.number: (each.memory or {}).get("proposer") for each in stored},
        )
        self._proposer.recall(memory, self.trials, self._told)
        if self.pruning is not None:
            for record in self.trials[: self._told]:
                self.pruning.tell(record)
            for record in self.trials[self._told :]:
                self.pruning.restart_trial(record.number, record.reports)

    def _record_of(self, stored: StoredTrial) -> TrialRecord:
        completed = stored.state == "completed" and stored.result is not None
        return TrialRecord(
            number=stored.number,
            params=stored.params,
            seed=stored.seed,
            path=self._folder / str(stored.number),
            state=cast("State", stored.state),
            result=stored.result,
            values=self._goal.values(stored.result or {}) if completed else None,
            feasible=stored.feasible,
            reason=stored.reason,
            attempts=stored.attempts,
            failures=stored.failures,
            reports=stored.reports,
            seconds=stored.seconds,
            told=stored.told,
            loader=self._load_model,
        )


def _key(params: Mapping[str, Any]) -> str:
    """What two sets of parameters have in common if they are the same."""
    return json.dumps(params, sort_keys=True, default=str)
