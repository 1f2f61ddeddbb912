"""Opening an experiment that is there already: to read, to go on with, to log to."""

from __future__ import annotations

import os
from pathlib import Path

from fireworks.errors import WrongValue
from fireworks.experiment.experiment import Experiment
from fireworks.record import layout
from fireworks.record.archive import restore_run
from fireworks.record.filesystem import refuse_network
from fireworks.record.index import read_index
from fireworks.record.owner import Ownership


def load_experiment(
    path: str | os.PathLike[str], write: bool = False, *, position: int | None = None
) -> Experiment:
    """Open an experiment that is there already.

    Args:
        path: Its folder.
        write: Whether to go on with it as its owner: its status becomes running again. Without
            it, everything can be read, also while others write, and nothing is left in the folder.
        position: With ``write=True``: what ``Experiment.mark`` returned for the checkpoint that the
            run goes on from. What the run itself recorded after it is deleted before anything is
            written, so that the steps that are done again are there once.

    Raises:
        ExperimentNotFound: There is no experiment at ``path``; the nearest name is offered.
        DamagedFile: It is damaged, or was written by a newer release.
        ExperimentInUse: ``write=True``, and another process owns it.
        ExperimentReadOnly: ``write=True``, and the folder cannot be written to.
    """
    folder = layout.experiment_folder(path)
    index = read_index(folder)
    if not write:
        if position is not None:
            raise WrongValue("position goes with write=True: reading deletes nothing.")
        return Experiment.opened(folder, index, writing=False)
    if index.store is None:
        refuse_network(folder)
    owner = Ownership(folder)
    try:
        experiment = Experiment.opened(folder, read_index(folder), owner=owner)
    except BaseException:
        owner.release()
        raise
    try:
        if position is not None:
            experiment.rewind(position)
        experiment.resume()
    except BaseException:
        experiment.give_up()
        raise
    return experiment


def open_attempt(path: str | os.PathLike[str], trial: int, attempt: int) -> Experiment:
    """Open an experiment in the process of a trial's attempt, to log to that trial.

    It owns nothing: closing it leaves the run as it is. Every transaction is refused once the
    attempt is no longer its trial's current, running one.

    Raises:
        ExperimentNotFound: There is no experiment at ``path``.
        DamagedFile: It is damaged, or was written by a newer release.
        ExperimentInUse: The attempt is not the trial's current, running one.
    """
    return join(layout.experiment_folder(path), trial, attempt)


def join(folder: Path, trial: int | None, attempt: int | None, durable: bool = False) -> Experiment:
    """Open an experiment for logging without owning it, for a trial or for none."""
    experiment = Experiment.opened(
        folder, read_index(folder), trial=trial, attempt=attempt, durable=durable
    )
    try:
        experiment.check_attempt("log")
    except BaseException:
        experiment.close()
        raise
    return experiment


def restore(archive: str | os.PathLike[str], root: str | os.PathLike[str] = "runs") -> Experiment:
    """Make a run of an archive that ``Experiment.archive`` wrote, and open it for reading.

    Args:
        archive: The ZIP file; it may come from anybody.
        root: The folder of all runs; made where it does not exist.

    Raises:
        ExperimentNotFound: There is no such file.
        DamagedFile: It is no archive of a run, or one that was tampered with.
        WrongValue: The run is in ``root`` already.
    """
    return load_experiment(restore_run(archive, root))
