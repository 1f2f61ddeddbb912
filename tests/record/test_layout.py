import os
import stat
import threading
from pathlib import Path

import pytest

from fireworks.errors import ExperimentNotFound, WrongType, WrongValue
from fireworks.record import layout


def build(folder: Path, number: int) -> None:
    (folder / layout.INDEX).write_text(str(number))


def test_folders_are_numbered_from_one_and_private(tmp_path: Path) -> None:
    first = layout.new_folder(tmp_path / "runs", "digits", build)
    second = layout.new_folder(tmp_path / "runs", "digits", build)
    other = layout.new_folder(tmp_path / "runs", "digits-b", build)
    assert [each.name for each in (first, second, other)] == [
        "digits-0001",
        "digits-0002",
        "digits-b-0001",
    ]
    assert stat.S_IMODE(first.stat().st_mode) == 0o700


def test_a_number_is_never_used_again_below_the_highest(tmp_path: Path) -> None:
    (tmp_path / "digits-0041").mkdir()
    (tmp_path / "digits-12345").mkdir()
    assert layout.new_folder(tmp_path, "digits", build).name == "digits-12346"


def test_concurrent_creations_get_different_numbers(tmp_path: Path) -> None:
    made: list[Path] = []

    def make() -> None:
        for _ in range(10):
            made.append(layout.new_folder(tmp_path, "digits", build))

    threads = [threading.Thread(target=make) for _ in range(8)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert sorted(each.name for each in made) == [f"digits-{i:04d}" for i in range(1, 81)]
    assert all((each / layout.INDEX).read_text() == str(int(each.name[-4:])) for each in made)


def test_a_failed_build_leaves_nothing(tmp_path: Path) -> None:
    def fail(folder: Path, number: int) -> None:
        (folder / "half").write_text("half")
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        layout.new_folder(tmp_path, "digits", fail)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("root", ["file", "file/below", "file/below/that"])
def test_a_root_that_is_no_folder_is_refused(tmp_path: Path, root: str) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(WrongValue, match="not a folder"):
        layout.new_folder(tmp_path / root, "digits", build)


@pytest.mark.parametrize(
    "name", ["", "  ", "../up", "/etc", "a/b", "a\\b", ".hidden", "-rf", "a\0b", "a\nb", "x" * 300]
)
def test_names_that_are_no_folder_names_are_refused(name: str) -> None:
    with pytest.raises(WrongValue, match="plain name"):
        layout.check_name(name, what="An experiment's name")


def test_a_name_must_be_a_string() -> None:
    with pytest.raises(WrongType, match="got int: 7"):
        layout.check_name(7, what="An experiment's name")


@pytest.mark.parametrize("name", ["digits", "Ünïcode 7", "a.b-c_d", "x" * 200])
def test_plain_names_are_kept(name: str) -> None:
    assert layout.check_name(name, what="A name") == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "../x",
        "a/../../x",
        "a/../b",
        "/etc/passwd",
        "a//b",
        "./a",
        "a\0b",
        "a\nb",
        "\ud800",
    ],
)
def test_inside_refuses_what_could_leave_the_folder(tmp_path: Path, name: str) -> None:
    with pytest.raises(WrongValue, match="stay inside"):
        layout.inside(tmp_path, "files", name)


def test_inside_refuses_a_symbolic_link_that_leads_out(tmp_path: Path) -> None:
    files = tmp_path / "files"
    files.mkdir()
    (files / "out").symlink_to(tmp_path)
    (files / "in").symlink_to(files)
    with pytest.raises(WrongValue, match="symbolic link"):
        layout.inside(tmp_path, "files", "out/secret.txt")
    assert layout.inside(tmp_path, "files", "in/plain.txt") == files / "in/plain.txt"


def test_inside_refuses_a_folder_that_is_itself_a_link(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "files").symlink_to("/etc")
    with pytest.raises(WrongValue, match="symbolic link"):
        layout.inside(tmp_path / "run", "files", "passwd")


def test_inside_needs_a_name(tmp_path: Path) -> None:
    with pytest.raises(WrongType, match="got NoneType"):
        layout.inside(tmp_path, "files", None)


def test_a_missing_experiment_offers_the_nearest(tmp_path: Path) -> None:
    layout.new_folder(tmp_path, "digits", build)
    with pytest.raises(ExperimentNotFound, match=r"Did you mean '.*digits-0001'"):
        layout.experiment_folder(tmp_path / "digits-001")
    with pytest.raises(ExperimentNotFound, match="not that of an experiment"):
        layout.experiment_folder(tmp_path)
