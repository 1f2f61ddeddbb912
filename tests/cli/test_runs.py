"""The real console command, in processes of its own: list, show, compare."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from fireworks.experiment import Experiment, open_attempt

COMMAND = Path(sys.executable).parent / "fireworks"
HEAVY = ("torch", "pandas", "numpy", "sqlalchemy", "ignite", "optuna", "pyarrow")


def run(
    *arguments: object, cwd: Path, columns: int | None = None
) -> "subprocess.CompletedProcess[str]":
    environment = dict(os.environ, NO_COLOR="1")
    if columns is not None:
        environment["COLUMNS"] = str(columns)
    return subprocess.run(
        [COMMAND, *map(str, arguments)],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )


def shown(*arguments: object, cwd: Path) -> str:
    done = run(*arguments, cwd=cwd)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def refused(*arguments: object, cwd: Path, code: int = 1) -> str:
    done = run(*arguments, cwd=cwd)
    assert done.returncode == code
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    if code == 1:
        assert done.stderr.startswith("error: ")
        assert done.stderr.count("\n") == 1
    return done.stderr


def row(output: str, first: str) -> list[str]:
    """The cells of the line of a table that begins with a word."""
    for line in output.splitlines():
        if line.split()[:1] == [first]:
            return line.split()
    raise AssertionError(f"no line begins with {first!r}:\n{output}")


def position(output: str, *words: str) -> list[int]:
    return [output.index(word) for word in words]


def sweep(root: Path, scale: float, *, close: bool = True) -> Experiment:
    experiment = Experiment(
        "digits", root=root, description="two layers", tags=["demo"], parameters={"data": "digits"}
    )
    record = experiment.sweep
    record.set_objective([("accuracy", "maximize")])
    for trial, accuracy in enumerate([0.91, 0.97, 0.95, None, None]):
        record.add_trial(trial, seed=trial, params={"lr": scale * (trial + 1), "optimizer": "sgd"})
        if trial == 4:
            continue
        attempt = record.start_attempt(trial, host="here")
        with open_attempt(experiment.path, trial, attempt) as writer:
            for step in range(3):
                writer.log({"valid/accuracy": 0.3 * step, "train/loss": 1 / (step + 1)}, step=step)
                record.report(trial, attempt, step, 0.125 * (step + 1))
        if accuracy is None:
            record.finish_attempt(
                trial, attempt, state="failed", signal=9, reason="killed from outside"
            )
        else:
            record.finish_attempt(
                trial, attempt, state="completed", result={"accuracy": accuracy * scale * 10}
            )
    if close:
        experiment.close()
    return experiment


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two finished sweeps and a plain run."""
    folder = tmp_path_factory.mktemp("place")
    sweep(folder / "runs", 0.1)
    sweep(folder / "runs", 0.05)
    with Experiment("plain", root=folder / "runs", parameters={"lr": 0.5}) as experiment:
        experiment.log(loss=0.25, step=1)
        experiment.log(loss=0.5, step=2)
        experiment.log(loss=float("nan"), step=3)
        experiment.notes.append("looks odd")
    return folder


def test_list(place: Path) -> None:
    output = shown("list", cwd=place)
    assert position(output, "plain-0001", "digits-0002", "digits-0001") == sorted(
        position(output, "plain-0001", "digits-0002", "digits-0001")
    )  # newest first
    assert "best accuracy 0.97 (trial 1)" in output
    assert "3 completed, 1 failed, 1 queued" in output
    assert row(output, "plain-0001")[1] == "completed"
    assert "loss nan" in output
    assert shown("list", "runs", cwd=place) == output
    assert shown("list", place / "runs", cwd=Path("/")) == output


def test_list_filters(place: Path) -> None:
    assert "plain-0001" not in shown("list", "--tag", "demo", cwd=place)
    output = shown("list", "--where", "params.lr < 1", cwd=place)
    assert "plain-0001" in output
    assert "digits" not in output
    assert "No experiments that fit in runs" in shown("list", "--status", "failed", cwd=place)


