"""What is captured about a run by itself: command, code version, packages, machine, environment."""

from __future__ import annotations

import os
import platform
import re
import socket
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

MASK = "***"
_LONGEST_DIFF = 1_000_000  # characters

_SECRET_NAME = re.compile(
    r"(?i)(key|token|secret|passw|pwd|credential|auth|cookie|private|session|dsn|signature)"
)
# user:password@ in a URL, and tokens that can be told by their form
_SECRET_PARTS = (
    (re.compile(r"(?<=://)[^/@\s:]*:[^/@\s]+(?=@)"), MASK),
    (
        re.compile(r"\b(?:ghp|gho|ghs|github_pat|glpat|hf|sk|pk|xox[abp])[-_][A-Za-z0-9_-]{12,}"),
        MASK,
    ),
    (re.compile(r"\bAKIA[0-9A-Z]{16}\b"), MASK),
    (re.compile(r"\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*"), MASK),
)
_PLAIN_NAMES = frozenset({"SSH_AUTH_SOCK", "XDG_SESSION_ID", "XDG_SESSION_TYPE", "DESKTOP_SESSION"})


def capture() -> dict[str, Any]:
    """Describe this process, its code and its machine, as JSON values; takes milliseconds."""
    return {
        "command": mask_command(sys.orig_argv),
        "folder": os.getcwd(),
        "pid": os.getpid(),
        "host": socket.gethostname(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpu": {"model": _cpu_model(), "cores": os.cpu_count(), "memory": _memory()},
        "gpu": _gpus(),
        "git": _git(),
        "packages": _packages(sys.path),
        "environment": mask_environment(os.environ),
    }


def mask_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment variables, sorted, without the values that look secret."""
    return {
        name: MASK
        if environment[name] and name not in _PLAIN_NAMES and _SECRET_NAME.search(name)
        else _mask_text(environment[name])
        for name in sorted(environment)
    }


def mask_command(arguments: Iterable[str]) -> list[str]:
    """A command line without the values of options such as ``--api-key``."""
    masked: list[str] = []
    hide_next = False
    for each in arguments:
        option, equals, _ = each.partition("=")
        secret = bool(_SECRET_NAME.search(option)) and (option.startswith("-") or bool(equals))
        if hide_next and not each.startswith("-"):
            masked.append(MASK)
        elif secret and equals:
            masked.append(f"{option}={MASK}")
        else:
            masked.append(_mask_text(each))
        hide_next = secret and not equals and option.startswith("-")
    return masked


def _mask_text(text: str) -> str:
    for pattern, replacement in _SECRET_PARTS:
        text = pattern.sub(replacement, text)
    return text


def _git() -> dict[str, Any] | None:
    """The commit and branch of the working folder, and whether tracked files differ from it."""
    command = ["git", "--no-optional-locks", "status", "--porcelain=v2", "--branch"]
    try:
        done = subprocess.run(
            [*command, "--untracked-files=no"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=10,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    if done.returncode != 0:
        return None
    known: dict[str, str] = {}
    dirty = False
    for line in done.stdout.splitlines():
        if line.startswith("# branch."):
            key, _, value = line.removeprefix("# branch.").partition(" ")
            known[key] = value
        else:
            dirty = True
    commit = known.get("oid")
    return {
        "commit": None if commit == "(initial)" else commit,
        "branch": known.get("head"),
        "dirty": dirty,
        "diff": _diff() if dirty and commit != "(initial)" else "",
    }


def _diff() -> str:
    """What tracked files differ by from the commit, without secrets, cut at a megabyte."""
    command = ["git", "--no-optional-locks", "diff", "HEAD", "--no-ext-diff", "--no-textconv"]
    try:
        done = subprocess.run(
            [*command, "--no-color"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=10,
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    text = _mask_text(done.stdout)
    if len(text) > _LONGEST_DIFF:
        text = f"{text[:_LONGEST_DIFF]}\n… cut: {len(text):,} characters in all\n"
    return text


def _packages(search_path: Iterable[str]) -> dict[str, str]:
    """Installed distributions and versions, read from the names of their folders.

    ``importlib.metadata`` would parse a file for each, which takes a hundred times longer.
    """
    found: dict[str, str] = {}
    for place in search_path:
        try:
            names = os.listdir(place or ".")
        except OSError:
            continue
        for each in names:
            if each.endswith(".dist-info"):
                name, _, version = each.removesuffix(".dist-info").partition("-")
                found.setdefault(name.lower().replace("_", "-"), version)
    return dict(sorted(found.items()))


def _cpu_model() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.lower().startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _memory() -> int | None:
    """The machine's memory in bytes."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError):
        return None


def _gpus() -> list[str]:
    """The models of the GPUs, as the driver names them: asking CUDA would start it."""
    models: list[str] = []
    for each in sorted(Path("/proc/driver/nvidia/gpus").glob("*/information")):
        try:
            lines = each.read_text().splitlines()
        except OSError:
            continue
        models += [line.partition(":")[2].strip() for line in lines if line.startswith("Model:")]
    return models
