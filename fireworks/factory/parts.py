"""The methods of a sweep as classes, for those who rather derive one than pass a function."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast, final

from fireworks.errors import WrongType
from fireworks.factory.goal import Goal
from fireworks.factory.proposers import EndSearch, Memory, Proposer, tables
from fireworks.factory.records import EarlierTrial, TrialRecord

if TYPE_CHECKING:
    from fireworks.factory.trial import Trial
    from fireworks.message import Message


class Training(ABC):
    """What is done in each trial."""

    @abstractmethod
    def train(self, trial: Trial) -> Any:
        """Train with ``trial.params``; runs in a process of its own.

        Returns:
            A dict of metrics; or, where there is an :class:`Evaluation`, what that needs.
        """


class Evaluation(ABC):
    """How good the outcome of a training is."""

    @abstractmethod
    def evaluate(self, trial: Trial, trained: Any) -> Mapping[str, float]:
        """Return the metrics of what ``train`` has returned; runs in the same process."""


class Stopping(ABC):
    """When the search is over."""

    @abstractmethod
    def stop(self, params: Message, metrics: Message) -> bool:
        """Whether to propose no more, given all that was tried: a row for each finished trial."""


def as_train(train: object, evaluate: object) -> Callable[[Trial], Any]:
    """The one function that runs in a trial's process.

    Raises:
        WrongType: What is given is neither a function nor a part.
    """
    training = train.train if isinstance(train, Training) else train
    if not callable(training):
        raise WrongType(f"train must be a function of a trial, or a Training, not {train!r}")
    if evaluate is None:
        return training
    evaluation = evaluate.evaluate if isinstance(evaluate, Evaluation) else evaluate
    if not callable(evaluation):
        raise WrongType(
            "evaluate must be a function of a trial and of what train returned, or an Evaluation, "
            f"not {evaluate!r}"
        )

    def train_and_evaluate(trial: Trial) -> Any:
        return evaluation(trial, training(trial))

    # It travels as what it is made of does, and with what that imports.
    train_and_evaluate.__module__ = getattr(training, "__module__", __name__)
    return train_and_evaluate


def until(proposer: Proposer, stop: object) -> Proposer:
    """A proposer that ends the search where ``stop`` says so.

    Raises:
        WrongType: It is neither a function nor a part.
    """
    if stop is None:
        return proposer
    stops = stop.stop if isinstance(stop, Stopping) else stop
    if not callable(stops):
        raise WrongType(f"stop must be a function (params, metrics), or a Stopping, not {stop!r}")
    return _Until(proposer, cast("Callable[[Message, Message], bool]", stops))


@final
class _Until(Proposer):
    """Asks another proposer, until a function says that it is enough.

    The function sees exactly what the proposer was told, so that a sweep ends after the same trial
    whatever the number of workers.
    """

    def __init__(self, proposer: Proposer, stop: Callable[[Message, Message], bool]) -> None:
        self._proposer = proposer
        self._stop = stop
        self._told: list[TrialRecord] = []
        self._asked = 0  # trials told when it was last asked

    def begin(self, goal: Goal, seed: int) -> None:
        self._told.clear()
        self._asked = 0
        self._proposer.begin(goal, seed)

    def propose(self, number: int) -> Mapping[str, Any]:
        self._end_where_wanted()
        return self._proposer.propose(number)

    def adopt(self, number: int, params: Mapping[str, Any]) -> Mapping[str, Any]:
        self._end_where_wanted()
        return self._proposer.adopt(number, params)

    def tell(self, record: TrialRecord) -> None:
        self._told.append(record)
        self._proposer.tell(record)

    def learn(self, trials: Sequence[EarlierTrial]) -> None:
        self._proposer.learn(trials)

    def remember(self) -> Memory:
        return self._proposer.remember()

    def recall(self, memory: Memory, records: Sequence[TrialRecord], told: int) -> None:
        self._told.extend(records[:told])
        self._proposer.recall(memory, records, told)

    def describe(self) -> Any:
        return self._proposer.describe()

    def _end_where_wanted(self) -> None:
        if len(self._told) > self._asked:
            self._asked = len(self._told)
            if self._stop(*tables(self._told)):
                raise EndSearch(f"stop() is true after {self._asked} trials")
