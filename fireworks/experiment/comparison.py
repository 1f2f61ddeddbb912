"""Experiments side by side, as DataFrames."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, final

from fireworks.experiment.experiment import Experiment
from fireworks.experiment.opening import load_experiment
from fireworks.record.comparison import MISSING, Compared, compare_runs, differences

if TYPE_CHECKING:
    import pandas


@final
@dataclass(frozen=True)
class Comparison:
    """Several experiments side by side; a sweep is represented by its best trial.

    Each part is a DataFrame that is computed when it is first asked for.
    """

    compared: list[Compared]

    @cached_property
    def runs(self) -> pandas.DataFrame:
        """One row for each: experiment, trial (the best one; -1 for none), status, path, times."""
        import pandas

        return pandas.DataFrame(
            [
                {
                    "experiment": each.label,
                    "trial": -1 if each.trial is None else each.trial,
                    "status": each.index.status,
                    "path": str(each.path),
                    "created": each.index.created,
                    "ended": each.index.ended,
                }
                for each in self.compared
            ]
        )

    @cached_property
    def params(self) -> pandas.DataFrame:
        """The parameters that differ: one row for each, one column for each experiment.

        Where an experiment does not have a parameter, there is NaN.
        """
        return self._table(differences([each.params for each in self.compared]), "param")

    @cached_property
    def metrics(self) -> pandas.DataFrame:
        """One row for each experiment and metric.

        Columns: experiment, trial, name, last, last_step, best, best_step, mean, direction
        ("maximize" or "minimize": by the sweep's objective, else lower for losses and errors).
        """
        import pandas

        columns = ["experiment", "trial", "name", "last", "last_step", "best", "best_step", "mean"]
        rows = [
            (
                each.label,
                -1 if each.trial is None else each.trial,
                metric.name,
                metric.last,
                metric.last_step,
                metric.best,
                metric.best_step,
                metric.mean,
                "minimize" if metric.lower_is_better else "maximize",
            )
            for each in self.compared
            for metric in each.metrics.values()
        ]
        frame = pandas.DataFrame(rows, columns=[*columns, "direction"])
        return frame.astype({"last": "float64", "best": "float64", "mean": "float64"})

    @cached_property
    def curves(self) -> pandas.DataFrame:
        """All values on one axis: the columns name, step, then one for each experiment."""
        import pandas

        parts: list[pandas.DataFrame] = []
        for each in self.compared:
            if not each.metrics:
                continue
            frame = load_experiment(each.path).metrics(
                trials=-1 if each.trial is None else each.trial
            )
            parts.append(frame.drop(columns=["trial", "time"]).assign(experiment=each.label))
        if not parts:
            return pandas.DataFrame(
                columns=["name", "step", *(each.label for each in self.compared)]
            )
        table = pandas.concat(parts).pivot(
            index=["name", "step"], columns="experiment", values="value"
        )
        table = table.reindex(columns=[each.label for each in self.compared])
        table.columns.name = None
        return table.reset_index()

    @cached_property
    def environment(self) -> pandas.DataFrame:
        """What differs of host, Python, git, packages, command and environment variables."""
        values = [
            each.environment
            | {f"environment.{name}": value for name, value in each.variables.items()}
            for each in self.compared
        ]
        return self._table(differences(values), "key")

    @cached_property
    def code(self) -> pandas.DataFrame:
        """The code of each experiment: experiment, commit, branch, dirty, diff.

        ``diff`` is what the working folder differed by from the commit, as ``git diff`` shows it;
        None where there was no repository.
        """
        import pandas

        parts = ("commit", "branch", "dirty", "diff")
        rows = [(each.label, *(each.git.get(part) for part in parts)) for each in self.compared]
        return pandas.DataFrame(rows, columns=["experiment", *parts])

    @cached_property
    def frame(self) -> pandas.DataFrame:
        """Parameters that differ and metrics as one tidy frame.

        Columns: experiment, trial, kind ("param", "last", "best" or "mean"), name, value.
        """
        import pandas

        rows: list[tuple[str, int, str, str, Any]] = []
        different = differences([each.params for each in self.compared])
        for i, each in enumerate(self.compared):
            trial = -1 if each.trial is None else each.trial
            for name, values in different.items():
                value = None if values[i] is MISSING else values[i]
                rows.append((each.label, trial, "param", name, value))
            for kind in ("last", "best", "mean"):
                for metric in each.metrics.values():
                    rows.append((each.label, trial, kind, metric.name, getattr(metric, kind)))
        return pandas.DataFrame(rows, columns=["experiment", "trial", "kind", "name", "value"])

    def _table(self, rows: dict[str, list[Any]], index: str) -> pandas.DataFrame:
        import pandas

        values = {
            key: [float("nan") if each is MISSING else each for each in row]
            for key, row in rows.items()
        }
        frame = pandas.DataFrame.from_dict(
            values, orient="index", columns=[each.label for each in self.compared], dtype=object
        )
        frame.index.name = index
        return frame

    def __repr__(self) -> str:
        return (
            f"<Comparison of {', '.join(each.label for each in self.compared)}: "
            f"{len(differences([each.params for each in self.compared]))} parameters differ; "
            "see .params, .metrics, .curves, .environment, .code, .frame>"
        )


def compare(experiments: Iterable[Experiment | str | os.PathLike[str]]) -> Comparison:
    """Compare experiments, given as such or as paths.

    Raises:
        WrongValue: Fewer than two.
        ExperimentNotFound: There is no experiment at one of the paths.
    """
    paths: list[str | os.PathLike[str]] = []
    for each in experiments:
        if isinstance(each, Experiment):
            each.flush()
            paths.append(each.path)
        else:
            paths.append(each)
    return Comparison(compare_runs(paths))
