"""What curves show, as numbers."""

import numpy as np
import pandas as pd
import pytest

from fireworks.errors import FireworksError, WrongValue
from fireworks.plot import compute, draw
from fireworks.plot.curves import smoothed


def metrics(**curves: list[float]) -> pd.DataFrame:
    return pd.concat(
        [
            pd.DataFrame(
                {
                    "experiment": name.split("_")[0],
                    "trial": int(name.split("_")[1]),
                    "name": name.split("_")[2],
                    "step": range(len(values)),
                    "value": values,
                    "time": [1000.0 + 10 * i for i in range(len(values))],
                }
            )
            for name, values in curves.items()
        ],
        ignore_index=True,
    )


def test_smoothing_is_a_weighted_mean_of_what_came_before() -> None:
    values = np.array([1.0, 3.0, np.nan, 2.0])
    weights = np.array([0.25, 0.5, 1.0])
    known = values[[0, 1, 3]]
    expected = [
        (known[: i + 1] * weights[2 - i :]).sum() / weights[2 - i :].sum() for i in range(3)
    ]
    assert np.allclose(smoothed(values, 0.5)[[0, 1, 3]], expected)
    assert np.isnan(smoothed(values, 0.5)[2])
    assert np.array_equal(smoothed(values, 0.0), values, equal_nan=True)
    constant = smoothed(np.full(50, 7.0), 0.99)
    assert np.allclose(constant, 7.0)


@pytest.mark.parametrize("bad", [1.0, -0.1, 2, float("nan"), "x", None, True])
def test_what_smooth_may_not_be(bad: object) -> None:
    with pytest.raises(FireworksError, match="smooth must be"):
        compute("curves", metrics(**{"a_-1_loss": [1.0]}), smooth=bad)


def test_labels_tell_apart_what_differs() -> None:
    one = compute("curves", metrics(**{"a_-1_loss": [1.0], "a_-1_acc": [2.0]}))
    assert one["curve"].tolist() == ["acc", "loss"]
    two = compute("curves", metrics(**{"a_-1_loss": [1.0], "b_-1_loss": [2.0]}))
    assert two["curve"].tolist() == ["a", "b"]
    trials = compute("curves", metrics(**{"a_0_loss": [1.0], "a_1_loss": [2.0]}))
    assert trials["curve"].tolist() == ["trial 0", "trial 1"]
    alone = compute("curves", metrics(**{"a_3_loss": [1.0]}))
    assert alone["curve"].tolist() == ["loss"]


def test_the_axes() -> None:
    frame = metrics(**{"a_-1_loss": [1.0, 2.0, 3.0]})
    assert compute("curves", frame)["x"].tolist() == [0, 1, 2]
    assert compute("curves", frame, x="time")["x"].tolist() == [1000, 1010, 1020]
    assert compute("curves", frame, x="relative")["x"].tolist() == [0, 10, 20]
    frame["time"] = [1020.0, 1000.0, 1010.0]  # step 0 was written again, last
    again = compute("curves", frame, x="relative")
    assert again["x"].tolist() == [0, 10, 20]
    assert again["y"].tolist() == [2.0, 3.0, 1.0]
    with pytest.raises(WrongValue, match="x must be one of"):
        compute("curves", frame, x="epoch")


@pytest.mark.parametrize("band", ["std", "sem", "minmax"])
def test_bands_over_seeds(band: str) -> None:
    values = np.array([[1.0, 2.0, 9.0], [3.0, 6.0, 5.0]])
    frame = metrics(
        **{"a_0_loss": values[0].tolist(), "a_1_loss": values[1].tolist(), "a_1_acc": [1.0]}
    )
    table = compute("curves", frame, band=band)
    loss = table[table["curve"] == "loss"]
    assert loss["y"].tolist() == values.mean(0).tolist()
    spread = values.std(0, ddof=1) / (np.sqrt(2) if band == "sem" else 1)
    low, high = values.mean(0) - spread, values.mean(0) + spread
    if band == "minmax":
        low, high = values.min(0), values.max(0)
    assert np.allclose(loss["low"], low)
    assert np.allclose(loss["high"], high)
    assert table[table["curve"] == "acc"][["low", "high"]].values.tolist() == [[1.0, 1.0]]
    figure = draw("curves", table)
    assert [each.name for each in figure.data if each.showlegend is None] == ["acc", "loss"]
    with pytest.raises(WrongValue, match="band must be"):
        compute("curves", frame, band="wide")


def test_every_keeps_the_last() -> None:
    frame = metrics(**{"a_-1_loss": list(map(float, range(10)))})
    assert compute("curves", frame, every=4)["y"].tolist() == [0.0, 4.0, 8.0, 9.0]


def test_nothing_to_show() -> None:
    table = compute("curves", metrics(**{"a_-1_loss": [1.0]}).iloc[:0])
    assert len(table) == 0
    assert len(draw("curves", table).data) == 0


def test_the_smoothed_curve_is_drawn_over_the_raw_one() -> None:
    frame = metrics(**{"a_-1_loss": [1.0, 2.0]})
    figure = draw("curves", compute("curves", frame, smooth=0.5), {"colors": ["#010203"]})
    assert figure.data[0].line.color == "rgba(1,2,3,0.25)"
    assert list(figure.data[0].y) == [1.0, 2.0]
    assert figure.data[1].y[1] == pytest.approx(5 / 3)
    single = draw("curves", compute("curves", metrics(**{"a_-1_loss": [1.0]})))
    assert single.data[0].mode == "markers"
