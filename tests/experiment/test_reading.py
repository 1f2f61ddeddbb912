import os
import stat
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from fireworks.errors import (
    ExperimentNotFound,
    ExperimentReadOnly,
    FireworksError,
    WrongType,
    WrongValue,
)
from fireworks.experiment import Experiment, load_experiment


def test_what_an_experiment_says_of_itself(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("MY_API_KEY", "do-not-tell")
    monkeypatch.chdir(tmp_path)
    with Experiment(
        "digits", description="a try", tags=["x", "x", "y"], parameters={"lr": 0.1}
    ) as made:
        assert made.path == tmp_path / "runs" / "digits-0001"
        assert stat.S_IMODE(made.path.stat().st_mode) == 0o700
        assert (made.name, made.number, made.id) == ("digits", 1, "digits-0001")
        assert (made.trial, made.attempt, made.status) == (None, None, "running")
        assert "digits-0001" in repr(made)
    read = load_experiment("runs/digits-0001")
    assert (read.name, read.number, read.id) == ("digits", 1, "digits-0001")
    assert (read.description, read.tags, read.status) == ("a try", ("x", "y"), "completed")
    assert read.params == {"lr": 0.1}
    metadata = read.metadata
    assert metadata["pid"] == os.getpid()
    assert metadata["environment"]["MY_API_KEY"] == "***"
    assert "do-not-tell" not in (read.path / "experiment.json").read_text()
    assert b"do-not-tell" not in (read.path / "experiment.sqlite").read_bytes()


def test_parameters_are_a_mapping(experiment: Experiment) -> None:
    experiment.params["lr"] = 0.1
    experiment.params.update(model={"hidden": (64, 32)}, none=None)
    del experiment.params["none"]
    reader = load_experiment(experiment.path)
    assert reader.params == {"lr": 0.1, "model": {"hidden": [64, 32]}}
    experiment.params = {"seed": 1}
    assert reader.params == {"seed": 1} == load_experiment(experiment.path).params
    with pytest.raises(KeyError, match="Did you mean 'seed'"):
        reader.params["sed"]
    with pytest.raises(WrongType, match="The parameter 'f' must be JSON"):
        experiment.params["f"] = print
    assert reader.params == {"seed": 1}


def test_a_bad_parameter_leaves_no_folder(tmp_path: Path) -> None:
    for bad in ({"f": print}, {1: 2}, {"\ud800": 1}):
        with pytest.raises(FireworksError, match="parameter"):
            Experiment("digits", root=tmp_path, parameters=bad)  # pyright: ignore
    with pytest.raises(WrongType, match=r"Use \['x'\]"):
        Experiment("digits", root=tmp_path, tags="x")
    with pytest.raises(WrongType, match="The description must be a string"):
        Experiment("digits", root=tmp_path, description=None)  # pyright: ignore
    assert os.listdir(tmp_path) == []


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(parameters=st.dictionaries(st.text(), json_values, max_size=5))
def test_any_parameters_come_back(experiment: Experiment, parameters: dict[str, Any]) -> None:
    assume(experiment._index.store is None or not any("\0" in name for name in parameters))
    experiment.params = parameters
    reader = load_experiment(experiment.path)
    assert repr(dict(reader.params)) == repr(dict(sorted(parameters.items())))


def test_very_long_parameters(experiment: Experiment) -> None:
    experiment.params["text"] = "ü" * 3_000_000
    assert load_experiment(experiment.path).params["text"] == "ü" * 3_000_000


def test_tags_and_notes(experiment: Experiment) -> None:
    experiment.tags += ("best", "best")
    experiment.notes.append("first")
    experiment.notes.append("<b>second</b>'; DROP TABLE notes")
    reader = load_experiment(experiment.path)
    assert reader.tags == ("best",)
    assert list(reader.notes) == ["first", "<b>second</b>'; DROP TABLE notes"]
    with pytest.raises(WrongType, match="A note must be a string"):
        experiment.notes.append(3)  # pyright: ignore[reportArgumentType]
    with pytest.raises(WrongValue, match="not valid Unicode"):
        experiment.notes.append("\ud800")


def test_metrics_long_and_wide(experiment: Experiment) -> None:
    for step in range(3):
        experiment.log({"train/loss": 1 / (step + 1)}, step=step)
    experiment.log({"valid/accuracy": 0.9}, step=2)
    wide = experiment.metrics(wide=True)
    assert wide.columns.tolist() == ["trial", "step", "train/loss", "valid/accuracy"]
    assert wide["step"].tolist() == [0, 1, 2]
    assert wide["valid/accuracy"].isna().tolist() == [True, True, False]
    assert len(experiment.metrics("train/loss")) == 3
    assert len(experiment.metrics(["train/loss", "valid/accuracy"])) == 4
    assert len(experiment.metrics([])) == 0
    with pytest.raises(WrongValue, match="Did you mean 'train/loss'"):
        experiment.metrics("train/los")
    with pytest.raises(WrongValue, match="no trial 3"):
        experiment.metrics(trials=3)


def test_metrics_of_many_series(experiment: Experiment) -> None:
    """More than are read one by one."""
    for step in range(3):
        experiment.log({f"m{i:03d}": i + step / 10 for i in range(100, 0, -1)}, step=step)
    frame = experiment.metrics()
    assert frame["name"].tolist() == [f"m{i:03d}" for i in range(1, 101) for _ in range(3)]
    assert frame["step"].tolist() == [0, 1, 2] * 100
    assert frame["value"].tolist() == [i + step / 10 for i in range(1, 101) for step in range(3)]
    chosen = [f"m{i:03d}" for i in range(90, 10, -1)]
    assert sorted(set(experiment.metrics(chosen)["name"])) == sorted(chosen)
    assert len(experiment.metrics(chosen)) == 240


def test_metrics_of_nothing(experiment: Experiment) -> None:
    for wide in (False, True):
        assert len(experiment.metrics(wide=wide)) == 0
    assert experiment.metrics().dtypes.astype(str).to_dict()["value"] == "float64"
    with pytest.raises(WrongValue, match="Nothing was logged yet"):
        experiment.metrics("loss")


def test_sql_reads(experiment: Experiment) -> None:
    experiment.log(loss=0.5, step=1)
    frame = experiment.sql("SELECT name, value FROM metric WHERE step = ?", (1,))
    assert frame.values.tolist() == [["loss", 0.5]]
    frame = experiment.sql("WITH t AS (SELECT max(value) AS m FROM metric) SELECT m FROM t")
    assert frame["m"].tolist() == [0.5]
    assert experiment.sql("SELECT value FROM metric WHERE step = :s", {"s": 9}).empty


@pytest.mark.parametrize(
    "query",
    [
        "DELETE FROM metrics",
        "INSERT INTO notes VALUES (1, 1, 'x')",
        "DROP TABLE metrics",
        "CREATE TEMP TABLE t (x)",
        "PRAGMA journal_mode = DELETE",
        "ATTACH 'other.sqlite' AS other",
        "VACUUM INTO 'copy.sqlite'",
        "SELECT load_extension('x')",
        "COMMIT",
    ],
)
@pytest.mark.parametrize("mode", ["owner", "reader"])
def test_sql_only_reads(experiment: Experiment, query: str, mode: str) -> None:
    experiment.log(loss=0.5, step=1)
    experiment.flush()
    target = experiment if mode == "owner" else load_experiment(experiment.path)
    with pytest.raises((ExperimentReadOnly, WrongValue)):
        target.sql(query)
    assert len(experiment.metrics()) == 1


@pytest.mark.parametrize(
    ("query", "parameters"),
    [
        ("SELEC 1", ()),
        ("SELECT * FROM nothing", ()),
        ("SELECT 1; SELECT 2", ()),
        ("SELECT ?", ()),
        ("SELECT ?", (object(),)),
        ("SELECT '\ud800'", ()),
    ],
)
def test_sql_that_is_wrong(experiment: Experiment, query: str, parameters: Any) -> None:
    with pytest.raises(WrongValue, match="The query failed"):
        experiment.sql(query, parameters)


def test_what_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ExperimentNotFound, match="There is no experiment at"):
        load_experiment(tmp_path / "nothing")
    with pytest.raises(FileNotFoundError):
        load_experiment(tmp_path / "nothing", write=True)


