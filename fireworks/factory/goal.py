"""What a sweep is after: metrics to make large or small, and bounds that a result must keep to."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast, final

from fireworks.errors import WrongType, WrongValue

_CONSTRAINT = re.compile(r"\s*(?P<metric>[^<>=]+?)\s*(?P<sign><=|>=)\s*(?P<bound>[^<>=]+?)\s*")


@dataclass(frozen=True)
class Objective:
    """One metric that a sweep is after.

    Attributes:
        metric: Its name in what ``train`` returns.
        direction: Whether a good trial has much of it.
    """

    metric: str
    direction: Literal["maximize", "minimize"]

    def best_first(self, value: float) -> float:
        """A key that sorts the best value first."""
        return -value if self.direction == "maximize" else value


@dataclass(frozen=True)
class Constraint:
    """A bound on a metric: a result beyond it is never the best.

    Attributes:
        metric: Its name in what ``train`` returns.
        sign: Whether the bound is the most or the least.
        bound: The number.
    """

    metric: str
    sign: Literal["<=", ">="]
    bound: float

    def __str__(self) -> str:
        return f"{self.metric} {self.sign} {self.bound:g}"

    def excess(self, result: Mapping[str, float]) -> float:
        """How far a result is beyond the bound: 0 or less where it keeps to it."""
        over = result[self.metric] - self.bound
        return over if self.sign == "<=" else -over


@final
@dataclass(frozen=True)
class Goal:
    """What a sweep is after.

    Attributes:
        objectives: The metrics to make large or small, the most important first.
        constraints: What a result must keep to.
    """

    objectives: tuple[Objective, ...]
    constraints: tuple[Constraint, ...] = ()

    def __str__(self) -> str:
        sought = [f"{each.direction} {each.metric}" for each in self.objectives]
        return ", ".join([*sought, *(str(each) for each in self.constraints)])

    @property
    def metrics(self) -> list[str]:
        """What must be in a result."""
        return list(dict.fromkeys(each.metric for each in (*self.objectives, *self.constraints)))

    def values(self, result: Mapping[str, float]) -> tuple[float, ...]:
        """The objectives in a result."""
        return tuple(result[each.metric] for each in self.objectives)

    def feasible(self, result: Mapping[str, float]) -> bool:
        """Whether a result keeps to all constraints."""
        return all(each.excess(result) <= 0 for each in self.constraints)

    def best_first(self, values: Sequence[float]) -> tuple[float, ...]:
        """A key that sorts the best values first; the first objective decides before the next."""
        return tuple(
            each.best_first(value) for each, value in zip(self.objectives, values, strict=True)
        )

    def dominates(self, one: Sequence[float], other: Sequence[float]) -> bool:
        """Whether the one values are nowhere worse than the others and somewhere better."""
        pairs = list(zip(self.best_first(one), self.best_first(other), strict=True))
        return all(a <= b for a, b in pairs) and any(a < b for a, b in pairs)

    def described(self) -> dict[str, Any]:
        """It as JSON."""
        return {
            "objectives": [[each.metric, each.direction] for each in self.objectives],
            "constraints": [str(each) for each in self.constraints],
        }


def as_goal(maximize: object, minimize: object, constraints: object = ()) -> Goal:
    """The goal that a Factory's arguments mean.

    Args:
        maximize: The name of a metric, several names, or None.
        minimize: The same.
        constraints: Bounds such as ``"latency <= 20"``.

    Raises:
        WrongType: A name or bound is no string.
        WrongValue: There is no objective, a metric is named twice, or a bound makes no sense.
    """
    objectives = [Objective(name, "maximize") for name in _names("maximize", maximize)]
    objectives += [Objective(name, "minimize") for name in _names("minimize", minimize)]
    if not objectives:
        raise WrongValue(
            "a sweep needs an objective: maximize= or minimize=, with the name of a metric that "
            f"train returns, or several; got maximize={maximize!r}, minimize={minimize!r}"
        )
    named: set[str] = set()
    for each in objectives:
        if each.metric in named:
            raise WrongValue(
                f"the objectives name {each.metric!r} twice, in maximize={maximize!r} and "
                f"minimize={minimize!r}; a metric is either made large or made small"
            )
        named.add(each.metric)
    bounds = [constraints] if isinstance(constraints, str) else constraints
    if not isinstance(bounds, Sequence):
        raise WrongType(f'constraints must be a list such as ["latency <= 20"], not {bounds!r}')
    return Goal(tuple(objectives), tuple(_constraint(each) for each in bounds))


def _names(argument: str, given: object) -> list[str]:
    if given is None:
        return []
    names = [given] if isinstance(given, str) else given
    if not isinstance(names, Sequence):
        raise WrongType(f"{argument} must be the name of a metric or a list of them, not {given!r}")
    for name in cast("Sequence[object]", names):
        if not isinstance(name, str) or not name:
            raise WrongType(f"{argument} must name metrics; {name!r} is no name")
    return list(names)


def _constraint(given: object) -> Constraint:
    if not isinstance(given, str):
        raise WrongType(f'a constraint must be a string such as "latency <= 20", not {given!r}')
    match = _CONSTRAINT.fullmatch(given)
    try:
        bound = float(match["bound"]) if match else math.nan
    except ValueError:
        bound = math.nan
    if match is None or not math.isfinite(bound):
        raise WrongValue(
            f'the constraint {given!r} must be a metric, <= or >=, and a number: "latency <= 20"'
        )
    return Constraint(match["metric"], "<=" if match["sign"] == "<=" else ">=", bound)
