import hashlib
import os
import resource
import signal
from pathlib import Path

import pytest
import sqlalchemy

from fireworks.errors import DatabaseNotFound, ExperimentReadOnly, WrongValue
from fireworks.experiment import Experiment, load_experiment


def test_a_file_is_written_and_read(experiment: Experiment) -> None:
    with experiment.file("results/summary.txt", "w") as stream:
        stream.write("größer")
    with experiment.file("data.bin", "wb") as stream:
        stream.write(b"\0\1")
    with experiment.file("results/summary.txt", "a") as stream:
        stream.write("!")
    assert experiment.file("results/summary.txt") == experiment.path / "files/results/summary.txt"
    reader = load_experiment(experiment.path)
    assert reader.file("results/summary.txt").read_text(encoding="utf-8") == "größer!"
    with reader.file("data.bin", "rb") as stream:
        assert stream.read() == b"\0\1"


@pytest.mark.parametrize("mode", ["w", "wb"])
def test_a_failed_write_leaves_the_previous_version(experiment: Experiment, mode: str) -> None:
    text = mode == "w"
    with experiment.file("model", mode) as stream:
        stream.write("one" if text else b"one")
    with (
        pytest.raises(RuntimeError, match="in the middle"),
        experiment.file("model", mode) as stream,
    ):
        stream.write("two" * 100_000 if text else b"two" * 100_000)
        raise RuntimeError("in the middle")
    assert experiment.file("model").read_text() == "one"
    assert os.listdir(experiment.path / "files") == ["model"]


@pytest.mark.parametrize("mode", ["w", "wb"])
def test_a_full_disk_leaves_the_previous_version(experiment: Experiment, mode: str) -> None:
    with experiment.file("model", mode) as stream:
        stream.write("one" if mode == "w" else b"one")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, before[1]))
    try:
        with (
            pytest.raises(OSError, match="too large"),
            experiment.file("model", mode) as stream,
        ):
            stream.write("x" * 50_000 if mode == "w" else b"x" * 50_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert experiment.file("model").read_text() == "one"
    assert os.listdir(experiment.path / "files") == ["model"]


def test_until_it_is_closed_the_previous_version_is_read(experiment: Experiment) -> None:
    stream = experiment.file("model", "w")
    stream.write("one")
    assert not experiment.file("model").exists()
    stream.close()
    assert experiment.file("model").read_text() == "one"


def test_opening_for_creation_refuses_an_existing_file(experiment: Experiment) -> None:
    experiment.file("model", "x").close()
    with pytest.raises(FileExistsError):
        experiment.file("model", "x")
    with pytest.raises(FileNotFoundError):
        experiment.file("missing", "r")


@pytest.mark.parametrize("name", ["../out", "/etc/passwd", "a/../../out", "", "a\0b"])
@pytest.mark.parametrize("mode", [None, "w", "r"])
def test_names_that_leave_the_folder_are_refused(
    experiment: Experiment, name: str, mode: str | None
) -> None:
    with pytest.raises(WrongValue, match="stay inside"):
        experiment.file(name, mode)
    with pytest.raises(WrongValue, match="stay inside"):
        experiment.artifact(__file__, name)


@pytest.mark.parametrize("mode", ["", "q", "rw", "wbt", "U"])
def test_modes_that_are_none_are_refused(experiment: Experiment, mode: str) -> None:
    with pytest.raises(WrongValue, match="mode must be one of"):
        experiment.file("x", mode)


def test_an_artifact_is_copied_with_its_checksum(experiment: Experiment, tmp_path: Path) -> None:
    content = os.urandom(3_000_000)
    (tmp_path / "weights.pt").write_bytes(content)
    path = experiment.artifact(tmp_path / "weights.pt")
    assert path == experiment.path / "files/weights.pt"
    assert path.read_bytes() == content
    row = experiment.sql("SELECT path, trial, size, sha256 FROM artifacts").values.tolist()
    digest = hashlib.sha256(content).hexdigest()
    assert row == [["files/weights.pt", -1, 3_000_000, digest]]


def test_a_folder_is_an_artifact_as_well(experiment: Experiment, tmp_path: Path) -> None:
    (tmp_path / "model/deep").mkdir(parents=True)
    (tmp_path / "model/a").write_text("a")
    (tmp_path / "model/deep/b").write_text("b")
    assert experiment.artifact(tmp_path / "model", "models/one").is_dir()
    paths = experiment.sql("SELECT path FROM artifacts ORDER BY path")["path"].tolist()
    assert paths == ["files/models/one/a", "files/models/one/deep/b"]


def test_a_folder_with_a_symbolic_link_is_refused(experiment: Experiment, tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model/a").write_text("a")
    (tmp_path / "model/z").symlink_to("/etc/passwd")
    with pytest.raises(WrongValue, match="symbolic link"):
        experiment.artifact(tmp_path / "model")
    assert not (experiment.path / "files").exists()


def test_a_missing_artifact_is_named(experiment: Experiment, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nothing"):
        experiment.artifact(tmp_path / "nothing")
    assert not (experiment.path / "files" / "nothing").exists()


def test_a_database_of_ones_own(experiment: Experiment) -> None:
    engine = experiment.database("predictions")
    with engine.begin() as connection:
        connection.execute(sqlalchemy.text("CREATE TABLE t (x INTEGER)"))
        connection.execute(sqlalchemy.text("INSERT INTO t VALUES (7)"))
    assert (experiment.path / "predictions.sqlite").is_file()
    reader = load_experiment(experiment.path).database("predictions")
    with reader.connect() as connection:
        assert connection.execute(sqlalchemy.text("SELECT x FROM t")).scalar() == 7
        with pytest.raises(sqlalchemy.exc.OperationalError, match="readonly"):
            connection.execute(sqlalchemy.text("INSERT INTO t VALUES (8)"))


def test_names_of_databases(experiment: Experiment) -> None:
    for name in ("experiment", "../x", ""):
        with pytest.raises(WrongValue):
            experiment.database(name)
    with pytest.raises(DatabaseNotFound, match=r"no database 'none\.sqlite'"):
        load_experiment(experiment.path).database("none")


def test_tensorboard_is_made_when_asked_for(experiment: Experiment) -> None:
    folder = experiment.path / "tensorboard"
    assert not folder.exists()
    assert experiment.tensorboard == folder
    assert folder.is_dir()


def test_a_closed_experiment_opens_no_file_for_writing(experiment: Experiment) -> None:
    experiment.close()
    with pytest.raises(ExperimentReadOnly, match="is closed"):
        experiment.file("x", "w")
