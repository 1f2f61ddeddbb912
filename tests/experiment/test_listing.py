import warnings
from pathlib import Path

import pytest

from fireworks.errors import ExperimentNotFound, WrongValue
from fireworks.experiment import Experiment, experiments


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for i, (lr, tags) in enumerate([(0.1, ["a"]), (0.01, ["a", "b"]), (None, [])]):
        parameters = {} if lr is None else {"lr": lr}
        with Experiment("digits", root=tmp_path, tags=tags, parameters=parameters) as experiment:
            experiment.log({"valid/accuracy": 0.9 + i / 100}, step=i)
    Experiment("other", root=tmp_path).close("failed")
    (tmp_path / "unrelated").mkdir()
    (tmp_path / "file").write_text("x")
    return tmp_path


def ids(found: list[Experiment]) -> list[str]:
    return [each.id for each in found]


def test_all_are_listed_by_name(root: Path) -> None:
    assert ids(experiments(root)) == ["digits-0001", "digits-0002", "digits-0003", "other-0001"]


def test_filters(root: Path) -> None:
    assert ids(experiments(root, status="failed")) == ["other-0001"]
    assert len(experiments(root, status=["failed", "completed"])) == 4
    assert ids(experiments(root, tags="b")) == ["digits-0002"]
    assert ids(experiments(root, tags=["a"])) == ["digits-0001", "digits-0002"]
    assert ids(experiments(root, name="other")) == ["other-0001"]
    assert ids(experiments(root, params={"lr": 0.1})) == ["digits-0001"]
    assert ids(experiments(root, params={"lr": lambda lr: lr < 0.1})) == ["digits-0002"]
    assert ids(experiments(root, where="params.lr < 0.1")) == ["digits-0002"]
    assert ids(experiments(root, where="metrics['valid/accuracy'] > 0.9")) == [
        "digits-0002",
        "digits-0003",
    ]
    assert ids(experiments(root, tags="a", where="number == 1")) == ["digits-0001"]


def test_what_is_listed_can_be_read(root: Path) -> None:
    (found,) = experiments(root, tags="b")
    assert found.metrics()["value"].tolist() == [0.91]
    assert found.params == {"lr": 0.01}


def test_a_damaged_one_hides_no_other(root: Path) -> None:
    (root / "digits-0002" / "experiment.json").write_text("{")
    with pytest.warns(UserWarning, match="digits-0002 is left out: .* is damaged"):
        assert len(experiments(root)) == 3


def test_no_database_is_opened(root: Path) -> None:
    for each in root.glob("*/experiment.sqlite"):
        each.unlink()
    with warnings.catch_warnings():
        assert len(experiments(root, where="params.lr < 1")) == 2


def test_bad_questions(root: Path) -> None:
    with pytest.raises(ExperimentNotFound, match="no folder"):
        experiments(root / "nothing")
    with pytest.raises(ExperimentNotFound, match="no folder"):
        experiments(root / "file")
    with pytest.raises(WrongValue, match="Did you mean 'params'"):
        experiments(root, where="param.lr < 1")
    assert experiments(root / "unrelated") == []


def test_search(tmp_path: Path) -> None:
    for name, tags in (("digits", ["Baseline"]), ("letters", [])):
        Experiment(name, root=tmp_path, tags=tags, description="A first try").close()

    def found(text: str) -> list[str]:
        return [each.name for each in experiments(tmp_path, search=text)]

    assert found("first") == found("") == ["digits", "letters"]
    assert found("FIRST baseline") == ["digits"]
    assert found("second") == []