def test_list_of_an_empty_folder(tmp_path: Path) -> None:
    assert shown("list", tmp_path, cwd=tmp_path) == f"No experiments in {tmp_path}.\n"


def test_list_names_a_damaged_run_and_shows_the_others(tmp_path: Path) -> None:
    for _ in range(2):
        Experiment("digits", root=tmp_path).close()
    (tmp_path / "digits-0001" / "experiment.json").write_text("{")
    done = run("list", tmp_path, cwd=tmp_path)
    assert done.returncode == 0
    assert "digits-0002" in done.stdout
    assert done.stderr.startswith("warning: digits-0001 is left out")


def test_show_a_sweep(place: Path) -> None:
    output = shown("show", "runs/digits-0001", cwd=place)
    assert row(output, "status")[1] == "completed"
    for label in ("started", "ended", "command", "host", "two layers", "demo"):
        assert label in output
    assert row(output, "data") == ["data", "digits"]
    assert "5 trials: 3 completed, 1 queued, 1 failed" in output
    trials = [
        line.split()
        for line in output.splitlines()
        if line.split()[1:2] and line[:6].strip().isdigit()
    ]
    assert [each[0] for each in trials] == ["1", "2", "0", "4", "3"]  # best first
    assert trials[0][1:5] == ["completed", "0.2", "sgd", "0.97"]
    assert "SIGKILL: killed from outside" in output
    assert "0.375" in " ".join(trials[4])  # what the failed trial last reported
    assert "Metrics of the best trial, 1" in output
    accuracy = row(output, "valid/accuracy")
    assert accuracy[1:5] == ["0.6", "2", "0.6", "↑"]
    assert row(output, "train/loss")[4] == "↓"


def test_show_a_plain_run(place: Path) -> None:
    output = shown("show", "plain-0001", cwd=place)
    assert row(output, "lr") == ["lr", "0.5"]
    assert row(output, "loss") == ["loss", "nan", "3", "0.25", "↓", "1"]
    assert "note: looks odd" in output
    assert "trial" not in output.replace("--trials", "")


def test_show_leaves_the_folder_as_it_is(place: Path) -> None:
    folder = place / "runs" / "digits-0001"
    before = sorted(os.listdir(folder)), folder.stat().st_mtime_ns
    shown("show", folder, cwd=place)
    assert (sorted(os.listdir(folder)), folder.stat().st_mtime_ns) == before


def test_show_a_running_and_a_killed_sweep(tmp_path: Path) -> None:
    experiment = sweep(tmp_path / "runs", 0.1, close=False)
    experiment.sweep.start_attempt(4, host="here")
    assert row(shown("show", "digits-0001", cwd=tmp_path), "status") == ["status", "running"]
    assert "running" in row(shown("list", cwd=tmp_path), "digits-0001")
    experiment.close()
    index = json.loads((experiment.path / "experiment.json").read_text())
    (experiment.path / "experiment.json").write_text(json.dumps({**index, "status": "running"}))
    assert row(shown("show", "digits-0001", cwd=tmp_path), "status")[1] == "killed"
    assert row(shown("list", cwd=tmp_path), "digits-0001")[1] == "killed"
    output = shown("show", "digits-0001", cwd=tmp_path)
    assert row(output, "4")[1] == "killed"
    assert "1 killed" in output


def test_compare_two_sweeps(place: Path) -> None:
    output = shown("compare", "runs/digits-0001", "digits-0002", cwd=place)
    assert row(output, "best") == ["best", "trial", "1", "of", "5", "1", "of", "5"]
    assert row(output, "lr") == ["lr", "0.2", "0.1"]
    assert row(output, "accuracy") == ["accuracy", "0.97", "0.485", "-0.485"]
    assert "optimizer" not in output  # it does not differ
    assert row(output, "valid/accuracy")[2:] == ["0.6", "0.6", "0.6", "0.6", "+0"]


