"""``fireworks.toml``: a sweep as a file.

[sweep]
source = "digits.py"        # defines train(trial), and space(trial) unless there is [space]
trials = 50
maximize = "accuracy"
workers = 2                 # and further arguments of Factory, by their names

[space]
lr = { low = 1e-4, high = 1e-1, log = true }
hidden = { low = 16, high = 256 }
optimizer = ["sgd", "adam"]

[halving]
max_epochs = 9
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from fireworks.errors import FilesNotFound, WrongType, WrongValue, suggest
from fireworks.factory.halving import Halving
from fireworks.optional import require

FILE = "fireworks.toml"

_METRICS = (str, list)
_KINDS: dict[str, tuple[type, ...]] = {
    **dict.fromkeys(("source", "name", "root", "sampler", "pruner", "isolation"), (str,)),
    **dict.fromkeys(("maximize", "minimize", "constraints"), _METRICS),
    **dict.fromkeys(
        ("trials", "workers", "seed", "retries", "ordered", "cpus_per_trial", "memory_limit"),
        (int,),
    ),
    **dict.fromkeys(
        ("gpus_per_trial", "time_limit", "sweep_time_limit", "progress_limit", "grace"),
        (int, float),
    ),
}
_OWN = ("source", "trials", "name", "root")  # the others are arguments of Factory
_RANGE: dict[str, tuple[type, ...]] = {
    **dict.fromkeys(("low", "high", "step"), (int, float)),
    "log": (bool,),
}
_HALVING: dict[str, tuple[type, ...]] = dict.fromkeys(
    ("min_epochs", "max_epochs", "factor"), (int,)
)
_NAMES = {str: "a string", int: "a whole number", float: "a number", bool: "true or false"}


@dataclass(frozen=True)
class SweepConfig:
    """What a file says of a sweep.

    Attributes:
        text: The file, as it is.
        source: The Python file or module with ``train``, relative to the file; None: not said.
        trials: How many; None: not said.
        name: Of the experiment.
        root: Where its folder is created.
        options: Arguments of Factory by name.
        space: Optuna's distributions by parameter; None: the source defines the space.
    """

    text: str = ""
    source: str | None = None
    trials: int | None = None
    name: str | None = None
    root: str | None = None
    options: dict[str, Any] = field(default_factory=dict[str, Any])
    space: dict[str, Any] | None = None


def read_config(path: Path) -> SweepConfig:
    """Read and check such a file.

    Raises:
        FilesNotFound: There is no such file.
        WrongValue: It is no TOML, or has a table, key or value that makes no sense; named.
        WrongType: A value is of another kind; named.
        MissingDependency: It has a ``[space]``, and Optuna is not installed.
    """
    try:
        text = path.read_text()
        content = tomllib.loads(text)
    except FileNotFoundError:
        raise FilesNotFound(f"there is no file {str(path)!r}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise WrongValue(f"{str(path)!r} is no TOML: {error}") from None
    tables = {"sweep": _KINDS, "space": None, "halving": _HALVING}
    for name, table in content.items():
        if name not in tables:
            raise WrongValue(
                f"{path}: there is no [{name}]; there are {_listed(tables)}.{suggest(name, tables)}"
            )
        if not isinstance(table, dict):
            raise WrongType(f"{path}: {name} must be a table: [{name}]")
        if (kinds := tables[name]) is not None:
            _check(f"{path}: [{name}]", cast("dict[str, Any]", table), kinds)
    sweep: dict[str, Any] = content.get("sweep", {})
    options = {name: value for name, value in sweep.items() if name not in _OWN}
    if "halving" in content:
        options["scheduler"] = Halving(**content["halving"])
    space: dict[str, Any] | None = content.get("space")
    return SweepConfig(
        text,
        options=options,
        space=None
        if space is None
        else {name: _distribution(f"{path}: [space] {name}", each) for name, each in space.items()},
        **{name: sweep[name] for name in _OWN if name in sweep},
    )


def _check(where: str, table: Mapping[str, Any], kinds: Mapping[str, tuple[type, ...]]) -> None:
    for name, value in table.items():
        if name not in kinds:
            raise WrongValue(
                f"{where} has no key {name!r}; there are {_listed(kinds)}.{suggest(name, kinds)}"
            )
        wanted = kinds[name]
        if (isinstance(value, bool) and bool not in wanted) or not isinstance(value, wanted):
            said = "a string or a list of strings" if wanted == _METRICS else _NAMES[wanted[-1]]
            raise WrongType(f"{where}: {name} must be {said}, not {value!r}")


def _distribution(where: str, described: object) -> Any:
    distributions = require(
        "optuna.distributions", extra="factory", purpose="[space] in a configuration"
    )
    if isinstance(described, list):
        if not described:
            raise WrongValue(f"{where} has no choices")
        return distributions.CategoricalDistribution(described)
    if not isinstance(described, dict):
        raise WrongType(
            f"{where} must be a list of choices, or a range such as "
            f"{{ low = 1e-4, high = 0.1, log = true }}, not {described!r}"
        )
    limits = cast("dict[str, Any]", described)
    _check(where, limits, _RANGE)
    missing = [name for name in ("low", "high") if name not in limits]
    if missing:
        raise WrongValue(f"{where} has no {missing[0]!r}: a range needs low and high")
    whole = all(isinstance(limits.get(name, 1), int) for name in ("low", "high", "step"))
    kind = distributions.IntDistribution if whole else distributions.FloatDistribution
    try:
        return kind(**limits)
    except ValueError as error:
        raise WrongValue(f"{where}: {error}") from None


def _listed(names: Mapping[str, object]) -> str:
    return ", ".join(names)
