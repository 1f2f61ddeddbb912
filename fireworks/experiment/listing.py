"""Finding experiments, by what their small index files say."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Container, Iterable, Mapping
from typing import Any

from fireworks.errors import DamagedFile, ExperimentNotFound
from fireworks.experiment.experiment import Experiment
from fireworks.record.filters import check_statuses, condition, mentions
from fireworks.record.index import Index, read_indexes


def experiments(
    root: str | os.PathLike[str] = "runs",
    *,
    name: str | None = None,
    status: str | Iterable[str] | None = None,
    tags: str | Iterable[str] = (),
    params: Mapping[str, Any] | None = None,
    where: str | None = None,
    search: str | None = None,
) -> list[Experiment]:
    """List the experiments under ``root``, opened for reading, in the order of their names.

    No database is opened until one of them is asked for more than its index holds.

    Args:
        root: The folder of all runs.
        name: Only runs of this name.
        status: Only runs of this status, or of one of several.
        tags: Only runs with this tag, or with all of several.
        params: Only runs whose parameters have these values; a value may be a function that is
            given the parameter: ``{"lr": lambda lr: lr < 0.1}``.
        where: Only runs that fulfil this expression: ``"params.lr < 0.1 and number > 3"``. It
            knows name, number, id, status, description, tags, created, ended, params, metrics,
            trials and best.
        search: Only runs with all of these words in their name, description, tags or the names of
            their parameters.

    Returns:
        The experiments. One that is damaged is left out, with a warning.

    Raises:
        ExperimentNotFound: There is no folder ``root``.
        WrongValue: ``where`` cannot be read, or no run can have the status.
    """
    if not os.path.isdir(root):
        raise ExperimentNotFound(f"There is no folder {str(root)!r} with experiments in it.")
    holds = condition(where) if where is not None else None
    statuses = None
    if status is not None:
        statuses = check_statuses([status] if isinstance(status, str) else status)
    found: list[Experiment] = []
    for path, index in read_indexes(root):
        if isinstance(index, DamagedFile):
            warnings.warn(f"{path.name} is left out: {index}", stacklevel=2)
        elif (
            _fits(index, name, statuses, tags, params)
            and (holds is None or holds(index))
            and (search is None or mentions(index, search))
        ):
            found.append(Experiment.opened(path, index, writing=False))
    return found


def _fits(
    index: Index,
    name: str | None,
    statuses: Container[str] | None,
    tags: str | Iterable[str],
    params: Mapping[str, Any] | None,
) -> bool:
    wanted = {tags} if isinstance(tags, str) else set(tags)
    return (
        (name is None or index.name == name)
        and (statuses is None or index.status in statuses)
        and wanted <= set(index.tags)
        and all(
            key in index.parameters and _agrees(index.parameters[key], value)
            for key, value in (params or {}).items()
        )
    )


def _agrees(value: Any, wanted: Any | Callable[[Any], bool]) -> bool:
    return bool(wanted(value)) if callable(wanted) else value == wanted
