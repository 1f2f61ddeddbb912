"""What the pages say is so: every Python snippet runs, every command exists."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.main import get_command

from fireworks.cli import app

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
SNIPPETS = [
    pytest.param(code, id=f"{page.name}:{number}")
    for page in PAGES
    for number, code in enumerate(
        re.findall(r"^```python\n(.*?)^```", page.read_text(), re.M | re.S)
    )
]
TEXT = "\n".join(page.read_text() for page in PAGES)


@pytest.mark.parametrize("code", SNIPPETS)
def test_a_snippet_runs(code, tmp_path):
    script = tmp_path / "snippet.py"
    script.write_text(code)
    done = subprocess.run(
        [sys.executable, script], cwd=tmp_path, capture_output=True, text=True, timeout=100
    )
    assert done.returncode == 0, done.stderr


def test_there_are_snippets():
    assert len(SNIPPETS) >= 2


def commands() -> set[str]:
    return set(get_command(app).commands)  # pyright: ignore[reportAttributeAccessIssue]


def test_every_command_shown_exists():
    shown = set(re.findall(r"^\$ fireworks ([a-z-]+)", TEXT, re.M))
    assert shown
    assert shown <= commands()


def test_every_command_is_shown():
    missing = {name for name in commands() if f"fireworks {name}" not in TEXT}
    assert not missing


def test_links_lead_somewhere():
    for page in PAGES:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_every_make_target_shown_exists():
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.M))
    shown = set(re.findall(r"(?:`|\$ )make ([a-z]+)", TEXT))
    assert {"demo", "test"} <= shown <= targets
