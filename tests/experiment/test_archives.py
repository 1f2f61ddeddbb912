"""Copies and archives: whole, relocatable, and safe to unpack whoever made them."""

import json
import os
import sqlite3
import stat
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from fireworks.errors import DamagedFile, ExperimentInUse, ExperimentNotFound, WrongValue
from fireworks.experiment import Experiment, Text, load_experiment, open_attempt, restore
from fireworks.record.removal import leftovers, remove_leftovers, remove_run


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Experiment]:
    with Experiment("digits", root=tmp_path / "runs", parameters={"lr": 0.1}) as made:
        made.log({"loss": 0.5, "note": Text("x")}, step=1)
        with made.file("deep/er/a.txt", "w") as stream:
            stream.write("ü")
        made.plot("loss")
        yield made


def names(folder: Path) -> list[str]:
    return sorted(
        path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()
    )


def same(a: Experiment, b: Experiment) -> None:
    assert a.metrics().equals(b.metrics())
    assert a.params == b.params
    assert a.media("note") == b.media("note")
    assert a.file("deep/er/a.txt").read_text() == b.file("deep/er/a.txt").read_text()
    assert list(a.figures) == list(b.figures)


def test_a_copy_of_a_run_that_is_written_to(run: Experiment, tmp_path: Path) -> None:
    copy = load_experiment(run.copy(tmp_path / "elsewhere" / "copy"))
    same(run, copy)
    assert names(copy.path) == ["experiment.json", "experiment.sqlite", "files/deep/er/a.txt"]
    run.log(loss=0.25, step=2)
    run.flush()
    assert len(copy.metrics()) == 1
    with pytest.raises(WrongValue, match="replaces nothing"):
        run.copy(copy.path)
    with load_experiment(copy.path, write=True) as going_on:
        going_on.log(loss=0.1, step=5)
    assert len(copy.metrics()) == 2


def test_an_archive_is_a_run_anywhere(run: Experiment, tmp_path: Path) -> None:
    archive = run.archive()
    assert archive == tmp_path / "runs" / "digits-0001.zip"
    restored = restore(archive, tmp_path / "other")
    assert restored.path == tmp_path / "other" / "digits-0001"
    same(run, restored)
    assert stat.S_IMODE(restored.path.stat().st_mode) == 0o700
    # Relocatable: where it lay is in no file but what was captured of its process.
    for name in names(restored.path):
        if name != "experiment.sqlite":
            assert str(tmp_path).encode() not in (restored.path / name).read_bytes()
    assert not restored.sql(
        "SELECT 1 FROM artifacts WHERE path LIKE '/%' UNION SELECT 1 FROM figures "
        "WHERE spec LIKE ?", (f"%{tmp_path}%",)
    ).shape[0]  # fmt: skip
    before = names(restored.path)
    restored.metrics()
    assert names(restored.path) == before  # DELETE mode: reading leaves nothing
    with pytest.raises(WrongValue, match="there already"):
        restore(archive, tmp_path / "other")
    assert archive.read_bytes()[:2] == b"PK"
    assert run.archive() == archive  # replaces it