def test_compare_different_kinds(place: Path) -> None:
    output = shown("compare", "runs/digits-0001", "runs/plain-0001", cwd=place)
    assert row(output, "data") == ["data", "digits", "—"]
    assert row(output, "lr") == ["lr", "0.2", "0.5"]
    assert row(output, "loss")[2:] == ["—", "nan", "—", "0.25"]
    equal = shown("compare", "runs/plain-0001", "runs/plain-0001", cwd=place)
    assert "All parameters are equal." in equal


def test_what_is_not_there(place: Path) -> None:
    assert "Did you mean 'digits-0001'" in refused("show", "digits-001", cwd=place)
    assert "Did you mean 'runs/digits-0001'" in refused("show", "runs/digit-0001", cwd=place)
    assert "no folder 'nothing'" in refused("list", "nothing", cwd=place)
    assert "not that of an experiment" in refused("show", "runs", cwd=place)
    assert "nothing-1" in refused("compare", "digits-0001", "nothing-1", cwd=place)
    assert "no experiments in 'none'" in refused("show", "x", "--root", "none", cwd=place)
    assert "Did you mean 'status'" in refused("list", "--where", "statu == 1", cwd=place)


def test_a_newer_run(tmp_path: Path) -> None:
    Experiment("digits", root=tmp_path).close()
    index = json.loads((tmp_path / "digits-0001/experiment.json").read_text())
    (tmp_path / "digits-0001/experiment.json").write_text(json.dumps({**index, "version": 99}))
    assert "newer release" in refused("show", tmp_path / "digits-0001", cwd=tmp_path)


def test_wrong_usage(place: Path) -> None:
    assert "Usage" in refused("show", cwd=place, code=2)
    assert "No such option" in refused("list", "--nothing", cwd=place, code=2)
    assert "No such command" in refused("nothing", cwd=place, code=2)


def test_help(place: Path) -> None:
    output = shown("--help", cwd=place)
    for command in ("list", "show", "compare"):
        assert command in output
        assert "Usage" in shown(command, "--help", cwd=place)


def test_hostile_text_steers_no_terminal(tmp_path: Path) -> None:
    hostile = "\x1b]0;title\x07 [red]x[/red] \x1b[2J"
    with Experiment(
        "digits", root=tmp_path, description=hostile, tags=[hostile], parameters={hostile: hostile}
    ) as experiment:
        experiment.log({hostile: 1.0}, step=1)
        experiment.notes.append(hostile)
    for arguments in (
        ("list", tmp_path),
        ("show", experiment.path),
        ("compare", experiment.path, experiment.path),
    ):
        output = shown(*arguments, cwd=tmp_path)
        assert "\x1b" not in output
        assert "\x07" not in output
    assert "[red]x[/red]" in shown("show", experiment.path, cwd=tmp_path)


def test_nothing_is_cut_off_in_a_pipe(tmp_path: Path) -> None:
    long = "x" * 400
    Experiment("digits", root=tmp_path, parameters={"long": long}).close()
    assert long in run("show", tmp_path / "digits-0001", cwd=tmp_path, columns=40).stdout


def test_a_reader_that_goes_away_is_no_error(place: Path) -> None:
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {COMMAND} list | true"],
        cwd=place,
        capture_output=True,
        text=True,
    )
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["list"],
        ["show", "runs/digits-0001"],
        ["compare", "digits-0001", "digits-0002"],
    ],
)
def test_nothing_heavy_is_imported(place: Path, arguments: list[str]) -> None:
    script = f"""
import sys
from fireworks.cli import main
sys.argv = ["fireworks", *{arguments!r}]
try:
    main()
except SystemExit as end:
    assert not end.code, end.code
print("loaded:", [each for each in {HEAVY!r} if each in sys.modules])
"""
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=place, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "loaded: []"
