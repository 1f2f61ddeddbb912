"""Rows of CSV files."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.csv as csv

from fireworks.errors import DamagedFile, DuplicateColumn, SchemasDiffer, WrongValue
from fireworks.source import OnError
from fireworks.sources import column_kinds
from fireworks.sources.column_kinds import ArrowSchema, ArrowTable, Types
from fireworks.sources.file_listing import DataFile, Paths
from fireworks.sources.inferred_columns import InferringSource
from fireworks.sources.records import Block, Split, csv_split, quote_left_open

_WORTH_THREADS = 2**18


class CSVSource(InferringSource):
    """The rows of CSV files: a stream, and indexed once `prepare` has scanned them.

    Cells may be quoted and hold newlines; empty lines are no rows. The types that are not declared
    are inferred from the first block (1 MiB) and hold for all files: numbers, booleans, dates,
    times and text. An empty cell is missing in a column of numbers and ``""`` in one of text. A
    column of whole numbers of which none is missing in the first block may have no gap later
    either: declare it ``"Int64"`` where it may.

    Args:
        paths: A file, a glob, a folder (its ``.csv``, ``.tsv`` and ``.txt`` files), or a list of
            these. They may be compressed (``.gz``, ``.zst``, ``.bz2``); then they only stream.
        columns: The columns to read, in this order; all by default. The others are not converted.
        types: Types of columns: ``{"age": "Int64", "name": str, "x": "float32"}``.
        delimiter: What stands between cells, one character.
        quote: What cells with delimiters, newlines and quotes in them are put in, one character.
        header: The names of the columns, where the files have no line that says them; such a line
            is read by default.
        encoding: Of the text; one in which ASCII characters are single bytes.
        on_error: ``"raise"``, ``"skip"`` to leave malformed lines out (see ``skipped``; the source
            then streams), or ``Retry(n)`` for file systems that fail now and then.
        name: Tells this source from others of its class.

    Raises:
        FilesNotFound: There is no such file.
        WrongValue: A delimiter or quote that is not one ASCII character, an unknown encoding.
        ColumnNotFound: A column is not there (when the source is first used).
        SchemasDiffer: The files' columns do not agree (when the second is reached).
        DamagedFile: A line is malformed (when it is read).
    """

    suffixes = (".csv", ".tsv", ".txt")

    def __init__(
        self,
        paths: Paths,
        *,
        columns: Sequence[str] | None = None,
        types: Types | None = None,
        delimiter: str = ",",
        quote: str = '"',
        header: Sequence[str] | None = None,
        encoding: str = "utf-8",
        on_error: OnError = "raise",
        name: str | None = None,
    ) -> None:
        for argument, value in (("delimiter", delimiter), ("quote", quote)):
            if len(value) != 1 or not value.isascii() or value in "\r\n":
                raise WrongValue(f"{argument} is one ASCII character, not {value!r}.")
        self.delimiter = delimiter
        self.quote = quote
        self.header = None if header is None else column_kinds.selected(header)
        super().__init__(
            paths,
            columns=columns,
            types=types,
            encoding=encoding,
            on_error=on_error,
            name=name,
        )
        self._described |= {"delimiter": delimiter, "quote": quote, "header": self.header}
        self._names: tuple[DataFile, list[str]] | None = None

    def _split(self) -> Split:
        return csv_split(self.delimiter, self.quote)

    def _head(self, file: DataFile, first: Block) -> tuple[int, Any]:
        if self.header is not None:
            return 0, self.header
        filled = first.without_blank_lines()
        if not len(filled.ends):
            return 0, []
        try:
            line = self._as_utf8(filled.part(0, 1))
            names = csv.read_csv(pa.BufferReader(line), parse_options=self._dialect()).column_names
        except (pa.ArrowInvalid, ValueError) as error:
            raise DamagedFile(
                f"{file}, line {filled.line_of(0)}: the header cannot be read: {error}"
            ) from error
        self._check_header(file, names)
        return int(filled.ends[0]), names

    def _check_header(self, file: DataFile, names: list[str]) -> None:
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise DuplicateColumn(
                f"{file} has two columns named {twice!r}. Name them apart with header=, and take "
                "the line of names out."
            )
        if self._names is None:
            self._names = (file, names)
            return
        reference, known = self._names
        wanted = known if self.columns is None else self.columns
        for name in wanted:
            if name not in names:
                raise SchemasDiffer(
                    f"{file} has no column {name!r}, which {reference} has. Read files of one "
                    "schema, or choose the columns they share with columns=."
                )
        if self.columns is None:
            for name in names:
                if name not in known:
                    raise SchemasDiffer(
                        f"{file} has a column {name!r}, which {reference} lacks. Read files of one "
                        "schema, or choose the columns they share with columns=."
                    )

    def _settle_empty(self) -> ArrowSchema:
        names = self.header or (self._names[1] if self._names else None)
        if names is None:
            raise DamagedFile(f"{self.files[0]} is empty: no header names its columns.")
        column_kinds.check_columns(self.columns or [], names, self.files[0], "columns=")
        column_kinds.check_columns(self._types, names, self.files[0], "types=")
        text = [pa.field(name, pa.large_string()) for name in self.columns or names]
        return pa.schema([self._types.get(field.name) or field for field in text])

    def _infer(self, data: bytes, head: Any) -> ArrowTable:
        types = {name: field.type for name, field in self._types.items()}
        return self._table(data, head, csv.ConvertOptions(column_types=types))

    def _parse(self, data: bytes, head: Any, schema: ArrowSchema) -> ArrowTable:
        types = {field.name: field.type for field in schema}
        options = csv.ConvertOptions(column_types=types, include_columns=schema.names)
        return self._table(data, head, options)

    def _table(self, data: bytes, names: list[str], convert: Any) -> ArrowTable:
        if quote_left_open(data, self.delimiter, self.quote):
            raise ValueError("a quote is opened here and never closed")
        read = csv.ReadOptions(
            use_threads=len(data) > _WORTH_THREADS, block_size=len(data) + 1, column_names=names
        )
        try:
            return csv.read_csv(pa.BufferReader(data), read, self._dialect(), convert)
        except pa.ArrowInvalid as error:
            raise ValueError(_with_name(str(error), names)) from error

    def _dialect(self) -> Any:
        return csv.ParseOptions(
            delimiter=self.delimiter, quote_char=self.quote, newlines_in_values=True
        )


def _with_name(told: str, names: list[str]) -> str:
    """Put the column's name where Arrow gives its number."""
    start, _, rest = told.partition("In CSV column #")
    number, _, what = rest.partition(": ")
    if start or not number.isdigit():
        return told
    if what.startswith("Row #"):
        what = what.partition(": ")[2]
    what = what.removeprefix("CSV conversion error to ")
    return f"column {names[int(number)]!r}: {what}"
