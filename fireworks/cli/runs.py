"""Finding the run that a word on the command line means."""

from __future__ import annotations

from pathlib import Path

from fireworks.errors import ExperimentNotFound, suggest
from fireworks.record.layout import DATABASE, INDEX, experiment_folder, experiment_names


def find_run(text: str, root: Path) -> Path:
    """Return the folder of a run, given as a path or as its id under ``root``.

    Raises:
        ExperimentNotFound: It is neither; the nearest names are offered.
    """
    for folder in (Path(text), root / text):
        if (folder / INDEX).is_file() or (folder / DATABASE).is_file():
            return experiment_folder(folder)
    if "/" in text or Path(text).is_dir():
        return experiment_folder(text)  # raises, naming what lies nearest
    names = experiment_names(root)
    hint = suggest(text, names) if names else f" There are no experiments in {str(root)!r}."
    raise ExperimentNotFound(
        f"There is no experiment {text!r}, neither as a path nor in {str(root)!r}.{hint}"
    )
