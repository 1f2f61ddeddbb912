import math
import threading
import time
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fireworks.errors import ExperimentReadOnly, NotRecorded, WrongType, WrongValue
from fireworks.experiment import Experiment, load_experiment


def values(experiment: Experiment, name: str) -> dict[int, float]:
    frame = experiment.metrics(name)
    return dict(zip(frame["step"].tolist(), frame["value"].tolist(), strict=True))


def test_what_was_logged_is_read_back(experiment: Experiment) -> None:
    experiment.log({"train/loss": 0.5}, step=1, accuracy=0.25)
    experiment.log({"train/loss": 0.4}, step=2)
    frame = experiment.metrics()
    assert frame.columns.tolist() == ["trial", "name", "step", "value", "time"]
    assert frame[["trial", "name", "step", "value"]].values.tolist() == [
        [-1, "accuracy", 1, 0.25],
        [-1, "train/loss", 1, 0.5],
        [-1, "train/loss", 2, 0.4],
    ]
    assert abs(frame["time"].iloc[0] - time.time()) < 10


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1, 1.0),
        (True, 1.0),
        (Fraction(1, 4), 0.25),
        (np.float32(0.5), 0.5),
        (np.float64(0.1), 0.1),
        (np.int64(-3), -3.0),
        (np.uint8(200), 200.0),
        (np.bool_(True), 1.0),
        (np.array(0.5), 0.5),
        (torch.tensor(0.5), 0.5),
        (torch.tensor(3), 3.0),
        (torch.tensor(True), 1.0),
        (torch.tensor(0.5, requires_grad=True) * 2, 1.0),
        (torch.tensor(0.5, dtype=torch.bfloat16), 0.5),
        (math.inf, math.inf),
        (-math.inf, -math.inf),
        (-0.0, -0.0),
        (5e-324, 5e-324),
        (1.7976931348623157e308, 1.7976931348623157e308),
        (0.1 + 0.2, 0.1 + 0.2),
    ],
)
def test_scalars_of_every_kind(experiment: Experiment, value: Any, expected: float) -> None:
    experiment.log({"x": value}, step=0)
    assert values(experiment, "x") == {0: expected}


def test_nan_is_kept_as_null(experiment: Experiment) -> None:
    experiment.log(x=math.nan, y=torch.tensor(math.nan), z=np.float32("nan"), step=0)
    assert experiment.metrics()["value"].isna().tolist() == [True] * 3
    assert experiment.sql("SELECT count(*) AS n FROM metrics WHERE value IS NULL")["n"][0] == 3  # pyright: ignore[reportGeneralTypeIssues]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (None, r"'x' must be one number; got None\. Leave the metric out"),
        ("0.5", "got the string '0.5'"),
        (np.zeros(3), r"ndarray of shape \(3,\)\. Reduce it first"),
        (torch.zeros(2, 2), r"Tensor of shape \(2, 2\)"),
        (torch.zeros(1), r"Tensor of shape \(1,\)"),
        (torch.tensor(1j), "got Tensor"),
        (1j, "got complex"),
        ([0.5], "got list"),
        (np.array("a"), "got ndarray"),
        (object(), "got object"),
    ],
)
def test_what_is_no_scalar_is_refused_as_a_whole(
    experiment: Experiment, value: Any, message: str
) -> None:
    with pytest.raises(WrongType, match=message):
        experiment.log({"before": 1.0, "x": value, "after": 1.0}, step=0)
    assert len(experiment.metrics()) == 0


@pytest.mark.parametrize("pause", [0, 0.5])
def test_a_tensor_that_its_device_does_not_give_hides_no_other(
    experiment: Experiment, pause: float
) -> None:
    unreadable = torch.zeros((), device="meta")
    experiment.log(before=1.0, x=unreadable, step=3)
    experiment.log(after=2.0, step=4)
    if pause:
        time.sleep(pause)  # the background thread meets it
    with pytest.raises(NotRecorded, match=r"'x' of step 3 could not be read from its device"):
        experiment.flush()
    assert values(experiment, "before") == {3: 1.0}
    assert values(experiment, "after") == {4: 2.0}
    experiment.flush()


def test_an_integer_beyond_floats_is_refused(experiment: Experiment) -> None:
    with pytest.raises(WrongValue, match="too large"):
        experiment.log(x=10**400)


@pytest.mark.parametrize("name", ["", " ", "a\0b", "\ud800"])
def test_names_that_are_none_are_refused(experiment: Experiment, name: str) -> None:
    with pytest.raises(WrongValue, match="metric's name"):
        experiment.log({name: 1.0})


