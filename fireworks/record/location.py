"""Which store keeps the tables of a run: its index says so."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

from fireworks.errors import DamagedFile, WrongType, WrongValue
from fireworks.record.layout import DATABASE, INDEX
from fireworks.record.sqlite import SQLiteStore, file_id
from fireworks.record.store import Store
from fireworks.record.urls import StoreURL

# The objects of a process that write to one run share a connection: they take turns without the
# waiting that SQLite does between two, and what one has read another need not read again.
_open: WeakValueDictionary[tuple[object, ...], Store] = WeakValueDictionary()


def store_of(folder: Path, described: dict[str, str] | None, *, durable: bool = False) -> Store:
    """Return the store of a run; it connects when it is first used.

    Args:
        folder: The run's folder.
        described: What its index says: None for SQLite, else ``url`` and ``schema``.
        durable: Whether a commit also survives a power loss.

    Raises:
        MissingDependency: A package that the store needs is not installed.
        DamagedFile: The index does not describe a store that this release knows.
    """
    if described is None:
        path = folder / DATABASE
        key = (path, file_id(path), durable)
        return _open.get(key) or _open.setdefault(key, SQLiteStore(path, durable=durable))
    from fireworks.record.postgresql import PostgreSQLStore

    try:
        url = StoreURL(described["url"])
    except (WrongType, WrongValue) as error:
        raise DamagedFile(f"{str(folder / INDEX)!r} is damaged: {error}") from None
    key = (described["url"], described["schema"])
    return _open.get(key) or _open.setdefault(key, PostgreSQLStore(url, described["schema"]))


def stored_elsewhere(folder: Path) -> Store | None:
    """The store of a run, complete or not, whose tables are outside its folder; else None."""
    try:
        described: Any = json.loads((folder / INDEX).read_bytes())["store"]
    except (OSError, ValueError, TypeError, KeyError):
        return None
    if not isinstance(described, dict) or set(described) != {"url", "schema"}:
        return None
    return store_of(folder, described)
