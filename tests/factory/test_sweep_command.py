"""``fireworks sweep``, run as a user runs it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fireworks.cli import main
from fireworks.cli.sweep import load_module
from fireworks.experiment import load_experiment
from fireworks.factory.transport import found_afresh

FILE = """
from pathlib import Path
from neighbour import offset

maximize = "accuracy"

def prepare():
    Path("prepared").touch()

def train(trial):
    assert Path("prepared").exists()
    return {"accuracy": trial.params["x"] + offset, "module": 0 if __name__ == "tuned" else 1}

def space(trial):
    return {"x": trial.suggest_float("x", 0, 1)}

if __name__ == "__main__":
    raise SystemExit("not to be run")
"""


def fireworks(
    folder: Path, *arguments: str, command: str = "sweep"
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [Path(sys.executable).with_name("fireworks"), command, *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "neighbour.py").write_text("offset = 1")
    (tmp_path / "tuned.py").write_text(FILE)
    (tmp_path / "not-a-name.py").write_text(FILE)
    yield tmp_path
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", None)).startswith(str(tmp_path)):
            del sys.modules[name]


def test_a_file_is_swept(folder: Path) -> None:
    done = fireworks(folder, "tuned.py", "--trials", "3", "--workers", "2", "--seed", "7")
    assert done.returncode == 0, done.stderr
    assert "fireworks show runs/tuned-0001" in done.stdout and "3/3 trials" in done.stderr
    with load_experiment(folder / "runs" / "tuned-0001") as experiment:
        results = [json.loads(each) for each in experiment.sql("SELECT * FROM trials")["result"]]
    assert len(results) == 3 and {each["module"] for each in results} == {0.0}


CONFIG = """
[sweep]
source = "tuned.py"
trials = 2
seed = 3
maximize = "accuracy"
sampler = "random"

[space]
x = { low = 0.25, high = 0.5 }
kind = ["a", "b"]
"""


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_configured_sweep_is_swept_and_goes_on(folder: Path) -> None:
    (folder / "fireworks.toml").write_text(CONFIG)
    done = fireworks(folder)
    assert done.returncode == 0, done.stderr
    run = folder / "runs" / "tuned-0001"
    with load_experiment(run) as experiment:
        assert experiment.file("fireworks.toml").read_text() == CONFIG
        params = experiment.trials["params.x"]
        assert len(params) == 2 and params.between(0.25, 0.5).all()

    done = fireworks(folder, "tuned-0001", command="resume")
    assert done.returncode == 1 and "More trials: --trials" in done.stderr
    (folder / "tuned.py").write_text(FILE.replace("+ offset", "+ 2 * offset"))
    done = fireworks(folder, "tuned-0001", "--trials", "3", command="resume")
    assert done.returncode == 1 and "+ 2 * offset" in done.stderr and "--force" in done.stderr
    done = fireworks(folder, "tuned-0001", "--trials", "3", "--force", command="resume")
    assert done.returncode == 0, done.stderr
    with load_experiment(run) as experiment:
        trials = experiment.trials
    assert trials["state"].tolist() == ["completed"] * 3 and trials["attempt"].tolist() == [1] * 3
    assert trials["params.x"].tolist()[:2] == params.tolist()
    assert float(trials["result.accuracy"][2]) > 2


@pytest.mark.parametrize("source", ["tuned.py", "tuned", "not-a-name.py", "tokenize.py"])
def test_files_and_modules_are_loaded(
    folder: Path, source: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "tokenize.py").write_text(FILE)  # the name of a module that is loaded already
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", [*sys.path])
    module = load_module(source)
    assert module.maximize == "accuracy" and callable(module.train)
    assert module.__file__ == str(folder / f"{source.removesuffix('.py')}.py")
    assert found_afresh(module.__name__) == source.startswith("tuned")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["missing.py"], "there is no file 'missing.py'"),
        (["missing.module"], "neither a file nor a module 'missing.module'"),
        (["neighbour.py"], "defines no function train(trial)"),
        (["broken.py"], "broken.py cannot be imported: ZeroDivisionError"),
        (["tuned.py", "--maximize", "a", "--minimize", "b"], "either --maximize NAME or"),
        (["nospace.py"], "no function space(trial), which a sweep needs. Did you mean 'spaces'?"),
        (["goalless.py"], "one objective"),
        (["typo.toml"], "typo.toml: [sweep] has no key 'trails'; there are"),
        (["nowhere.toml"], "there is no file 'nowhere.toml'"),
        (["tuned.py", "--root", "tuned.py/runs"], "tuned.py"),
    ],
)
def test_a_mistake_is_one_clear_line(folder: Path, arguments: list[str], message: str) -> None:
    (folder / "typo.toml").write_text("[sweep]\ntrails = 3")
    (folder / "broken.py").write_text("x = 1\nx / 0")
    (folder / "nospace.py").write_text("def train(trial): ...\ndef spaces(trial): ...")
    (folder / "goalless.py").write_text("def train(trial): ...\ndef space(trial): ...")
    done = fireworks(folder, *arguments, "--trials", "3")
    assert done.returncode == 1
    assert message in done.stderr and done.stderr.startswith("error: ")
    assert len(done.stderr.splitlines()) == 1 and done.stdout == ""
    assert not (folder / "runs").exists()


def test_a_sweep_that_fails_says_why(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", [*sys.path])
    command = "fireworks sweep not-a-name.py --trials 9 --maximize acuracy"
    monkeypatch.setattr(sys, "argv", command.split())
    with pytest.raises(SystemExit, match="1"):
        main()
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("error: no trial of") and "Did you mean 'accuracy'?" in last
