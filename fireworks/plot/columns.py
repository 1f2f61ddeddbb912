"""Columns of a frame that a figure needs, looked up with a useful message."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from fireworks.errors import ColumnNotFound, WrongType, WrongValue, suggest

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


Frame = Any
"""A pandas.DataFrame. Its types promise less than its methods give, so that strict checking would
only complain; tests check what is computed."""


def stacked(frames: list[Frame]) -> Frame:
    """Frames below one another, numbered anew."""
    import pandas

    return pandas.concat(frames, ignore_index=True)


def column(frame: Frame, name: str) -> Any:
    """A column by its name, or by that of a trial's parameter or result without its prefix.

    Raises:
        ColumnNotFound: There is none; the nearest name is offered.
    """
    for each in (name, f"params.{name}", f"result.{name}"):
        if each in frame.columns:
            return frame[each]
    known = [str(each) for each in frame.columns]
    short = [each.split(".", 1)[1] if each.startswith(("params.", "result.")) else each
             for each in known]  # fmt: skip
    raise ColumnNotFound(f"There is no column {name!r} to draw.{suggest(name, short)}")


def numbers(frame: Frame, name: str) -> NDArray[np.float64]:
    """A column of numbers; NaN where there is none.

    Raises:
        ColumnNotFound: There is no such column.
        WrongType: It holds something else.
    """
    import pandas

    values = column(frame, name)
    try:
        numeric: Any = cast("Any", pandas).to_numeric(values)
        return numeric.to_numpy("float64", na_value=float("nan"))
    except (TypeError, ValueError):
        raise WrongType(
            f"The column {name!r} must hold numbers to be drawn; it holds {values.dtype}, such as "
            f"{values.iloc[0]!r:.40}."
        ) from None


def coded(frame: Frame, name: str) -> tuple[NDArray[np.float64], list[str] | None]:
    """A column as numbers, and what they stand for where it holds something else.

    Categories are numbered in the order of their text.
    """
    try:
        values = column(frame, name)
        if values.dtype.kind != "b":
            return numbers(frame, name), None
    except WrongType:
        pass
    import numpy

    values = column(frame, name)
    texts = [
        "" if missing else str(each) for each, missing in zip(values, values.isna(), strict=True)
    ]
    known = sorted(set(texts) - {""})
    code = {text: float(i) for i, text in enumerate(known)}
    return numpy.array([code.get(each, float("nan")) for each in texts]), known


def params_of(frame: Frame) -> list[str]:
    """The names of the parameters in a frame of trials that have more than one value."""
    return [
        str(name).removeprefix("params.")
        for name in frame.columns
        if str(name).startswith("params.") and frame[name].astype(str).nunique() > 1
    ]


def is_logarithmic(frame: Frame, name: str) -> bool:
    """Whether a parameter is best seen on a logarithmic axis: above 0, and over decades."""
    if f"params.{name.removeprefix('params.')}" not in frame.columns:
        return False
    values, texts = coded(frame, name)
    values = values[values == values]
    return texts is None and len(values) > 0 and 0 < values.min() <= values.max() / 100


def finished(frame: Frame) -> Frame:
    """The trials that completed, where the frame tells; in the order of their numbers."""
    if "state" in frame.columns:
        frame = frame[frame["state"] == "completed"]
    return frame.reset_index(drop=True)


def direction(value: Any) -> bool:
    """Whether less is better.

    Raises:
        WrongValue: It is neither "minimize" nor "maximize".
    """
    if value not in ("minimize", "maximize"):
        raise WrongValue(f"A direction is 'minimize' or 'maximize'; got {value!r}.")
    return value == "minimize"
