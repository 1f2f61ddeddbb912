"""Making the folder of a new run."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from fireworks.errors import FireworksError
from fireworks.experiment.annotations import check_tags, check_text
from fireworks.experiment.parameters import write_parameters
from fireworks.record import layout
from fireworks.record.capture import capture
from fireworks.record.filesystem import refuse_network
from fireworks.record.index import Index, read_index
from fireworks.record.location import store_of
from fireworks.record.metadata import write_metadata
from fireworks.record.owner import Ownership
from fireworks.record.store import Connection, Store
from fireworks.record.urls import StoreURL, schema_name


def create_run(
    name: str,
    root: str | os.PathLike[str],
    description: str,
    tags: Iterable[str],
    parameters: Mapping[str, Any],
    *,
    store: str | None = None,
    tensorboard: bool = False,
) -> tuple[Path, Index, Ownership]:
    """Make the folder of a new run, complete or not at all; see ``Experiment`` for the errors.

    Under ``fireworks resume`` it is the run to go on with, as it is.

    Returns:
        Its path, its summary, and the lock by which this process owns it.
    """
    if (continued := _continued(name)) is not None:
        return continued
    url = None if store is None else StoreURL(store)
    if url is not None:
        url.remember()
    index = Index(
        name=layout.check_name(name, what="An experiment's name"),
        number=0,
        id="",
        description=check_text(description, what="The description"),
        tags=check_tags(tags),
        created=time.time(),
        tensorboard=tensorboard,
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
    tables: Store | None = None

    def build(folder: Path, number: int) -> None:
        nonlocal owner, tables
        if tables is not None:
            tables.remove()  # another process was faster, and has this number
        owner = owner or Ownership(folder)
        index.number, index.id = number, layout.run_id(name, number)
        if url is None:
            refuse_network(folder)
        else:
            index.store = {"url": url.masked, "schema": schema_name(index.id)}
            index.write(folder)  # before the schema is there: who clears up must know of it

        def fill(connection: Connection) -> None:
            write_metadata(connection, {**metadata, "number": number, "id": index.id})
            index.parameters = write_parameters(connection, parameters)

        tables = store_of(folder, index.store)
        tables.create(fill)
        index.write(folder)

    try:
        path = layout.new_folder(root, name, build)
    except BaseException:
        if tables is not None:
            with suppress(FireworksError):  # what went wrong first is told
                tables.remove()
        if owner is not None:
            owner.release()
        raise
    assert owner is not None
    return path, index, owner


def _continued(name: str) -> tuple[Path, Index, Ownership] | None:
    """Return the run that ``fireworks resume`` goes on with, once, where it has this name."""
    path = os.environ.get(layout.RESUME_VARIABLE)
    if path is None:
        return None
    folder = layout.experiment_folder(path)
    if read_index(folder).name != name:
        return None
    del os.environ[layout.RESUME_VARIABLE]
    owner = Ownership(folder)
    try:
        index = read_index(folder)
        index.status, index.ended = "running", None
        store = store_of(folder, index.store)
        try:
            with store.transaction() as connection:
                write_metadata(connection, {"status": "running", "ended": None})
        finally:
            store.close()
        index.write(folder)
    except BaseException:
        owner.release()
        raise
    return folder, index, owner
