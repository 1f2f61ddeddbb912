"""Text files as records: where each ends, and blocks of whole ones."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import BinaryIO, cast

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from fireworks.errors import DamagedFile
from fireworks.sources.file_listing import DataFile

Ends = NDArray[np.int64]
Split = Callable[[bytes, bool], Ends]
"""Given bytes that begin with a record, returns where each record in them ends.

The second argument says whether the file ends here: then the last one needs no terminator.
"""

BLOCK_BYTES = 2**20
_RECORD_BYTES = 2**28
"""A record that is still longer is a mistake, most likely a quote that is never closed."""

_MAGIC = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd", b"BZh": "bz2"}
_SUFFIXES = {".gz": "gzip", ".zst": "zstd", ".zstd": "zstd", ".bz2": "bz2"}


@dataclass(frozen=True)
class Block:
    """Whole records of a file, one after the other.

    Attributes:
        file: The file.
        offset: Where they begin, in bytes (of a compressed file: of its content).
        line: The number of the line they begin at, from 1.
        data: Their bytes.
        starts: Where each begins in ``data``.
        ends: Where each ends.
    """

    file: DataFile
    offset: int
    line: int
    data: bytes
    starts: Ends
    ends: Ends

    def part(self, first: int, last: int) -> bytes:
        """Return the bytes of records ``first`` to ``last`` (not included)."""
        return self.data[int(self.starts[first]) : int(self.ends[last - 1])]

    @property
    def next_offset(self) -> int:
        """Where the following records begin."""
        return self.offset + len(self.data)

    @property
    def next_line(self) -> int:
        """The number of the line that the following records begin at."""
        return self.line + self.data.count(b"\n")

    def line_of(self, record: int) -> int:
        """Return the number of the line a record begins at."""
        return self.line + self.data.count(b"\n", 0, int(self.starts[record]))

    def behind(self, length: int) -> Block:
        """Return the block without its first bytes, all of them in the first record."""
        starts, ends = np.maximum(self.starts - length, 0), self.ends - length
        return replace(
            self, offset=self.offset + length, data=self.data[length:], starts=starts, ends=ends
        )

    def without_blank_lines(self) -> Block:
        """Return the block without records that are empty lines."""
        text = np.frombuffer(self.data, np.uint8)
        first = text[np.minimum(self.starts, len(text) - 1)]
        blank = (first == 10) | ((first == 13) & (text[self.ends - 1] == 10))
        blank &= self.ends - self.starts <= np.where(first == 10, 1, 2)
        if not blank.any():
            return self
        return replace(self, starts=self.starts[~blank], ends=self.ends[~blank])


def compression(file: DataFile) -> str | None:
    """Return how a file is compressed, from its name or its first bytes; None if it is not."""
    if named := _SUFFIXES.get(os.path.splitext(file.path)[1].lower()):
        return named
    file.check()
    with open(file.path, "rb") as opened:
        start = opened.read(4)
    return next((name for magic, name in _MAGIC.items() if start.startswith(magic)), None)


@contextmanager
def opened(file: DataFile, codec: str | None) -> Generator[BinaryIO]:
    """Open a file to read its (decompressed) content."""
    file.check()
    if codec is None:
        with open(file.path, "rb") as plain:
            yield plain
        return
    with pa.OSFile(file.path) as raw, pa.CompressedInputStream(raw, codec) as stream:
        yield cast("BinaryIO", stream)


def blocks(
    file: DataFile,
    codec: str | None,
    split: Split,
    offset: int = 0,
    line: int = 1,
    size: int = BLOCK_BYTES,
) -> Generator[Block]:
    """Yield the records of a file from ``offset`` on, about ``size`` bytes at a time.

    What a block holds follows from where it begins, so that a resume gives the same blocks.

    Raises:
        DamagedFile: The compressed content is damaged or cut off, or a record has no end.
        FileChanged: The file was written to, or has vanished.
    """
    with opened(file, codec) as stream:
        _forward(stream, offset, codec)
        buffer, ended = b"", False
        want = size
        while True:
            if len(buffer) < want and not ended:
                try:
                    more = _filled(stream, want - len(buffer))
                except (pa.ArrowException, OSError) as error:
                    if codec is None:
                        raise  # the system's failure, not the file's
                    file.check()
                    raise DamagedFile(
                        f"{file}, behind line {line}: its {codec} content is damaged or cut off: "
                        f"{error}."
                    ) from error
                file.check()
                buffer += more
                ended = len(buffer) < want
            data = buffer[:want]
            final = ended and len(data) == len(buffer)
            ends = split(data, final)
            if len(ends):
                cut = int(ends[-1])
                block = Block(file, offset, line, data[:cut], np.append(0, ends[:-1]), ends)
                yield block
                offset, line = block.next_offset, block.next_line
                buffer = buffer[cut:]
                want = size
            elif len(data) > _RECORD_BYTES and split is not fasta_ends:
                raise DamagedFile(
                    f"{file}, line {line}: the record that begins here has no end within "
                    f"{_RECORD_BYTES >> 20} MiB. Is a quote opened and never closed?"
                )
            else:
                want *= 2  # a long record is not searched again and again
            if final:
                return


def _filled(stream: BinaryIO, size: int) -> bytes:
    """Read so many bytes, or up to the end; one read of a compressed stream may give fewer."""
    data = stream.read(size)
    while 0 < len(data) < size and (more := stream.read(size - len(data))):
        data += more
    return data


def _forward(stream: BinaryIO, offset: int, codec: str | None) -> None:
    if codec is None:
        stream.seek(offset)
        return
    while offset > 0 and (skipped := stream.read(min(offset, BLOCK_BYTES))):
        offset -= len(skipped)


# Where records end


def line_ends(data: bytes, final: bool) -> Ends:
    """Return where each line ends, its newline included."""
    return _with_last(_places(data, b"\n") + 1, data, final)


def fasta_ends(data: bytes, final: bool) -> Ends:
    """Return where each FASTA record ends: before a line that begins with ``>``."""
    marks = _places(data, b">")
    marks = marks[marks > 0]
    text = np.frombuffer(data, np.uint8)
    return _with_last(marks[text[marks - 1] == 10], data, final)


def csv_split(delimiter: str, quote: str) -> Split:
    """Return what finds the ends of CSV records; newlines within quotes belong to a cell."""
    quote_byte, delimiter_byte = quote.encode(), delimiter.encode()

    def split(data: bytes, final: bool) -> Ends:
        newlines = _places(data, b"\n")
        if quote_byte in data:
            quotes = _places(data, quote_byte)
            if _are_regular(data, quotes, delimiter_byte, quote_byte):
                newlines = newlines[np.searchsorted(quotes, newlines) % 2 == 0]
            else:
                newlines = walk(data, delimiter_byte, quote_byte)[0]
        return _with_last(newlines + 1, data, final)

    return split


def quote_left_open(data: bytes, delimiter: str, quote: str) -> bool:
    """Whether CSV records end within quotes."""
    if data.count(quote.encode()) % 2 == 0:
        return False
    return walk(data, delimiter.encode(), quote.encode())[1]


def _places(data: bytes, byte: bytes) -> Ends:
    return np.flatnonzero(np.frombuffer(data, np.uint8) == byte[0])


def _with_last(ends: Ends, data: bytes, final: bool) -> Ends:
    if final and len(data) > (int(ends[-1]) if len(ends) else 0):
        return np.append(ends, len(data))
    return ends


def _are_regular(data: bytes, quotes: Ends, delimiter: bytes, quote: bytes) -> bool:
    """Whether each quote opens or closes a cell or is doubled, so that counting them is enough."""
    text = np.frombuffer(data, np.uint8)
    outside = np.zeros(256, bool)
    outside[[10, 13, delimiter[0], quote[0]]] = True
    opening, closing = quotes[0::2], quotes[1::2]
    before = text[opening[opening > 0] - 1]
    after = text[closing[closing < len(text) - 1] + 1]
    return bool(outside[before].all() and outside[after].all())


def walk(data: bytes, delimiter: bytes, quote: bytes) -> tuple[Ends, bool]:
    """Find the newlines that end records, cell by cell, as a CSV parser reads them.

    A quote counts only at the beginning of a cell; within quotes, two stand for one.

    Returns:
        The places of the newlines, and whether the data ends within quotes.
    """
    edge = re.compile(b"[" + re.escape(delimiter) + b"\n]")
    newlines: list[int] = []
    at = 0
    while at < len(data):
        if data.startswith(quote, at):
            at = data.find(quote, at + 1)
            while at >= 0 and data.startswith(quote, at + 1):
                at = data.find(quote, at + 2)
            if at < 0:
                return np.array(newlines, np.int64), True
        found = edge.search(data, at)
        if found is None:
            break
        if found[0] == b"\n":
            newlines.append(found.start())
        at = found.end()
    return np.array(newlines, np.int64), False
