"""Runs side by side: which parameters differ, and how their metrics and environments compare."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, final

from fireworks.errors import WrongValue
from fireworks.record.index import Index, read_index
from fireworks.record.layout import experiment_folder
from fireworks.record.location import store_of
from fireworks.record.metadata import read_metadata
from fireworks.record.overview import MetricSummary, best_of, read_trials, summarise
from fireworks.record.ranking import read_params
from fireworks.record.schema import NO_TRIAL

_ENVIRONMENT = ("command", "folder", "host", "python", "platform", "cpu", "gpu", "git", "packages")


@final
class Missing:
    """What stands where a run does not have a parameter at all (None is a value)."""

    def __repr__(self) -> str:
        return "—"


MISSING: Final = Missing()


@final
@dataclass(frozen=True)
class Compared:
    """One of the runs: what stands for it in a comparison.

    For a sweep that is its best trial: its parameters are added to those of the run, and its
    metrics and result are taken.
    """

    label: str
    path: Path
    index: Index
    trial: int | None
    params: dict[str, Any]
    metrics: dict[str, MetricSummary]
    result: dict[str, Any]
    environment: dict[str, Any]
    variables: dict[str, str]
    git: dict[str, Any]


def compare_runs(paths: Iterable[str | os.PathLike[str]]) -> list[Compared]:
    """Read the runs to be compared; of a sweep, its best trial.

    Raises:
        WrongValue: Fewer than two.
        ExperimentNotFound: There is no experiment at one of the paths.
        DamagedFile: One is damaged, or was written by a newer release.
    """
    folders = [experiment_folder(each) for each in paths]
    if len(folders) < 2:
        raise WrongValue(f"A comparison needs at least two experiments; got {len(folders)}.")
    return [_read(folder, label) for folder, label in zip(folders, labels(folders), strict=True)]


def labels(folders: Sequence[Path]) -> list[str]:
    """Names of the folders that tell them apart: as short as possible, numbered if equal."""
    names = [folder.name for folder in folders]
    if len(set(names)) < len(names):
        names = [os.path.join(folder.parent.name, folder.name) for folder in folders]
    if len(set(names)) < len(names):
        names = [str(folder) for folder in folders]
    seen: dict[str, int] = {}
    for i, name in enumerate(names):
        seen[name] = seen.get(name, 0) + 1
        if seen[name] > 1:
            names[i] = f"{name} ({seen[name]})"
    return names


def _read(folder: Path, label: str) -> Compared:
    index = read_index(folder)
    with store_of(folder, index.store).reading() as connection:
        metadata = read_metadata(connection)
        params = read_params(connection, NO_TRIAL)
        trial = best_of(read_trials(connection, index.objective), index.objective)
        if trial is not None:
            params |= trial.params
        summaries = summarise(
            connection, NO_TRIAL if trial is None else trial.number, index.objective, mean=True
        )
    environment: dict[str, Any] = {}
    for key in _ENVIRONMENT:
        if key in metadata:
            _flatten(environment, key, metadata[key])
    git = metadata.get("git")
    if not isinstance(git, dict):  # no repository, or a folder that somebody else prepared
        git = {}
    if diff := environment.pop("git.diff", ""):  # long: a fingerprint tells whether they differ
        environment["git.diff"] = hashlib.sha256(str(diff).encode()).hexdigest()[:12]
    return Compared(
        label=label,
        path=folder,
        index=index,
        trial=None if trial is None else trial.number,
        params=params,
        metrics={each.name: each for each in summaries},
        result={} if trial is None else trial.result,
        environment=environment,
        variables=metadata.get("environment", {}),
        git=git,
    )


def _flatten(into: dict[str, Any], key: str, value: Any) -> None:
    if isinstance(value, dict):
        for name, each in value.items():
            _flatten(into, f"{key}.{name}", each)
    else:
        into[key] = " ".join(value) if key == "command" else value


def differences(values: Sequence[dict[str, Any]]) -> dict[str, list[Any]]:
    """The keys whose values are not the same everywhere, sorted, with the value of each.

    ``MISSING`` stands where a key is not there. NaN equals NaN; 1, 1.0 and True differ.
    """
    keys = sorted({key for each in values for key in each})
    rows = {key: [each.get(key, MISSING) for each in values] for key in keys}
    return {key: row for key, row in rows.items() if len({repr(each) for each in row}) > 1}