def test_a_name_must_be_a_string(experiment: Experiment) -> None:
    with pytest.raises(WrongType, match="got int: 3"):
        experiment.log({3: 1.0})  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("mapping", [0.5, [("a", 1.0)], "a", torch.zeros(3)])
def test_what_is_no_mapping_is_refused(experiment: Experiment, mapping: Any) -> None:
    with pytest.raises(WrongType, match="takes a mapping of names to numbers"):
        experiment.log(mapping)


@pytest.mark.parametrize(
    ("step", "error"), [(0.5, WrongType), ("1", WrongType), (2**63, WrongValue)]
)
def test_steps_that_are_none_are_refused(
    experiment: Experiment, step: Any, error: type[Exception]
) -> None:
    with pytest.raises(error, match="A step must"):
        experiment.log(x=1.0, step=step)


def test_a_step_may_be_any_integer(experiment: Experiment) -> None:
    for step in (np.int32(4), torch.tensor(5), -1, 2**62):
        experiment.log(x=1.0, step=step)  # pyright: ignore[reportArgumentType]
    assert set(values(experiment, "x")) == {4, 5, -1, 2**62}


def test_a_repeated_step_replaces_the_value(experiment: Experiment) -> None:
    for value in (0.1, 0.2, 0.3):
        experiment.log(x=value, step=5)
    experiment.flush()
    experiment.log(x=0.4, step=5)
    assert values(experiment, "x") == {5: 0.4}


def test_latest_is_the_value_at_the_highest_step(experiment: Experiment) -> None:
    for step in (3, 9, 4):
        experiment.log(x=step / 10, step=step)
        experiment.flush()
    assert experiment.sql("SELECT step, value FROM latest").values.tolist() == [[9, 0.9]]
    experiment.log(x=0.94, step=9)
    experiment.log(x=0.95, step=9)
    experiment.log(x=0.1, step=8)
    experiment.flush()
    assert experiment.sql("SELECT step, value FROM latest").values.tolist() == [[9, 0.95]]


def test_latest_by_name(experiment: Experiment) -> None:
    assert experiment.latest == {}
    experiment.log({"train/loss": 0.5, "accuracy": 0.9}, step=2)
    experiment.log({"train/loss": 0.7}, step=1)
    experiment.log({"odd": math.nan}, step=1)
    latest = experiment.latest
    assert math.isnan(latest.pop("odd"))
    assert latest == {"train/loss": 0.5, "accuracy": 0.9}


def test_steps_left_out_count_on(experiment: Experiment) -> None:
    experiment.log(x=1.0)
    experiment.log(x=2.0, y=2.0)
    experiment.log(x=3.0, step=10)
    experiment.log(x=4.0)
    assert values(experiment, "x") == {0: 1.0, 1: 2.0, 10: 3.0, 11: 4.0}
    assert values(experiment, "y") == {1: 2.0}


def test_steps_left_out_count_on_after_reopening(experiment: Experiment) -> None:
    experiment.log(x=1.0, step=7)
    experiment.close()
    with load_experiment(experiment.path, write=True) as again:
        again.log(x=2.0)
    assert values(again, "x") == {7: 1.0, 8: 2.0}


def test_what_was_logged_may_be_changed_afterwards(experiment: Experiment) -> None:
    mapping = {"x": 1.0}
    total = torch.tensor(1.0)
    for step in range(3):
        experiment.log(mapping, step=step, total=total)
        mapping["x"] += 1
        total += 1
    assert values(experiment, "x") == values(experiment, "total") == {0: 1.0, 1: 2.0, 2: 3.0}


def test_a_log_is_committed_within_100_ms_by_itself(experiment: Experiment) -> None:
    experiment.log(x=1.0, step=0)
    time.sleep(0.5)  # an idle writer sleeps, and must wake
    for step in range(1, 4):
        experiment.log(x=1.0, step=step)
        deadline = time.monotonic() + 1.0  # a tenth of a second, on a machine that is very busy
        while len(load_experiment(experiment.path).metrics()) < step + 1:
            assert time.monotonic() < deadline


def test_flush_commits_everything(experiment: Experiment) -> None:
    for step in range(5000):
        experiment.log({"x": float(step), "y": 0.5}, step=step)
    experiment.flush()
    assert len(load_experiment(experiment.path).metrics()) == 10_000


def test_more_than_the_queue_holds_loses_nothing(experiment: Experiment) -> None:
    for step in range(50_000):
        experiment.log(x=0.5, step=step)
    assert len(experiment.metrics()) == 50_000


