"""The commands for figures, tables, archives and deleting."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from fireworks.experiment import Experiment, load_experiment

COMMAND = Path(sys.executable).parent / "fireworks"


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    for number, lr in enumerate((0.5, 0.1, 0.3)):
        with Experiment("digits", root=tmp_path / "runs", parameters={"lr": lr}) as experiment:
            for step in range(4):
                experiment.log({"train/loss": lr * step, "valid/loss": 1.0 * step}, step=step)
            if not number:
                experiment.plot("stored", y="train/loss")
    return tmp_path


def run(folder: Path, *arguments: object, given: str = "", code: int = 0) -> str:
    done = subprocess.run(
        [COMMAND, *map(str, arguments)],
        cwd=folder,
        env=dict(os.environ, NO_COLOR="1"),
        input=given,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout if code == 0 else done.stderr


def test_plot_writes_a_page(runs: Path) -> None:
    out = run(runs, "plot", "digits-0001", "loss", "--smooth", 0.6, "--out", "loss.html")
    assert out == "loss.html\n"
    assert "plotly" in (runs / "loss.html").read_text()
    run(runs, "plot", "digits-0001", "loss", "--smooth", 0.6, "--out", "loss.csv")
    table = pd.read_csv(runs / "loss.csv")
    assert set(table["curve"]) == {"train/loss", "valid/loss"}
    assert not table["raw"].equals(table["y"])


def test_plot_of_several_runs_and_of_stored_figures(runs: Path) -> None:
    run(runs, "plot", "digits-0001", "train/loss", "--with", "digits-0002", "--out", "a.csv")
    assert set(pd.read_csv(runs / "a.csv")["curve"]) == {"digits-0001", "digits-0002"}
    run(runs, "plot", "runs/digits-0001", "stored", "--out", "b.json")
    assert json.loads((runs / "b.json").read_text())["layout"]["title"]["text"] == "stored"
    arguments = ["--kind", "histogram", "--set", "bins=3", "--set", "by=name", "--out", "c.csv"]
    run(runs, "plot", "digits-0001", "all", *arguments)
    assert len(pd.read_csv(runs / "c.csv")) == 6


def test_plot_of_a_stored_figure_takes_options_of_its_kind(runs: Path) -> None:
    run(runs, "plot", "digits-0001", "stored", "--out", "a.csv")
    run(runs, "plot", "digits-0001", "stored", "--smooth", 0.9, "--out", "b.csv")
    plain, smooth = pd.read_csv(runs / "a.csv"), pd.read_csv(runs / "b.csv")
    assert plain["y"].equals(plain["raw"])
    assert not smooth["y"].equals(smooth["raw"])
    for wrong in (["--smooth", "1.5"], ["--band", "x"], ["--x", "epoch"], ["--set", "kind=1"]):
        message = run(runs, "plot", "digits-0001", "stored", *wrong, code=1)
        assert message.startswith("error: ")
        assert message.count("\n") == 1
    stored = load_experiment(runs / "runs" / "digits-0001").figures["stored"]
    assert stored.spec.options == {}


def test_plot_says_what_is_wrong(runs: Path) -> None:
    assert "Did you mean 'train/loss'" in run(runs, "plot", "digits-0001", "train/los", code=1)
    assert "must end in one of" in run(
        runs, "plot", "digits-0001", "loss", "--out", "x.gif", code=1
    )
    assert "NAME=VALUE" in run(runs, "plot", "digits-0001", "loss", "--set", "x", code=1)
    assert "cannot say 'y'" in run(runs, "plot", "digits-0001", "loss", "--set", "y=3", code=1)
    nowhere = run(runs, "plot", "digits-0001", "loss", "--out", "no/x.html", code=1)
    assert "There is no folder 'no'" in nowhere
    assert "neither a metric nor a figure ''" in run(runs, "plot", "digits-0001", "", code=1)
    assert not list(runs.glob("*.html"))


def test_archive_and_restore(runs: Path) -> None:
    assert run(runs, "archive", "digits-0001") == "runs/digits-0001.zip\n"
    assert run(runs, "restore", "runs/digits-0001.zip", "--root", "new") == "new/digits-0001\n"
    assert load_experiment(runs / "new" / "digits-0001").params == {"lr": 0.5}
    assert "there already" in run(runs, "restore", "runs/digits-0001.zip", code=1)
    assert "is a folder" in run(runs, "archive", "digits-0001", "--out", "runs", code=1)
    (runs / "file").write_text("x")
    wrong = run(runs, "restore", "runs/digits-0001.zip", "--root", "file", code=1)
    assert wrong == "error: root='file' is not a folder, and not below one.\n"
    wrong = run(runs, "archive", "digits-0001", "--out", "/proc/x.zip", code=1)
    assert wrong == "error: [Errno 2] No such file or directory: '/proc/x.zip'\n"


def test_export(runs: Path) -> None:
    assert run(runs, "export", "digits-0002", "metrics") == "metrics.csv\n"
    assert len(pd.read_csv(runs / "metrics.csv")) == 8
    assert "Did you mean 'params'" in run(runs, "export", "digits-0002", "param", code=1)


def test_rm_asks(runs: Path) -> None:
    assert "kept" in run(runs, "rm", "digits-0001", given="n\n")
    assert (runs / "runs" / "digits-0001").is_dir()
    run(runs, "rm", "digits-0001", code=1)  # nobody answers
    assert (runs / "runs" / "digits-0001").is_dir()
    assert "Did you mean" in run(runs, "rm", "-y", "digits-0001", "digits-000", code=1)
    assert (runs / "runs" / "digits-0001").is_dir()  # all are found before any is deleted
    assert "deleted" in run(runs, "rm", "digits-0001", given="y\n")
    assert run(runs, "rm", "--yes", "digits-0002", "digits-0002").count("deleted") == 1
    assert os.listdir(runs / "runs") == ["digits-0003"]


def test_gc(runs: Path) -> None:
    assert run(runs, "gc") == "nothing is left over\n"
    (runs / "runs" / ".new-x").mkdir()
    assert "would delete 1" in run(runs, "gc", "--hours", 0, "--dry-run")
    assert "deleted 1" in run(runs, "gc", "--hours", 0)
    assert not (runs / "runs" / ".new-x").exists()


def test_list_sorts_and_chooses_columns(runs: Path) -> None:
    def order(*arguments: str) -> list[str]:
        lines = run(runs, "list", *arguments).splitlines()
        return [line.split()[0] for line in lines if "digits-" in line]

    assert order("--sort", "params.lr") == ["digits-0002", "digits-0003", "digits-0001"]
    assert order("--sort=-metrics.train/loss") == ["digits-0001", "digits-0003", "digits-0002"]
    assert order("--search", "DIGITS 0002 lr") == ["digits-0002"]
    assert order("--search", "letters") == []
    assert order("--sort", "name", "--limit", "2") == ["digits-0001", "digits-0002"]
    shown = run(runs, "list", "--column", "params.lr", "--column", "metrics.valid/loss")
    assert "params.lr" in shown
    assert "0.3" in shown
    assert "tags" not in shown
    assert "No run has" in run(runs, "list", "--sort", "parms.lr", code=1)
    assert "Did you mean 'completed'" in run(runs, "list", "--status", "complete", code=1)
