"""What makes a sweep the same sweep: its goal, its space and its code; and what has changed."""

from __future__ import annotations

import difflib
import functools
import hashlib
import inspect
import sys
import sysconfig
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import CodeType, FunctionType, MethodType
from typing import Any, cast

from fireworks.factory.transport import names_used

_MOST_LINES = 12  # of a difference that are shown


def code_of(function: object) -> dict[str, str]:
    """The source text of a function and of what it uses of its user's own modules, by name.

    What is installed (torch, Fireworks itself) is left out: the experiment records its versions.
    Where there is no source, a checksum of the compiled code stands for it.
    """
    found: dict[str, str] = {}
    waiting: list[object] = [function]
    while waiting:
        current = waiting.pop()
        if isinstance(current, functools.partial):
            waiting += [current.func, *current.args, *current.keywords.values()]
            continue
        if isinstance(current, MethodType):
            waiting += [current.__func__, type(current.__self__)]
            continue
        if not isinstance(current, (FunctionType, type)):
            if not callable(current) or not _is_users(type(current)):
                continue
            current = type(current)
        name = f"{current.__module__}.{current.__qualname__}"
        if name in found or not _is_users(current):
            continue
        found[name] = _source(current)
        waiting += _used(current)
    return found


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What differs between two descriptions of a sweep, for a message; empty where nothing does.

    What only one of them says anything of is no difference.
    """
    changed: list[str] = []
    for name in before.keys() & now.keys():
        if before[name] == now[name]:
            continue
        if name.startswith("code of "):
            changed.append(f"the {name} has changed:\n{_diff(before[name], now[name])}")
        else:
            changed.append(f"{name} was {before[name]!r:.300} and is now {now[name]!r:.300}")
    return sorted(changed)


def _used(value: FunctionType | type) -> Iterator[object]:
    """What a function, or the functions of a class, take from outside."""
    functions = [value] if isinstance(value, FunctionType) else list(vars(value).values())
    if isinstance(value, type):
        yield from value.__bases__
    for each in functions:
        if not isinstance(each, FunctionType):
            continue
        for name in names_used(each.__code__):
            if name in each.__globals__:
                yield each.__globals__[name]
        for cell in each.__closure__ or ():
            try:
                yield cell.cell_contents
            except ValueError:  # a variable that is not assigned yet
                continue


def _is_users(value: FunctionType | type) -> bool:
    """Whether something is defined in a module that was not installed."""
    module = sys.modules.get(value.__module__)
    file = getattr(module, "__file__", None)
    if module is None or value.__module__.partition(".")[0] == "fireworks":
        return False
    if file is None:
        return value.__module__ == "__main__"  # a notebook's cells
    path = Path(file).resolve()
    paths = sysconfig.get_paths()
    installed = {Path(paths[each]).resolve() for each in ("stdlib", "purelib", "platlib")}
    return not any(path.is_relative_to(each) for each in installed)


def _source(value: FunctionType | type) -> str:
    try:
        return inspect.cleandoc(inspect.getsource(value))
    except (OSError, TypeError):  # typed at a prompt, or made by exec
        functions = [value] if isinstance(value, FunctionType) else vars(value).values()
        codes = [each.__code__ for each in functions if isinstance(each, FunctionType)]
        digest = hashlib.sha256("".join(map(_fingerprint, codes)).encode())
        return f"(no source; sha256 {digest.hexdigest()})"


def _fingerprint(code: CodeType) -> str:
    constants = [
        _fingerprint(each) if isinstance(each, CodeType) else repr(each) for each in code.co_consts
    ]
    return f"{code.co_code.hex()} {constants} {code.co_names}"


def _diff(before: object, now: object) -> str:
    old, new = (cast("dict[str, str]", each) for each in (before, now))
    lines: list[str] = []
    for name in sorted(old.keys() | new.keys()):
        if old.get(name) == new.get(name):
            continue
        a, b = (each.get(name, "").splitlines() for each in (old, new))
        lines += [f"  {name}:"]
        lines += [
            f"    {line}"
            for line in difflib.unified_diff(a, b, lineterm="", n=0)
            if not line.startswith(("---", "+++", "@@"))
        ]
    if len(lines) > _MOST_LINES:
        lines = [*lines[:_MOST_LINES], f"    … and {len(lines) - _MOST_LINES} lines more"]
    return "\n".join(lines)
