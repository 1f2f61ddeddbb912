"""The record as DataFrames, and tables as columns to be logged."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from fireworks.errors import TableNotFound, WrongType, WrongValue, suggest
from fireworks.experiment.scalar import scalar
from fireworks.experiment.steps import Steps
from fireworks.experiment.writer import Entry
from fireworks.record.json_values import decode
from fireworks.record.schema import NO_TRIAL, quoted
from fireworks.record.store import Connection, Cursor

if TYPE_CHECKING:
    import pandas
    from numpy.typing import NDArray

_TRIAL_COLUMNS = (
    "trial", "state", "attempt", "seed", "started", "ended", "reason",
    "exit_code", "signal", "host", "pid", "peak_memory",
)  # fmt: skip
_KINDS = ("int64", "float64", "float64")  # of steps, values, times
_SEVERAL = 64  # series that are read one by one; of more, all are read at once
_BLOCK = 256  # rows: what lies in the cache of a core
_INTEGERS = ("exit_code", "signal", "pid", "peak_memory")


def columns_of(table: Any) -> dict[str, list[Any]]:
    """The columns of a DataFrame, a Message or a mapping, as lists of one length.

    Raises:
        WrongType: It is no table.
        WrongValue: It has no column ``step``, or the lengths differ.
    """
    if not hasattr(table, "columns") and not isinstance(table, Mapping):
        raise WrongType(
            f"log_many() takes a DataFrame, a Message or a mapping of columns; "
            f"got {type(table).__name__}."
        )
    columns: dict[str, list[Any]] = {}
    for name in getattr(table, "columns", table):
        column = table[name]
        columns[name] = list(column.tolist() if hasattr(column, "tolist") else column)
    if "step" not in columns:
        raise WrongValue(f"log_many() needs a column 'step'.{suggest('step', columns)}")
    if any(each is None for each in columns["step"]):
        raise WrongType("A step must be an integer; got None in the column 'step'.")
    lengths = {name: len(column) for name, column in columns.items()}
    if len(set(lengths.values())) > 1:
        raise WrongValue(f"The columns differ in length: {lengths}.")
    return columns


def calls_of(table: Any, steps: Steps) -> list[Entry]:
    """The rows of a table as calls of ``log``, their steps and values checked."""
    columns = columns_of(table)
    checked = [steps.checked(each) for each in columns.pop("step")]
    named = [(name, [scalar(name, each) for each in column]) for name, column in columns.items()]
    now = time.time()
    return [
        (step, {name: column[i] for name, column in named}, now) for i, step in enumerate(checked)
    ]


def metrics_frame(
    connection: Connection,
    names: str | Iterable[str] | None,
    trials: int | Iterable[int] | None,
    *,
    wide: bool,
) -> pandas.DataFrame:
    """Read metrics; see ``Experiment.metrics``."""
    import numpy
    import pandas

    known = connection.execute("SELECT id, trial, name FROM series ORDER BY trial, name").fetchall()
    there = {trial for (trial,) in connection.execute("SELECT number FROM trials")} | {NO_TRIAL}
    wanted_names = _wanted(names, {name for _, _, name in known}, "metric")
    wanted_trials = _wanted(trials, there, "trial")
    chosen = [
        each
        for each in known
        if (wanted_trials is None or each[1] in wanted_trials)
        and (wanted_names is None or each[2] in wanted_names)
    ]
    series_of, steps, values, times = _values_of(connection, [each[0] for each in chosen])
    frame = pandas.DataFrame(
        {
            "trial": numpy.array([each[1] for each in chosen], "int64")[series_of],
            "name": pandas.array([each[2] for each in chosen], dtype="str").take(series_of),
            "step": steps,
            "value": values,
            "time": times,
        }
    )
    return _widened(frame, [each[2] for each in chosen]) if wide else frame


def _values_of(connection: Connection, chosen: list[int]) -> list[NDArray[Any]]:
    """The values of some series: the series' place in ``chosen``, steps, values and times."""
    import numpy

    if len(chosen) <= _SEVERAL:
        query = "SELECT step, value, time FROM metrics WHERE series = ? ORDER BY step"
        parts = [_columns(connection.execute(query, (each,)), _KINDS) for each in chosen]
        series_of = numpy.repeat(numpy.arange(len(chosen)), [len(each[0]) for each in parts])
        return [
            series_of,
            *(
                numpy.concatenate([each[i] for each in parts] or [numpy.empty(0, kind)])
                for i, kind in enumerate(_KINDS)
            ),
        ]
    cursor = connection.execute(
        "SELECT series, step, value, time FROM metrics ORDER BY series, step"
    )
    series, *values = _columns(cursor, ("int64", *_KINDS))
    place = numpy.full(max(*chosen, series.max(initial=0)) + 1, -1)
    place[chosen] = numpy.arange(len(chosen))
    series_of = place[series]
    order = numpy.argsort(series_of, kind="stable")[numpy.count_nonzero(series_of < 0) :]
    return [series_of[order], *(each[order] for each in values)]


