"""How functions travel to other processes, and what is said of those that cannot."""

from __future__ import annotations

import json.decoder
import subprocess
import sys
import threading
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fireworks.errors import WrongType, WrongValue
from fireworks.factory.transport import MAX_BYTES, Transport, found_afresh

SMALL = 3


def uses_small(value: int) -> int:
    return value + SMALL


def run_afresh(function: Callable[..., Any], argument: int, tmp_path: Path) -> str:
    """Call the function in a new interpreter that knows nothing of this module."""
    transport = Transport(function)
    code = (
        "import sys; from fireworks.factory.transport import load_function\n"
        "name = sys.argv[1].split(':') if sys.argv[1] else None\n"
        "file = int(sys.argv[2]) if sys.argv[2] else None\n"
        "print(load_function(name, file)(int(sys.argv[3])))"
    )
    with transport.file() as file:
        arguments = [":".join(transport.name or []), "" if file is None else str(file)]
        for _ in range(2):  # the file is read by every attempt
            done = subprocess.run(
                [sys.executable, "-c", code, *arguments, str(argument)],
                pass_fds=[] if file is None else [file],
                capture_output=True,
                text=True,
                check=False,
                cwd=tmp_path,
            )
    return done.stdout.strip() or done.stderr


def test_an_importable_function_travels_by_name() -> None:
    transport = Transport(json.decoder.JSONDecoder)
    assert transport.name == ["json.decoder", "JSONDecoder"]
    assert transport.required == ["json.decoder"]
    with transport.file() as file:
        assert file is None


def test_other_functions_travel_by_value(tmp_path: Path) -> None:
    offset = 40

    def closure(value: int) -> int:
        return uses_small(value) + offset

    assert run_afresh(closure, 1, tmp_path) == "44"
    assert "numpy" in Transport(closure).modules


def test_a_module_that_nobody_else_finds_travels_by_value(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = types.ModuleType("a_file_loaded_by_its_path")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    code = "three = 3\ndef helper(x): return x * three\ndef function(x): return helper(x)"
    exec(code, vars(module))
    assert Transport(module.function).name is None
    assert run_afresh(module.function, 2, tmp_path) == "6"


def test_found_afresh_looks_where_a_new_interpreter_would(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert found_afresh("json.decoder") and found_afresh("sys") and found_afresh("numpy")
    assert not found_afresh("__main__") and not found_afresh("no_such_module")
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    for folder in ("one", "two"):
        (tmp_path / folder / "a_module_for_this_test.py").write_text(f"where = {folder!r}")
    monkeypatch.syspath_prepend(str(tmp_path / "one"))
    import a_module_for_this_test  # pyright: ignore[reportMissingImports]

    assert a_module_for_this_test.where == "one"
    assert found_afresh("a_module_for_this_test")
    monkeypatch.syspath_prepend(str(tmp_path / "two"))  # another file by the same name
    assert not found_afresh("a_module_for_this_test")
    del sys.modules["a_module_for_this_test"]


@pytest.mark.parametrize("name", ["uses_large", "calls_one_that_uses_large"])
def test_a_large_global_is_named(name: str) -> None:
    script: dict[str, Any] = {"__name__": "a_script", "LARGE": np.zeros(MAX_BYTES // 8 + 1000)}
    code = (
        "def uses_large(trial): return LARGE[0]\n"
        "def calls_one_that_uses_large(trial): return [uses_large(each) for each in trial]"
    )
    exec(code, script)
    with pytest.raises(WrongValue, match=r"10 MB.*at most 10.*'LARGE' \(ndarray, 10\.0 MB\)"):
        Transport(script[name])


def test_a_large_value_of_a_closure_is_named() -> None:
    images = b"x" * (MAX_BYTES + 1)
    with pytest.raises(WrongValue, match=r"'images' \(bytes"):
        Transport(lambda trial: len(images))


def test_what_cannot_be_pickled_is_named() -> None:
    lock = threading.Lock()
    with pytest.raises(WrongType, match=r"'lock' \(lock, cannot be pickled\).*inside train"):
        Transport(lambda trial: lock)
