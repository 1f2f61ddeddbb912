"""Where each record of text files begins: 8 bytes a row."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from fireworks.source import Rows
from fireworks.sources.file_listing import DataFile
from fireworks.sources.records import Block

Starts = NDArray[np.int64]


class OffsetIndex:
    """The byte at which each row of a list of files begins.

    Args:
        starts: For each file, where its records begin, ascending.
        stops: For each file, where its last record ends.
    """

    def __init__(self, starts: Sequence[Starts], stops: Sequence[int]) -> None:
        self._starts = list(starts)
        self._stops = list(stops)
        self._first_row = np.zeros(len(starts) + 1, np.int64)
        np.cumsum([len(each) for each in starts], out=self._first_row[1:])

    @classmethod
    def of(cls, files: Iterable[Iterable[Block]]) -> OffsetIndex:
        """Return the index of files that are given as blocks of their records."""
        starts: list[Starts] = []
        stops: list[int] = []
        for blocks in files:
            stop, found = 0, [np.empty(0, np.int64)]
            for block in blocks:
                found.append(block.starts + block.offset)
                stop = block.next_offset
            starts.append(np.concatenate(found))
            stops.append(stop)
        return cls(starts, stops)

    @property
    def num_rows(self) -> int:
        """Rows of all files."""
        return int(self._first_row[-1])

    def by_file(self, rows: Rows) -> Iterator[tuple[int, Rows]]:
        """Yield the number of each file that has some of the (ascending) rows, and which of its."""
        bounds = np.searchsorted(rows, self._first_row)
        for file in np.flatnonzero(np.diff(bounds)).tolist():
            yield file, rows[bounds[file] : bounds[file + 1]] - self._first_row[file]

    def fetch(self, number: int, file: DataFile, rows: Rows) -> Block:
        """Read ascending rows of one file; the block's lines count from the first of them."""
        starts = self._starts[number]
        begin = starts[rows]
        end = self._ends(number, rows)
        together = np.flatnonzero(np.append(True, np.diff(rows) != 1))
        parts: list[bytes] = []
        # Unbuffered: a random row costs its own bytes, not a buffer full.
        with open(file.path, "rb", buffering=0) as opened:
            for first, behind in zip(together, np.append(together[1:], len(rows)), strict=True):
                opened.seek(int(begin[first]))
                parts.append(_read(opened, int(end[behind - 1] - begin[first])))
        data = b"".join(parts)
        lengths = end - begin
        if int(lengths.sum()) != len(data):
            raise OSError(f"{file} has fewer bytes than when it was scanned")
        if len(rows) and int(rows[-1]) == len(starts) - 1 and not data.endswith(b"\n"):
            data += b"\n"
            lengths[-1] += 1
        ends = np.cumsum(lengths)
        return Block(file, int(begin[0]), 1, data, ends - lengths, ends)

    def place_of(self, number: int, row: int) -> int:
        """Return the byte at which a row of a file begins."""
        return int(self._starts[number][row])

    def _ends(self, number: int, rows: Rows) -> Starts:
        starts = self._starts[number]
        following = np.minimum(rows + 1, len(starts) - 1)
        return np.where(rows + 1 < len(starts), starts[following], self._stops[number])


def _read(opened: io.FileIO, size: int) -> bytes:
    """Read so many bytes, or up to the end; one call may return fewer."""
    data = opened.read(size) or b""
    while len(data) < size and (more := opened.read(size - len(data))):
        data += more
    return data