def test_links_are_not_followed(run: Experiment, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    (run.path / "files" / "link").symlink_to(tmp_path / "secret")
    for what in (run.archive, lambda: run.copy(tmp_path / "copy")):
        with pytest.raises(WrongValue, match="symbolic link"):
            what()
    assert sorted(os.listdir(tmp_path)) == ["runs", "secret"]
    assert os.listdir(tmp_path / "runs") == ["digits-0001"]


def hostile(archive: Path, target: Path, change: str) -> Path:
    """The archive, with one thing about it changed."""
    with zipfile.ZipFile(archive) as old, zipfile.ZipFile(target, "w") as new:
        for entry in old.infolist():
            data = old.read(entry)
            if change == "index" and entry.filename.endswith("experiment.json"):
                data = json.dumps({**json.loads(data), "id": "other-0001"}).encode()
            if change == "database" and entry.filename.endswith(".sqlite"):
                data = b"no database"
            if change == "lock out" and entry.filename.endswith(".sqlite"):
                continue
            new.writestr(entry, data)
        if change.startswith("name:"):
            new.writestr(change.removeprefix("name:"), b"evil")
        if change == "link":
            link = zipfile.ZipInfo("digits-0001/files/link")
            link.external_attr = (stat.S_IFLNK | 0o777) << 16
            new.writestr(link, "/etc/passwd")
    return target


@pytest.mark.parametrize(
    "change",
    [
        "name:../evil", "name:/tmp/evil", "name:digits-0001/../../evil", "name:evil",
        "name:digits-0001/..\\evil", "name:C:/evil", "name:other-0001/evil",
        "name:digits-0001/experiment.sqlite-wal", "name:digits-0001/experiment.lock",
        "link", "index", "database", "lock out",
    ],
)  # fmt: skip
def test_a_hostile_archive_leaves_nothing(run: Experiment, tmp_path: Path, change: str) -> None:
    evil = hostile(run.archive(), tmp_path / "evil.zip", change)
    before = names(tmp_path)
    with pytest.raises((DamagedFile, ExperimentNotFound)):
        restore(evil, tmp_path / "new")
    assert names(tmp_path) == before
    assert not (tmp_path / "new").exists() or os.listdir(tmp_path / "new") == []


def test_what_is_no_archive(run: Experiment, tmp_path: Path) -> None:
    with pytest.raises(ExperimentNotFound, match="no archive"):
        restore(tmp_path / "none.zip", tmp_path / "new")
    torn = tmp_path / "torn.zip"
    whole = run.archive().read_bytes()
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 0xFF
    for data in (b"", b"PK", whole[: len(whole) // 2], bytes(flipped)):
        torn.write_bytes(data)
        with pytest.raises(DamagedFile):
            restore(torn, tmp_path / "new")
    assert not (tmp_path / "new").exists() or os.listdir(tmp_path / "new") == []


def test_nothing_in_a_folder_is_run(run: Experiment, tmp_path: Path) -> None:
    """A run that somebody prepared: views and triggers do not call what they could."""
    path = run.copy(tmp_path / "prepared")
    connection = sqlite3.connect(path / "experiment.sqlite")
    connection.executescript(
        "DROP VIEW metric; CREATE VIEW metric AS SELECT load_extension('/tmp/evil.so') AS value;"
        "CREATE TRIGGER evil AFTER INSERT ON metrics BEGIN SELECT writefile('/tmp/evil', 'x'); END"
    )
    connection.close()
    with pytest.raises(Exception, match="load_extension"):
        load_experiment(path).sql("SELECT * FROM metric")


def test_a_run_is_removed_whole_and_not_while_it_runs(run: Experiment, tmp_path: Path) -> None:
    with pytest.raises(ExperimentInUse):
        remove_run(run.path)
    assert len(run.metrics()) == 1
    run.close()
    remove_run(run.path)
    assert os.listdir(tmp_path / "runs") == []
    with pytest.raises(ExperimentNotFound):
        remove_run(run.path)


def test_what_killed_processes_left_is_found(run: Experiment, tmp_path: Path) -> None:
    root = tmp_path / "runs"
    (root / ".new-digits-x").mkdir()
    (root / ".new-digits-x" / "experiment.sqlite").write_bytes(b"123")
    (root / ".hidden").mkdir()
    (run.path / "files" / ".a.txt.1-2.tmp").write_bytes(b"12345")
    assert leftovers(root) == []  # it may be under way
    assert [each.size for each in leftovers(root, older_than=-1)] == [3]  # the run has an owner
    run.close()
    found = leftovers(root, older_than=-1)
    assert [each.size for each in found] == [3, 5]
    remove_leftovers(found)
    assert sorted(os.listdir(root)) == [".hidden", "digits-0001"]
    assert names(run.path / "files") == ["deep/er/a.txt"]
    with pytest.raises(ExperimentNotFound):
        leftovers(tmp_path / "none")


def test_an_attempts_own_experiment_may_be_copied(run: Experiment, tmp_path: Path) -> None:
    run.sweep.add_trial(0, seed=1, params={})
    attempt = run.sweep.start_attempt(0, host="here")
    with open_attempt(run.path, 0, attempt) as trial:
        trial.log(loss=1.0, step=0)
        copy = load_experiment(trial.copy(tmp_path / "copy"))
    assert len(copy.metrics(trials=0)) == 1
