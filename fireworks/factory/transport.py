"""How ``train`` reaches the processes that run it: by its import name, else by cloudpickle."""

from __future__ import annotations

import importlib
import os
import pickle
import sys
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from functools import reduce
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

import cloudpickle

from fireworks.errors import WrongType, WrongValue

MAX_BYTES = 10_000_000


class Transport:
    """A function made ready to travel.

    Args:
        function: What every trial calls.

    Attributes:
        name: ``[module, qualified name]`` where a fresh interpreter can import it, else None.
        required: The module that it is imported from, where it travels by name.
        modules: What its own module imports, where it does not: worth importing before forking.

    Raises:
        WrongType: It is no callable, or something that it uses cannot be pickled; named.
        WrongValue: It drags in more than 10 MB; what it drags in is named.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        if not callable(function):
            raise WrongType(f"train must be a function of a trial, not {function!r}")
        self.name = import_name(function)
        self._content = b"" if self.name else _pickled(function)
        self.required = [self.name[0]] if self.name else []
        self.modules = [] if self.name else _modules_used(function)

    @contextmanager
    def file(self) -> Generator[int | None]:
        """A descriptor of an unnamed file with the pickle; None where a name is enough."""
        if self.name:
            yield None
            return
        descriptor = os.memfd_create("fireworks-train")
        try:
            with open(descriptor, "wb", closefd=False) as file:
                file.write(self._content)
            yield descriptor
        finally:
            os.close(descriptor)


def load_function(name: list[str] | None, file: int | None) -> Callable[..., Any]:
    """The function that travelled, in the process that it reached."""
    if name is not None:
        return _attribute(importlib.import_module(name[0]), name[1])
    assert file is not None
    size = os.fstat(file).st_size
    # Not read(): all attempts share the file's position.
    return pickle.loads(os.pread(file, size, 0))


def import_name(function: object) -> list[str] | None:
    """Module and qualified name by which a fresh interpreter imports it; None: it cannot."""
    module = getattr(function, "__module__", None)
    name = getattr(function, "__qualname__", None)
    if not isinstance(module, str) or not isinstance(name, str) or not found_afresh(module):
        return None
    try:
        same = _attribute(sys.modules[module], name) is function
    except AttributeError:  # a function defined in a function
        return None
    return [module, name] if same else None


def _attribute(module: ModuleType, qualified_name: str) -> Any:
    return reduce(getattr, qualified_name.split("."), module)


def found_afresh(name: str) -> bool:
    """Whether a fresh interpreter with our ``sys.path`` finds this very module by its name."""
    module = sys.modules.get(name)
    if module is None or name == "__main__":
        return False
    path: list[str] | None = None
    spec = None
    parts = name.split(".")
    for depth in range(len(parts)):
        full = ".".join(parts[: depth + 1])
        # importlib.util.find_spec would answer from sys.modules.
        finders = (finder.find_spec(full, path) for finder in sys.meta_path)
        spec = next((each for each in finders if each is not None), None)
        if spec is None:
            return False
        path = list(spec.submodule_search_locations or [])
    here = getattr(module, "__file__", None)
    if spec is None or here is None or spec.origin is None:
        return here is None  # built into the interpreter
    return Path(spec.origin).resolve() == Path(here).resolve()


def _modules_used(function: Callable[..., Any]) -> list[str]:
    """Modules that the function's own module has imported, in the order it names them."""
    home = sys.modules.get(getattr(function, "__module__", "__main__"))
    used: dict[str, None] = {}
    for value in list(vars(home).values()) if home else []:
        name = value.__name__ if isinstance(value, ModuleType) else _home(value)
        if name and name != getattr(home, "__name__", None) and found_afresh(name):
            used[name] = None
    return list(used)


def _home(value: object) -> str | None:
    if isinstance(value, (type, FunctionType)):
        return value.__module__
    return None


def _pickled(function: Callable[..., Any]) -> bytes:
    module = sys.modules.get(getattr(function, "__module__", "") or "")
    # A test module or a file loaded by its path has a name that nobody else can import.
    by_value = (
        module is not None and module.__name__ != "__main__" and not found_afresh(module.__name__)
    )
    if by_value:
        cloudpickle.register_pickle_by_value(module)
    try:
        content = _dumps(function)
        if content is None:
            raise WrongType(
                "train cannot be sent to the processes of the trials: "
                f"{_culprits(function, unpicklable=True)}. Create it inside train instead."
            )
        if len(content) > MAX_BYTES:
            raise WrongValue(
                f"train drags {len(content) / 1e6:.0f} MB into every trial (at most "
                f"{MAX_BYTES / 1e6:.0f}): {_culprits(function, unpicklable=False)}. "
                "Load it inside train, or import train from a module."
            )
        return content
    finally:
        if by_value:
            cloudpickle.unregister_pickle_by_value(module)


def _dumps(value: object) -> bytes | None:
    try:
        return cloudpickle.dumps(value)
    except Exception:  # whatever the objects' own methods raise
        return None


def _culprits(function: Callable[..., Any], *, unpicklable: bool) -> str:
    """The variables behind a failure, the largest first; up to three."""
    sizes: dict[str, float] = {}
    for name, value in _variables(function):
        content = _dumps(value)
        if content is None:
            sizes[f"{name!r} ({type(value).__name__}, cannot be pickled)"] = float("inf")
        elif not unpicklable and len(content) > MAX_BYTES / 100:
            sizes[f"{name!r} ({type(value).__name__}, {len(content) / 1e6:.1f} MB)"] = len(content)
    largest = sorted(sizes, key=lambda each: -sizes[each])[:3]
    return "it uses " + ", ".join(largest) if largest else f"{function!r} holds it"


def _variables(function: object) -> Iterator[tuple[str, object]]:
    """What a function takes from outside, and what the functions that it calls take."""
    waiting, seen = [function], {id(function)}
    while waiting:
        current = waiting.pop()
        if not isinstance(current, FunctionType):
            continue
        found = dict(
            zip(
                current.__code__.co_freevars,
                [cell.cell_contents for cell in current.__closure__ or ()],
                strict=True,
            )
        )
        for name in names_used(current.__code__):
            if name in current.__globals__:
                found[name] = current.__globals__[name]
        for name, value in found.items():
            if id(value) in seen or isinstance(value, ModuleType):
                continue
            seen.add(id(value))
            if isinstance(value, FunctionType) and not found_afresh(value.__module__):
                waiting.append(value)
            else:
                yield name, value


def names_used(code: CodeType) -> set[str]:
    """The global names and attributes that code uses, functions inside it included."""
    names = set(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            names |= names_used(constant)
    return names
