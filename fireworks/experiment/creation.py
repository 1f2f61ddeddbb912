"""Making the folder of a new run."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from fireworks.experiment.annotations import check_tags, check_text
from fireworks.experiment.parameters import write_parameters
from fireworks.record import layout
from fireworks.record.capture import capture
from fireworks.record.filesystem import refuse_network
from fireworks.record.index import Index
from fireworks.record.metadata import write_metadata
from fireworks.record.owner import Ownership
from fireworks.record.store import create_database


def create_run(
    name: str,
    root: str | os.PathLike[str],
    description: str,
    tags: Iterable[str],
    parameters: Mapping[str, Any],
) -> tuple[Path, Index, Ownership]:
    """Make the folder of a new run, complete or not at all; see ``Experiment`` for the errors.

    Returns:
        Its path, its summary, and the lock by which this process owns it.
    """
    index = Index(
        name=layout.check_name(name, what="An experiment's name"),
        number=0,
        id="",
        description=check_text(description, what="The description"),
        tags=check_tags(tags),
        created=time.time(),
    )
    metadata = {
        "seq": 0,
        "name": name,
        "description": description,
        "tags": index.tags,
        "status": "running",
        "started": index.created,
        "ended": None,
        **capture(),
    }
    owner: Ownership | None = None

    def build(folder: Path, number: int) -> None:
        nonlocal owner
        refuse_network(folder)
        owner = owner or Ownership(folder)
        index.number, index.id = number, layout.run_id(name, number)

        def fill(connection: sqlite3.Connection) -> None:
            write_metadata(connection, {**metadata, "number": number, "id": index.id})
            index.parameters = write_parameters(connection, parameters)

        create_database(folder / layout.DATABASE, fill)
        index.write(folder)

    try:
        path = layout.new_folder(root, name, build)
    except BaseException:
        if owner is not None:
            owner.release()
        raise
    assert owner is not None
    return path, index, owner
