"""Text files, one record a row: the base of CSV, JSON lines, lines and FASTA."""

from __future__ import annotations

import codecs
import os
from abc import abstractmethod
from collections.abc import Generator, Iterator, Sequence
from typing import Any, ClassVar

import numpy as np

from fireworks.errors import DamagedFile, WrongType, WrongValue
from fireworks.message import Message, concat
from fireworks.source import OnError, Rows, Source
from fireworks.source.failures import check_on_error
from fireworks.sources import column_kinds, file_listing, malformed
from fireworks.sources.column_kinds import ArrowSchema, ArrowTable, Types
from fireworks.sources.file_listing import DataFile, Paths
from fireworks.sources.offset_index import OffsetIndex
from fireworks.sources.records import BLOCK_BYTES, Block, Split, blocks, compression

_HEAD_BYTES = 2**16


class RecordFileSource(Source):
    """Rows of text files, one record each. Abstract.

    It streams until `prepare` has scanned the files once; then it is indexed, unless a file is
    compressed.

    Args:
        paths: A file, a glob, a folder, or a list of these.
        columns: The columns to read; all by default.
        types: Types of columns, by column; the others are inferred from the first block.
        encoding: Of the text.
        on_error: What to do about a malformed record.
        name: Tells this source from others of its class.

    Attributes:
        suffixes: What the names of the files in a folder end in, compressed or not.
    """

    needs_inputs = False
    handles_errors = True
    suffixes: ClassVar[Sequence[str]] = ()
    _blank_lines = False  #: Whether an empty line is a record.

    def __init__(
        self,
        paths: Paths,
        *,
        columns: Sequence[str] | None = None,
        types: Types | None = None,
        encoding: str = "utf-8",
        on_error: OnError = "raise",
        name: str | None = None,
    ) -> None:
        super().__init__(name=name)
        self.columns = column_kinds.selected(columns)
        self.encoding = _ascii_compatible(encoding)
        self.on_error: OnError = check_on_error(on_error)
        self._types = column_kinds.declared(types)
        endings = [suffix + end for suffix in self.suffixes for end in ("", ".gz", ".zst", ".bz2")]
        self.files = file_listing.find_files(paths, endings)
        self._codecs: dict[str, str | None] = {}
        self._heads: dict[str, tuple[int, int, Any]] = {}
        self._index: OffsetIndex | None = None
        self._settled: ArrowSchema | None = None
        self._described = {
            **file_listing.described(self.files),
            "columns": self.columns,
            "types": {key: str(field) for key, field in self._types.items()},
            "encoding": self.encoding,
        }

    # -- what a format implements -----------------------------------------------------------------

    @abstractmethod
    def _split(self) -> Split:
        """Return what finds the ends of records."""

    @abstractmethod
    def _parse(self, data: bytes, head: Any, schema: ArrowSchema) -> ArrowTable:
        """Parse records, in UTF-8, as ``schema`` says.

        Raises:
            ValueError: A record is malformed; the first line of the message says how.
            pyarrow.ArrowInvalid: As above.
        """

    @abstractmethod
    def _settle(self) -> ArrowSchema:
        """Return the columns to read."""

    def _head(self, file: DataFile, first: Block) -> tuple[int, Any]:
        """Return how many bytes the head of a file takes, and what it says.

        Args:
            file: The file.
            first: Its first records, the head among them.
        """
        return 0, None

    # -- what a source is -------------------------------------------------------------------------

    @property
    def indexed(self) -> bool:
        """Whether rows can be read by index: once `prepare` has scanned the files."""
        return self._index is not None

    @property
    def num_rows(self) -> int:
        """Rows of all files; scans them once.

        Raises:
            WrongType: A file is compressed, or malformed records are skipped.
        """
        return self._scanned().num_rows

    def describe(self) -> dict[str, Any]:
        """Return names and sizes of the files, and how they are read."""
        return self._described

    def prepare(self) -> None:
        """Scan all files once for where each row begins (8 bytes a row); then it is indexed.

        Compressed files cannot be read from the middle, and rows that may be skipped cannot be
        numbered: such sources go on streaming.
        """
        if self._why_never_indexed() is None:
            self._scanned()
        else:
            _ = self._schema

    def stream(self, start: Any = None) -> Iterator[tuple[Message, Any]]:
        """Yield the rows in blocks of about 1 MiB of text.

        A position is a file, a byte (of the decompressed content) and a line.
        """
        _ = self._schema  # what is wrong with all of the files is told even where they have no rows
        number, offset, line = start or (0, 0, 0)
        while number < len(self.files):
            for block in self._blocks_of(self.files[number], offset, line):
                message = self._message(block)
                if len(message):
                    yield message, [number, block.next_offset, block.next_line]
            number, offset, line = number + 1, 0, 0

    def read(self, rows: Rows) -> Message:
        """Return the rows asked for.

        Raises:
            WrongType: The source streams: a file is compressed, or malformed records are skipped.
            DamagedFile: A record is malformed; file and line are named.
            FileChanged: A file was written to, or has vanished, since the source was made.
        """
        index, schema = self._scanned(), self._schema
        unique, places = np.unique(rows, return_inverse=True)
        parts = [
            self._message(self._fetched(index, number, inside), (number, inside))
            for number, inside in index.by_file(unique)
        ]
        if not parts:
            return column_kinds.as_message(schema.empty_table(), schema)
        message = parts[0] if len(parts) == 1 else concat(parts)
        return message if np.array_equal(unique, rows) else message.take(places)

    def __getitem__(self, index: Any) -> Message:
        self._refuse_if_streaming()
        return super().__getitem__(index)

    def __len__(self) -> int:
        self._refuse_if_streaming()
        return super().__len__()

    def _refuse_if_streaming(self) -> None:
        if not self.indexed:
            raise WrongType(
                self._why_never_indexed()
                or f"{self!r} streams until source.prepare() has scanned its files once for where "
                "each row begins. Call it first."
            )

    def _why_never_indexed(self) -> str | None:
        if self.on_error == "skip":
            return (
                f'{self!r} leaves malformed records out (on_error="skip"): it streams, since its '
                "rows cannot be numbered before all are read."
            )
        for file in self.files:
            if (codec := self._codec(file)) is not None:
                return (
                    f"{self!r} streams: {os.path.basename(file.path)} is compressed ({codec}) and "
                    "cannot be read from the middle. Decompress it, or hold its rows in memory: "
                    "MessageSource(source.read_all())."
                )
        return None

    # -- the index --------------------------------------------------------------------------------

    def _scanned(self) -> OffsetIndex:
        index = self._index
        if index is None:
            if (reason := self._why_never_indexed()) is not None:
                raise WrongType(reason)
            with self._lock:
                index = self._index
                if index is None:
                    _ = self._schema
                    self._index = index = OffsetIndex.of(map(self._records_of, self.files))
        return index

    def _fetched(self, index: OffsetIndex, number: int, rows: Rows) -> Block:
        file = self.files[number]

        def fetch() -> Block:
            file.check()
            block = index.fetch(number, file, rows)
            file.check()
            return block

        return file_listing.retried(self.on_error, fetch)

    # -- blocks -----------------------------------------------------------------------------------

    def _codec(self, file: DataFile) -> str | None:
        if file.path not in self._codecs:
            self._codecs[file.path] = file_listing.retried(self.on_error, lambda: compression(file))
        return self._codecs[file.path]

    def _records_of(self, file: DataFile) -> Iterator[Block]:
        for block in self._blocks_of(file):
            yield block if self._blank_lines else block.without_blank_lines()

    def _blocks_of(self, file: DataFile, offset: int = 0, line: int = 0) -> Iterator[Block]:
        """Yield a file's records from a byte on; from the first record where ``line`` is 0."""
        if not line:
            offset, line, _ = self._head_of(file)
        yield from self._reopened(file, offset, line, BLOCK_BYTES)

    def _reopened(self, file: DataFile, offset: int, line: int, size: int) -> Generator[Block]:
        """Yield blocks; where the system fails, go on behind the last, as ``on_error`` says."""
        codec, split = self._codec(file), self._split()
        stream = blocks(file, codec, split, offset, line, size)

        def following() -> Block | None:
            nonlocal stream
            try:
                return next(stream, None)
            except OSError:  # a generator that has raised is spent
                stream = blocks(file, codec, split, offset, line, size)
                raise

        try:
            while (block := file_listing.retried(self.on_error, following)) is not None:
                yield block
                offset, line = block.next_offset, block.next_line
        finally:
            stream.close()

    def _head_of(self, file: DataFile) -> tuple[int, int, Any]:
        """Return at which byte and line the records of a file begin, and what its head says."""
        head = self._heads.get(file.path)
        if head is None:
            stream = self._reopened(file, 0, 1, _HEAD_BYTES)
            first = next(stream, None)
            stream.close()
            if first is None:
                return 0, 1, None
            skipped = _length_of_bom(first)
            if skipped:
                first = first.behind(skipped)
            length, told = self._head(file, first)
            head = (skipped + length, 1 + first.data.count(b"\n", 0, length), told)
            self._heads[file.path] = head
        return head

    # -- records to rows --------------------------------------------------------------------------

    @property
    def _schema(self) -> ArrowSchema:
        schema = self._settled
        if schema is None:  # two threads may both settle it: they find the same
            self._settled = schema = self._settle()
        return schema

    def _message(self, block: Block, origin: tuple[int, Rows] | None = None) -> Message:
        """Convert records.

        Args:
            block: The records.
            origin: Of records fetched by index, their file and which of its records they are.
        """
        schema = self._schema
        _, _, head = self._head_of(block.file)
        if not self._blank_lines:
            block = block.without_blank_lines()

        def convert(data: bytes, count: int) -> Message:
            table = self._parse(self._as_utf8(data), head, schema)
            malformed.check_count(table, count)
            return column_kinds.as_message(table, schema)

        def refuse(record: int, error: Exception) -> None:
            line = block.line_of(record)
            if origin is not None and self._index is not None:
                place = self._index.place_of(origin[0], int(origin[1][record]))
                line = 1 + _newlines_before(block.file, place)
            self._refuse(block.file, line, self._explained(block.part(record, record + 1), error))

        parts = malformed.sieve(block, convert, refuse)
        if not parts:
            return column_kinds.as_message(schema.empty_table(), schema)
        return parts[0] if len(parts) == 1 else concat(parts)

    def _refuse(self, file: DataFile, line: int, reason: str) -> None:
        if self.on_error != "skip":
            raise DamagedFile(
                f"{file}, line {line}: {reason}. Mend the line, or leave such lines out with "
                'on_error="skip".'
            )
        self._skip(f"{file}, line {line}", reason)

    def _explained(self, record: bytes, error: Exception) -> str:
        """Return what is wrong with a record, in one line."""
        try:
            record.decode(self.encoding)
        except UnicodeDecodeError as undecodable:
            error = undecodable
        return malformed.reason(error)

    def _as_utf8(self, data: bytes) -> bytes:
        return data if self.encoding == "utf-8" else data.decode(self.encoding).encode()


def _ascii_compatible(encoding: str) -> str:
    try:
        name = codecs.lookup(encoding).name
        sample = '\r\n",>{a1'
        if sample.encode(name) != sample.encode():
            raise WrongValue(
                f"Files in {encoding} cannot be read record by record, since their newlines are "
                f"not single bytes. Convert them first: iconv -f {encoding} -t UTF-8"
            )
    except LookupError:
        raise WrongValue(f"There is no encoding {encoding!r}.") from None
    return name


def _length_of_bom(first: Block) -> int:
    """Return the length of the byte order mark that a file begins with.

    Raises:
        DamagedFile: The mark says that the text is UTF-16.
    """
    if first.data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise DamagedFile(
            f"{first.file} is UTF-16, which cannot be read record by record. Convert it first: "
            "iconv -f UTF-16 -t UTF-8"
        )
    return len(codecs.BOM_UTF8) if first.data.startswith(codecs.BOM_UTF8) else 0


def _newlines_before(file: DataFile, place: int) -> int:
    count = 0
    with open(file.path, "rb") as opened:
        while place > 0 and (data := opened.read(min(place, BLOCK_BYTES))):
            count += data.count(b"\n")
            place -= len(data)
    return count
