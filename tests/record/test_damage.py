"""Folders that are damaged, foreign, newer or incomplete."""

import json
import os
import shutil
import sqlite3
from pathlib import Path

import pytest

from fireworks.errors import DamagedFile, ExperimentNotFound, FireworksError
from fireworks.experiment import Experiment, load_experiment
from fireworks.record.index import read_index
from fireworks.record.overview import read_overview
from fireworks.record.schema import VERSION
from fireworks.record.sqlite import SQLiteStore


@pytest.fixture
def run(tmp_path: Path) -> Path:
    with Experiment("digits", root=tmp_path) as experiment:
        for step in range(2000):
            experiment.log(loss=1 / (1 + step), step=step)
    return experiment.path


def change(path: Path, statement: str) -> None:
    connection = sqlite3.connect(path / "experiment.sqlite", isolation_level=None)
    connection.execute(statement)
    connection.close()


def test_a_newer_database_is_refused_for_reading_and_writing(run: Path) -> None:
    change(run, f"PRAGMA user_version = {VERSION + 1}")
    for write in (False, True):
        with pytest.raises(DamagedFile, match=r"newer release .* pip install --upgrade"):
            load_experiment(run, write=write).metrics()
    assert read_index(run).status == "completed"


def test_a_foreign_database_is_refused(run: Path) -> None:
    change(run, "PRAGMA application_id = 7")
    with pytest.raises(DamagedFile, match="not that of an experiment"):
        load_experiment(run).metrics()


def test_a_file_that_is_no_database_is_refused(run: Path) -> None:
    (run / "experiment.sqlite").write_bytes(b"nothing like it" * 500)
    for write in (False, True):
        with pytest.raises(DamagedFile, match="damaged or not a database"):
            load_experiment(run, write=write).metrics()


def test_an_empty_database_is_refused(run: Path) -> None:
    (run / "experiment.sqlite").write_bytes(b"")
    with pytest.raises(DamagedFile, match="not that of an experiment"):
        load_experiment(run).metrics()


def test_a_damaged_page_is_named_and_the_sound_tables_still_read(run: Path) -> None:
    database = run / "experiment.sqlite"
    connection = sqlite3.connect(database)
    (page,) = connection.execute(
        "SELECT rootpage FROM sqlite_schema WHERE name = 'metrics'"
    ).fetchone()
    (size,) = connection.execute("PRAGMA page_size").fetchone()
    connection.close()
    with open(database, "r+b") as stream:
        stream.seek((page - 1) * size)
        stream.write(b"\xff" * size)
    experiment = load_experiment(run)
    with pytest.raises(DamagedFile, match=r"damaged.*\.recover"):
        experiment.metrics()
    assert experiment.metadata["status"] == "completed"


def test_a_missing_database_is_named(run: Path) -> None:
    (run / "experiment.sqlite").unlink()
    assert load_experiment(run).status == "completed"
    with pytest.raises(ExperimentNotFound, match="incomplete"):
        load_experiment(run).metrics()
    with pytest.raises(ExperimentNotFound):
        load_experiment(run, write=True)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is damaged"),
        (b"{", "is damaged"),
        (b"[" * 100_000, "is damaged"),
        (b"\xff\xfe", "is damaged"),
        (b"[]", "does not describe"),
        (b'{"format": "other"}', "does not describe"),
        (b'{"format": "fireworks-experiment", "version": 99}', "newer release"),
        (b'{"format": "fireworks-experiment", "version": "1"}', "newer release"),
        (b'{"format": "fireworks-experiment", "version": 1}', "lacks 'name'"),
    ],
)
def test_a_damaged_index_is_refused(run: Path, content: bytes, message: str) -> None:
    (run / "experiment.json").write_bytes(content)
    for read in (read_index, load_experiment, read_overview):
        with pytest.raises(DamagedFile, match=message):
            read(run)


def test_values_of_the_wrong_kind_in_the_index_are_refused(run: Path) -> None:
    content = json.loads((run / "experiment.json").read_text())
    for field, value in [
        ("tags", None),
        ("tags", [1]),
        ("trials", [1]),
        ("trials", {"completed": "x"}),
        ("created", "now"),
        ("name", 3),
        ("metrics", {"loss": "x"}),
        ("objective", [["accuracy"]]),
        ("best", {"trial": 1}),
    ]:
        (run / "experiment.json").write_text(json.dumps({**content, field: value}))
        with pytest.raises(DamagedFile, match=field):
            read_index(run)


@pytest.mark.parametrize(
    "statement",
    [
        "DROP TABLE trials",
        "ALTER TABLE params RENAME COLUMN value TO other",
        "UPDATE metadata SET value = '{' WHERE key = 'host'",
        "UPDATE metadata SET value = x'ff' WHERE key = 'host'",
        "INSERT INTO trials VALUES (1, 'completed', 1, 1, '[', 1, 1, 1)",
    ],
)
def test_tables_that_somebody_changed_are_named(run: Path, statement: str) -> None:
    change(run, statement)
    with pytest.raises(DamagedFile, match="damaged|does not hold what it should"):
        read_overview(run)


def test_a_state_of_nobody_knows_whom_is_shown(run: Path) -> None:
    change(run, "INSERT INTO trials VALUES (1, 'odd', 1, 1, NULL, 1, 1, 1)")
    assert read_overview(run).trials[0].state == "odd"


def test_a_missing_index_is_named(run: Path) -> None:
    (run / "experiment.json").unlink()
    with pytest.raises(DamagedFile, match=r"incomplete: it has no experiment\.json"):
        load_experiment(run)


def test_every_error_is_one_of_ours(tmp_path: Path) -> None:
    with pytest.raises(FireworksError):
        load_experiment(tmp_path / "none")
    (tmp_path / "file").write_text("x")
    with pytest.raises(FireworksError):
        load_experiment(tmp_path / "file")


def test_reading_leaves_nothing_in_the_folder(run: Path, tmp_path: Path) -> None:
    def listing(folder: Path) -> dict[str, tuple[int, int]]:
        return {
            each.name: (each.stat().st_size, each.stat().st_mtime_ns) for each in folder.iterdir()
        }

    before = listing(run)
    experiment = load_experiment(run)
    assert len(experiment.metrics()) == 2000
    assert len(experiment.sql("SELECT * FROM metric")) == 2000
    read_overview(run)
    assert listing(run) == before


def test_a_folder_copied_from_under_a_writer_reads_without_traces(tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    with Experiment("digits", root=tmp_path) as experiment:
        experiment.log(loss=0.5, step=1)
        experiment.flush()
        copy.mkdir()
        for name in ("experiment.json", "experiment.sqlite", "experiment.sqlite-wal"):
            shutil.copyfile(experiment.path / name, copy / name)
    names = sorted(os.listdir(copy))
    copied = load_experiment(copy)
    assert copied.metrics()["value"].tolist() == [0.5]
    assert copied.status == "killed"  # it never ended, as far as this copy knows
    assert sorted(os.listdir(copy)) == names


def test_an_immutable_read_sees_no_half_written_row(tmp_path: Path) -> None:
    with Experiment("digits", root=tmp_path) as experiment:
        experiment.log(loss=0.5, step=1)
        experiment.flush()
        with SQLiteStore(experiment.path / "experiment.sqlite").reading() as connection:
            experiment.log(loss=0.25, step=2)
            experiment.flush()
            assert connection.execute("SELECT count(*) FROM metrics").fetchone() == (1,)
        with SQLiteStore(experiment.path / "experiment.sqlite").reading() as connection:
            assert connection.execute("SELECT count(*) FROM metrics").fetchone() == (2,)