def _columns(cursor: Cursor, kinds: Sequence[str]) -> list[NDArray[Any]]:
    """The columns of a query as arrays of these kinds; None becomes NaN, where there is one."""
    import numpy

    parts: list[list[NDArray[Any]]] = [[numpy.empty(0, kind)] for kind in kinds]
    # In blocks: a million tuples at once would keep the garbage collector busy.
    while rows := cursor.fetchmany(_BLOCK):
        for part, kind, column in zip(parts, kinds, zip(*rows, strict=True), strict=True):
            part.append(numpy.array(column, kind))
    return [numpy.concatenate(part) for part in parts]


def _widened(frame: pandas.DataFrame, names: list[str]) -> pandas.DataFrame:
    table = frame.pivot(index=["trial", "step"], columns="name", values="value")
    table = table.reindex(columns=list(dict.fromkeys(names)))
    table.columns.name = None
    return table.reset_index()


def _wanted(asked: Any, known: set[Any], what: str) -> set[Any] | None:
    """What was asked for as a set, None for all, after checking that it is there."""
    if asked is None:
        return None
    one = isinstance(asked, str) or not isinstance(asked, Iterable)
    chosen: set[Any] = {asked} if one else set(asked)
    for each in chosen:
        if each not in known:
            hint = suggest(each, sorted(known)) if known else " Nothing was logged yet."
            raise WrongValue(f"There is no {what} {each!r}.{hint}")
    return chosen


def trials_frame(connection: Connection) -> pandas.DataFrame:
    """Read the trials; see ``Experiment.trials``."""
    import pandas

    rows = connection.execute(
        "SELECT trials.number, trials.state, trials.attempt, trials.seed, trials.started, "
        "trials.ended, attempts.reason, attempts.exit_code, attempts.signal, attempts.host, "
        "attempts.pid, attempts.peak_memory, trials.result FROM trials LEFT JOIN attempts "
        "ON attempts.trial = trials.number AND attempts.number = trials.attempt "
        "ORDER BY trials.number"
    ).fetchall()
    params: dict[int, dict[str, Any]] = {}
    for trial, name, text in connection.execute("SELECT trial, name, value FROM params"):
        params.setdefault(trial, {})[f"params.{name}"] = decode(text)
    records: list[dict[str, Any]] = []
    for row in rows:
        result = decode(row[-1]) if row[-1] else {}
        records.append(
            dict(zip(_TRIAL_COLUMNS, row, strict=False))
            | params.get(row[0], {})
            | {f"result.{name}": value for name, value in result.items()}
        )
    names = list(dict.fromkeys(name for each in records for name in each))
    first = [*_TRIAL_COLUMNS]
    first += sorted(name for name in names if name.startswith("params.") and name not in first)
    rest = [name for name in names if name not in first]
    frame = pandas.DataFrame(records, columns=[*first, *rest])
    # Nullable: an exit code that is not there must not make 3.0 of the others.
    return frame.astype(dict.fromkeys(_INTEGERS, "Int64"))


def overview_frame(connection: Connection, names: str | Iterable[str] | None) -> pandas.DataFrame:
    """Read the last values; see ``Experiment.overview``."""
    import numpy
    import pandas

    cursor = connection.execute(
        "SELECT trial, name, value FROM latest JOIN series ON series.id = latest.series"
    )
    trials, names_of, values = _columns(cursor, ("int64", "object", "float64"))
    columns = sorted(set(names_of))
    code = {name: i for i, name in enumerate(columns)}
    numbers, at_row = numpy.unique(trials, return_inverse=True)
    table = numpy.full((len(numbers), len(columns)), numpy.nan)
    table[at_row, [code[name] for name in names_of]] = values
    frame: Any = pandas.DataFrame(table, columns=columns)
    wanted = _wanted(names, set(columns), "metric")
    if wanted is not None:
        frame = frame[[name for name in columns if name in wanted]]
    frame.insert(0, "trial", numbers)
    return frame


def table_frame(connection: Connection, name: str) -> pandas.DataFrame:
    """All rows of a table; whole numbers stay whole where some are missing."""
    import pandas

    kinds = connection.columns(name)
    cursor = connection.execute(f"SELECT {', '.join(map(quoted, kinds))} FROM {quoted(name)}")
    frame = pandas.DataFrame(cursor.fetchall(), columns=list(kinds))
    types = {
        column: "Int64" if kind == "INTEGER" else "float64" if kind == "REAL" else "str"
        for column, kind in kinds.items()
        if kind in ("INTEGER", "REAL", "TEXT")
    }
    frame = frame.astype(types)
    for column, kind in types.items():
        if kind == "Int64" and not bool(frame[column].isna().any()):
            frame[column] = frame[column].astype("int64")
    return frame


def media_rows(connection: Connection, trial: int, name: str) -> list[tuple[int, str, bytes]]:
    """The step, kind and bytes of what was logged under a name besides numbers.

    Raises:
        TableNotFound: Nothing was.
    """
    there = "media" in connection.tables()  # not in those of the first version
    rows: list[tuple[int, str, bytes]] = []
    if there:
        rows = connection.execute(
            "SELECT step, kind, data FROM media WHERE trial = ? AND name = ? ORDER BY step",
            (trial, name),
        ).fetchall()
    if not rows:
        known = [
            each
            for (each,) in (
                connection.execute("SELECT DISTINCT name FROM media WHERE trial = ?", (trial,))
                if there
                else ()
            )
        ]
        raise TableNotFound(
            f"No text, image, histogram or figure was logged as {name!r}.{suggest(name, known)}"
        )
    return rows
