"""Rows that left memory, kept on disk until they are asked for."""

from __future__ import annotations

import os
import shutil
import tempfile
import weakref
from pathlib import Path
from typing import Any

import numpy as np

from fireworks.cache.id_map import ABSENT, IdMap
from fireworks.message import Message, concat

Int64Array = np.ndarray[Any, np.dtype[np.int64]]


class Spill:
    """Rows by id in Arrow files, one for each batch of rows that left memory together.

    Args:
        folder: Where to make a folder of our own, which is removed with this object.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        Path(folder).mkdir(parents=True, exist_ok=True)
        self._folder = Path(tempfile.mkdtemp(prefix="spill-", dir=folder))
        self._files: dict[int, set[int]] = {}  # number of a file -> the ids that it still holds
        self._file = IdMap()
        self._row = IdMap()
        self._next = 0
        self.close = weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)

    def __len__(self) -> int:
        return sum(len(ids) for ids in self._files.values())

    def has(self, ids: Int64Array) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """Whether each id is here."""
        return self._file.get(ids) != ABSENT

    @property
    def ids(self) -> Int64Array:
        """The ids that are here, in no order."""
        held = [each for ids in self._files.values() for each in ids]
        return np.array(held, np.int64)

    def add(self, ids: Int64Array, rows: Message) -> None:
        """Write rows; an id that is here already gets its new row."""
        if not len(ids):
            return
        number = self._next
        rows.save(self._path(number))
        self._next += 1
        self.remove(ids)
        self._files[number] = set(ids.tolist())
        self._file.set(ids, np.full(len(ids), number))
        self._row.set(ids, np.arange(len(ids)))

    def read(self, ids: Int64Array) -> Message:
        """The rows of ids that are here, in their order."""
        files = self._file.get(ids)
        rows = self._row.get(ids)
        order: list[Int64Array] = []
        parts: list[Message] = []
        for number in np.unique(files):
            where = (files == number).nonzero()[0]
            order.append(where)
            parts.append(Message.load(self._path(int(number))).take(rows[where]))
        back = np.concatenate(order).argsort()
        return concat(parts).take(back)

    def remove(self, ids: Int64Array) -> None:
        """Forget rows; those that are not here are passed over."""
        files = self._file.get(ids)
        for number in np.unique(files[files != ABSENT]).tolist():
            held = self._files[number]
            held.difference_update(ids[files == number].tolist())
            if not held:
                del self._files[number]
                self._path(number).unlink()
        self._file.remove(ids)
        self._row.remove(ids)

    def _path(self, number: int) -> Path:
        return self._folder / f"{number}.arrow"
