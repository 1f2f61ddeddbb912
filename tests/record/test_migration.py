"""Databases of the first version, and file systems that SQLite's log does not work on."""

import shutil
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from fireworks.errors import DamagedFile, WrongValue
from fireworks.experiment import Experiment, Text, load_experiment
from fireworks.record import filesystem, schema


def as_first_version(path: Path) -> None:
    connection = sqlite3.connect(path / "experiment.sqlite")
    connection.executescript(
        "DROP TABLE sweep_state; DROP TABLE sweep_trials; DROP TABLE media; "
        "ALTER TABLE reports DROP COLUMN seq; ALTER TABLE artifacts DROP COLUMN seq; "
        "PRAGMA user_version = 1"
    )
    connection.close()


def described(path: Path) -> list[Any]:
    connection = sqlite3.connect(path / "experiment.sqlite")
    tables = [
        (table, [row[1:5] for row in connection.execute(f"PRAGMA table_info({table})")])
        for table in sorted(schema.OWN_TABLES)
    ]
    connection.close()
    return tables


@pytest.fixture
def old(tmp_path: Path) -> Path:
    with Experiment("digits", root=tmp_path, parameters={"lr": 0.1}) as experiment:
        experiment.log(loss=1.0, step=0)
    as_first_version(experiment.path)
    return experiment.path


def test_an_older_database_is_read_as_it_is(old: Path) -> None:
    before = (old / "experiment.sqlite").read_bytes()
    read = load_experiment(old)
    assert read.metrics()["value"].tolist() == [1.0]
    assert read.params == {"lr": 0.1}
    assert read.message("artifacts").columns[-1] == "time"
    with pytest.raises(LookupError):
        read.media("x")
    assert (old / "experiment.sqlite").read_bytes() == before


def test_it_is_brought_forward_when_it_is_opened_for_writing(old: Path, tmp_path: Path) -> None:
    with load_experiment(old, write=True) as experiment:
        experiment.log(note=Text("x"), step=1)
        experiment.artifact(__file__)
        experiment.rewind(experiment.mark())
    new = Experiment("digits", root=tmp_path)
    new.close()
    assert described(old) == described(new.path)
    assert load_experiment(old).media("note") == {1: "x"}


def test_a_migration_that_fails_changes_nothing(old: Path) -> None:
    connection = sqlite3.connect(old / "experiment.sqlite")
    connection.execute("CREATE TABLE media (x)")  # in the way
    connection.commit()
    connection.close()
    before = described(old)
    with pytest.raises(DamagedFile, match="media already exists"):
        load_experiment(old, write=True)
    assert described(old) == before
    assert load_experiment(old).metrics()["value"].tolist() == [1.0]


def test_a_newer_one_is_refused(old: Path) -> None:
    connection = sqlite3.connect(old / "experiment.sqlite")
    connection.execute(f"PRAGMA user_version = {schema.VERSION + 1}")
    connection.close()
    for write in (False, True):
        with pytest.raises(DamagedFile, match="newer release"):
            load_experiment(old, write=write).metrics()


def mounts(tmp_path: Path, *lines: tuple[str, str]) -> Path:
    file = tmp_path / "mountinfo"
    file.write_text(
        "".join(
            f"{number} 1 0:{number} / {place} rw,relatime shared:1 - {kind} source rw\n"
            for number, (place, kind) in enumerate(lines)
        )
    )
    return file


def test_the_file_system_of_a_folder(tmp_path: Path, monkeypatch: Any) -> None:
    blank = str(tmp_path).replace(" ", "\\040") + "/a\\040b"
    file = mounts(
        tmp_path, ("/", "ext4"), (str(tmp_path), "nfs4"), (str(tmp_path / "x"), "tmpfs"),
        (blank, "fuse.sshfs"), (str(tmp_path / "ü"), "cifs"),
    )  # fmt: skip
    monkeypatch.setattr(filesystem, "MOUNTS", file)
    assert filesystem.filesystem("/") == "ext4"
    assert filesystem.filesystem(tmp_path / "runs") == "nfs4"
    assert filesystem.filesystem(tmp_path / "x" / "y") == "tmpfs"
    assert filesystem.filesystem(tmp_path / "xy") == "nfs4"
    assert filesystem.filesystem(tmp_path / "a b" / "c") == "fuse.sshfs"
    assert filesystem.filesystem(tmp_path / "ü" / "c") == "cifs"
    monkeypatch.setattr(filesystem, "MOUNTS", tmp_path / "none")
    assert filesystem.filesystem("/") == ""


@pytest.mark.parametrize("kind", ["nfs", "nfs4", "cifs", "9p", "lustre", "fuse.sshfs"])
def test_a_network_is_refused_for_writing_and_read(
    old: Path, tmp_path: Path, monkeypatch: Any, kind: str
) -> None:
    monkeypatch.setattr(filesystem, "MOUNTS", mounts(tmp_path, ("/", kind)))
    with pytest.raises(WrongValue, match=rf"network file system \({kind}\)"):
        Experiment("digits", root=tmp_path / "runs")
    assert list((tmp_path / "runs").iterdir()) == []
    with pytest.raises(WrongValue, match="network file system"):
        load_experiment(old, write=True)
    assert load_experiment(old).metrics()["value"].tolist() == [1.0]


@pytest.mark.parametrize("kind", ["ext4", "overlay", "tmpfs", "fuse.portal", "btrfs", ""])
def test_what_is_no_network(kind: str) -> None:
    assert not filesystem.is_network(kind)


def test_a_folder_without_its_shared_memory_is_read_and_left_alone(tmp_path: Path) -> None:
    with Experiment("digits", root=tmp_path) as experiment:
        experiment.log(loss=1.0, step=0)
        experiment.flush()
        copy = tmp_path / "copy"
        shutil.copytree(experiment.path, copy)
    (copy / "experiment.sqlite-shm").unlink()
    names = sorted(each.name for each in copy.iterdir())
    read = load_experiment(copy)
    assert read.metrics()["value"].tolist() == [1.0]
    assert read.message("series")["name"].tolist() == ["loss"]
    assert sorted(each.name for each in copy.iterdir()) == names
