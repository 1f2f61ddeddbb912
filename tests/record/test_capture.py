import importlib.metadata
import json
import os
import subprocess
from pathlib import Path

import pytest

from fireworks.record.capture import capture, mask_command, mask_environment


def test_secrets_of_the_environment_are_masked() -> None:
    masked = mask_environment(
        {
            "HOME": "/home/x",
            "AWS_SECRET_ACCESS_KEY": "abc",
            "WANDB_API_KEY": "abc",
            "GITHUB_TOKEN": "abc",
            "DB_PASSWORD": "abc",
            "MYSQL_PWD": "abc",
            "EMPTY_TOKEN": "",
            "DATABASE_URL": "postgresql://ann:hunter2@host/db",
            "PIP_INDEX_URL": "https://user:pass@host/simple",
            "NOTE": "the token is ghp_abcdefghijklmnopqrstuvwxyz012345",
            "OTHER": "key AKIAABCDEFGHIJKLMNOP here",
        }
    )
    assert masked == {
        "HOME": "/home/x",
        "AWS_SECRET_ACCESS_KEY": "***",
        "WANDB_API_KEY": "***",
        "GITHUB_TOKEN": "***",
        "DB_PASSWORD": "***",
        "MYSQL_PWD": "***",
        "EMPTY_TOKEN": "",
        "DATABASE_URL": "postgresql://***@host/db",
        "PIP_INDEX_URL": "https://***@host/simple",
        "NOTE": "the token is ***",
        "OTHER": "key *** here",
    }


def test_secrets_of_the_command_line_are_masked() -> None:
    command = ["train.py", "--api-key=abc", "--password", "abc", "--lr", "0.1", "TOKEN=abc", "key"]
    assert mask_command([*command, "sqlite://a:b@c/d"]) == [
        "train.py",
        "--api-key=***",
        "--password",
        "***",
        "--lr",
        "0.1",
        "TOKEN=***",
        "key",
        "sqlite://***@c/d",
    ]


def test_what_is_captured_is_json_and_true() -> None:
    found = capture()
    assert json.loads(json.dumps(found)) == found
    assert found["pid"] == os.getpid()
    assert found["packages"]["torch"] == importlib.metadata.version("torch")
    assert found["packages"]["scikit-learn"] == importlib.metadata.version("scikit-learn")
    assert found["cpu"]["cores"] == os.cpu_count()
    assert found["cpu"]["memory"] > 2**28


def test_the_git_commit_and_whether_it_is_dirty(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def git(*arguments: str) -> str:
        command = ["git", "-c", "user.name=a", "-c", "user.email=a@b", *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    monkeypatch.chdir(tmp_path)
    assert capture()["git"] is None
    git("init", "-q", "-b", "main")
    assert capture()["git"] == {"commit": None, "branch": "main", "dirty": False, "diff": ""}
    Path("a.py").write_text("1")
    git("add", "a.py")
    git("commit", "-q", "-m", "one")
    commit = git("rev-parse", "HEAD")
    assert capture()["git"] == {"commit": commit, "branch": "main", "dirty": False, "diff": ""}
    Path("a.py").write_text("ghp_abcdefghijklmnop")
    dirty = capture()["git"]
    assert dirty["dirty"]
    assert dirty["diff"].splitlines()[-4:-1] == ["-1", "\\ No newline at end of file", "+***"]
    monkeypatch.setattr("fireworks.record.capture._LONGEST_DIFF", 20)
    assert capture()["git"]["diff"].splitlines()[1].startswith("… cut: ")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert capture()["git"] is None  # no git installed
