"""``fireworks sweep``: search for good parameters with the functions of a Python file."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
import traceback
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any

import typer

from fireworks.errors import WrongValue, suggest

_ROWS = 20


def run_sweep(
    source: Annotated[
        str | None,
        typer.Argument(
            metavar="FILE_OR_MODULE",
            help="Defines train(trial) and space(trial); may define maximize or minimize, the name "
            "of a metric, and prepare(), called once before the sweep. A file .toml says that and "
            "more; left out, fireworks.toml does.",
        ),
    ] = None,
    trials: Annotated[int | None, typer.Option(min=1, help="How many trials to run.")] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="How many run at once: 2.")] = None,
    maximize: Annotated[str | None, typer.Option(help="The metric to make large.")] = None,
    minimize: Annotated[str | None, typer.Option(help="The metric to make small.")] = None,
    name: Annotated[str | None, typer.Option(help="Of the run; the file's by default.")] = None,
    root: Annotated[
        Path | None, typer.Option(help="Where the run's folder is created: runs.")
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Drawn and recorded if left out.")] = None,
) -> None:
    """Run a sweep: each trial in a process of its own, parameters proposed by Optuna."""
    from fireworks.factory.config import FILE, SweepConfig, read_config

    config = SweepConfig()
    if source is None or source.endswith(".toml"):
        file = Path(source or FILE)
        if source is None and not file.is_file():
            raise WrongValue(f"say which file to sweep: fireworks sweep FILE; there is no {FILE}")
        config = read_config(file)
        source = None if config.source is None else _beside(file, config.source)
    if source is None:
        raise WrongValue(f'{FILE} names no source: [sweep] source = "digits.py"')
    if (total := trials or config.trials) is None:
        raise WrongValue("say how many trials to run: --trials 20")
    module = load_module(source)
    train = _required(module, "train")
    space = config.space if config.space is not None else _required(module, "space")
    given = {"workers": workers, "seed": seed}
    options: dict[str, Any] = dict(config.options)
    options |= {key: each for key, each in given.items() if each is not None}
    options |= _objective(module, maximize, minimize, config.options)

    from rich.console import Console

    from fireworks.experiment import Experiment
    from fireworks.factory import Factory, FactoryEvents

    if hasattr(module, "prepare"):
        module.prepare()
    interrupted: list[bool] = []
    place = root or Path(config.root or "runs")
    with Experiment(name or config.name or _name(module), root=place) as experiment:
        if config.text:
            with experiment.file(FILE, "w") as stream:
                stream.write(config.text)
        factory = Factory(train, propose=space, experiment=experiment, **options)
        factory.add_event_handler(FactoryEvents.INTERRUPTED, interrupted.append, True)
        factory.run(trials=total)
    console = Console()
    console.print(factory.table(rows=_ROWS))
    if len(factory.records) > _ROWS:
        console.print(f"… and {len(factory.records) - _ROWS} more", highlight=False)
    shown = os.path.relpath(experiment.path)
    shown = str(experiment.path) if shown.startswith("..") else shown
    # Not console.print: a path must not be wrapped at the terminal's width.
    follows = "resume" if interrupted else "show"
    print(f"\nseed {factory.seed}, recorded in {shown}\n\nnext: fireworks {follows} {shown}")
    if interrupted:
        raise typer.Exit(130)


def load_module(source: str) -> ModuleType:
    """The module that a file's path or an import name stands for.

    Raises:
        WrongValue: There is none, or it raises while it is imported.
    """
    path = Path(source)
    is_file = source.endswith(".py") or path.is_file()
    if is_file and not path.is_file():
        raise WrongValue(f"there is no file {source!r}")
    sys.path.insert(0, str(path.resolve().parent) if is_file else os.getcwd())
    importlib.invalidate_caches()
    try:
        if not is_file:
            return importlib.import_module(source)
        return _import_file(path.resolve())
    except Exception as error:
        frames = traceback.extract_tb(error.__traceback__)
        where = f"{frames[-1].filename}, line {frames[-1].lineno}" if frames else source
        missing = error.name if isinstance(error, ModuleNotFoundError) else None
        if missing and not is_file and f"{source}.".startswith(f"{missing}."):
            raise WrongValue(f"there is neither a file nor a module {source!r}") from None
        raise WrongValue(
            f"{source} cannot be imported: {type(error).__name__}: {error} ({where})"
        ) from error


def _import_file(path: Path) -> ModuleType:
    """Import a file by its name where that leads to it, so that trials can import it, too."""
    name = path.stem
    if name.isidentifier() and name not in sys.modules:
        found = importlib.util.find_spec(name)
        if found is not None and found.origin and Path(found.origin).resolve() == path:
            return importlib.import_module(name)
    spec = importlib.util.spec_from_file_location(f"fireworks_sweep_{name}", path)
    if spec is None or spec.loader is None:
        raise WrongValue(f"{str(path)!r} is no Python file (its name does not end in .py)")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def _name(module: ModuleType) -> str:
    """What the run is called: as the file, or as the package of an ``__init__.py``."""
    file = Path(module.__file__ or module.__name__)
    return file.parent.name if file.stem == "__init__" else file.stem


def _required(module: ModuleType, name: str) -> Any:
    value = getattr(module, name, None)
    if not callable(value):
        public = [each for each in vars(module) if not each.startswith("_")]
        raise WrongValue(
            f"{module.__file__} defines no function {name}(trial), which a sweep needs."
            f"{suggest(name, public)}"
        )
    return value


def _objective(
    module: ModuleType, maximize: str | None, minimize: str | None, configured: dict[str, Any]
) -> dict[str, Any]:
    """What the options say, else what the configuration says, else what the file says."""
    said = [
        {"maximize": maximize, "minimize": minimize},
        {name: configured.get(name) for name in ("maximize", "minimize")},
        {name: getattr(module, name, None) for name in ("maximize", "minimize")},
    ]
    found = next((each for each in said if any(each.values())), None)
    if found is None or (found is said[0] and all(found.values())):
        raise WrongValue(
            "a sweep needs one objective: give either --maximize NAME or --minimize NAME, or set "
            f'maximize = "name" or minimize = "name" in {module.__file__}; '
            f"got maximize={maximize!r}, minimize={minimize!r}"
        )
    return found


def _beside(config: Path, source: str) -> str:
    """A source that a configuration names: a file beside it, or a module."""
    file = config.parent / source
    return str(file) if file.is_file() or source.endswith(".py") else source