@pytest.mark.parametrize("root", ["file", "file/below"])
def test_a_root_that_is_a_file(tmp_path: Path, root: str) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(WrongValue, match=r"root=.* is not a folder"):
        Experiment("digits", root=tmp_path / root)


def test_a_root_that_cannot_be_written_to() -> None:
    with pytest.raises(ExperimentReadOnly, match="root='/sys/x'.*Choose a folder"):
        Experiment("digits", root="/sys/x")


def test_the_folder_is_relocatable(experiment: Experiment, tmp_path: Path) -> None:
    experiment.log(loss=0.5, step=1)
    experiment.close()
    moved = tmp_path / "elsewhere" / "renamed"
    moved.parent.mkdir()
    experiment.path.rename(moved)
    read = load_experiment(moved)
    assert (read.path, read.id, len(read.metrics())) == (moved, "digits-0001", 1)
    assert str(experiment.path).encode() not in (moved / "experiment.json").read_bytes()


def test_a_folder_with_odd_characters_is_read(experiment: Experiment, tmp_path: Path) -> None:
    experiment.log(loss=0.5, step=1)
    experiment.close()
    odd = tmp_path / "a ?mode=rw#50% 'quoted'"
    experiment.path.rename(odd)
    assert len(load_experiment(odd).metrics()) == 1
    with load_experiment(odd, write=True) as again:
        again.log(loss=0.25, step=2)
    assert len(load_experiment(odd).metrics()) == 2