def test_threads_may_log_at_once(experiment: Experiment) -> None:
    def work(number: int) -> None:
        for step in range(2000):
            experiment.log({f"x{number}": float(step)}, step=step)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    frame = experiment.metrics(wide=True)
    assert len(frame) == 2000
    assert all(frame[f"x{i}"].tolist() == frame["step"].tolist() for i in range(8))


def test_seq_keeps_the_order_of_the_calls(experiment: Experiment) -> None:
    order = [5, 1, 9, 9, 2, 7]
    for step in order:
        experiment.log(x=1.0, y=1.0, step=step)
    rows = experiment.sql("SELECT step, seq FROM metrics ORDER BY seq").values.tolist()
    assert rows == [[5, 1], [5, 1], [1, 2], [1, 2], [9, 4], [9, 4], [2, 5], [2, 5], [7, 6], [7, 6]]


def test_logging_to_a_closed_experiment_is_refused(experiment: Experiment) -> None:
    experiment.close()
    experiment.close()
    with pytest.raises(ExperimentReadOnly, match=r"is closed: it cannot log.*write=True"):
        experiment.log(x=1.0)
    experiment.flush()


def test_log_many_takes_tables(experiment: Experiment) -> None:
    experiment.log_many(pd.DataFrame({"step": [0, 1], "a": [0.5, math.nan], "b": [1, 2]}))
    experiment.log_many({"step": [2], "a": [torch.tensor(0.25)]})
    experiment.log_many({"step": np.arange(3, 5), "a": torch.ones(2)})
    read = load_experiment(experiment.path)  # committed on return
    assert values(read, "b") == {0: 1.0, 1: 2.0}
    assert read.metrics("a")["value"].fillna(-1).tolist() == [0.5, -1, 0.25, 1.0, 1.0]


def test_log_many_reads_tensors_from_their_devices(experiment: Experiment) -> None:
    unreadable = torch.zeros((), device="meta")
    with pytest.raises(NotRecorded, match="'a' of step 1 could not be read"):
        experiment.log_many({"step": [0, 1], "a": [0.5, unreadable]})
    assert values(experiment, "a") == {0: 0.5}


def test_log_many_takes_messages(experiment: Experiment) -> None:
    from fireworks import Message

    experiment.log_many(Message({"step": torch.arange(3), "a": torch.tensor([0.5, 0.25, 0.125])}))
    assert values(experiment, "a") == {0: 0.5, 1: 0.25, 2: 0.125}


@pytest.mark.parametrize(
    ("table", "error", "message"),
    [
        ({"Step": [1], "a": [1]}, WrongValue, "Did you mean 'Step'"),
        ({"step": [1], "a": [1, 2]}, WrongValue, "differ in length"),
        ({"step": [1, 2], "a": [1.0, "x"]}, WrongType, "got the string 'x'"),
        ({"step": [0.5], "a": [1.0]}, WrongType, "A step must be an integer"),
        ({"step": [None], "a": [1.0]}, WrongType, "A step must be an integer"),
        (3, WrongType, "takes a DataFrame"),
        ([1, 2], WrongType, "takes a DataFrame"),
    ],
)
def test_log_many_refuses_other_tables(
    experiment: Experiment, table: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        experiment.log_many(table)
    assert len(experiment.metrics()) == 0


def test_durable_commits_each_call(tmp_path: Path) -> None:
    with Experiment("durable", root=tmp_path, durable=True) as experiment:
        reader = load_experiment(experiment.path)
        for step in range(5):
            experiment.log(x=1.0, step=step)
            assert len(reader.metrics()) == step + 1


names = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), min_size=1)


@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    calls=st.lists(
        st.tuples(
            st.integers(-(2**62), 2**62),
            st.dictionaries(names.filter(str.strip), st.floats(), min_size=1),
        ),
        max_size=20,
    )
)
def test_any_names_and_steps_in_any_order(
    tmp_path_factory: pytest.TempPathFactory, calls: list[tuple[int, dict[str, float]]]
) -> None:
    expected: dict[tuple[str, int], float] = {}
    with Experiment("any", root=tmp_path_factory.mktemp("runs")) as experiment:
        for step, mapping in calls:
            experiment.log(mapping, step=step)
            expected |= {(name, step): value for name, value in mapping.items()}
        frame = experiment.metrics()
    found = {
        (name, step): value
        for name, step, value in zip(frame["name"], frame["step"], frame["value"], strict=True)
    }
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        assert found[key] == value or (math.isnan(value) and math.isnan(found[key]))
