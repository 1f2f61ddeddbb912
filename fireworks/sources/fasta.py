"""Sequences of FASTA files."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from fireworks.optional import require
from fireworks.source import OnError
from fireworks.sources.column_kinds import ArrowSchema, ArrowTable, check_columns
from fireworks.sources.file_listing import Paths
from fireworks.sources.record_files import RecordFileSource
from fireworks.sources.records import Split, fasta_ends

_NAMES = ("id", "description", "sequence")


class FastaSource(RecordFileSource):
    """The sequences of FASTA files: a stream, and indexed once `prepare` has scanned them.

    Columns: ``id`` (the first word behind ``>``), ``description`` (the rest of that line) and
    ``sequence`` (its lines joined, without blanks). Needs Biopython
    (``pip install 'fireworks-ml[fasta]'``).

    Args:
        paths: A file, a glob, a folder (its ``.fasta``, ``.fa``, ``.fna``, ``.ffn`` and ``.faa``
            files), or a list of these. They may be compressed (``.gz``, ``.zst``, ``.bz2``); then
            they only stream.
        columns: The columns to read, in this order; all by default.
        on_error: ``"raise"``, ``"skip"`` to leave malformed records out (see ``skipped``; the
            source then streams), or ``Retry(n)`` for file systems that fail now and then.
        name: Tells this source from others of its class.

    Raises:
        MissingDependency: Biopython is not installed.
        FilesNotFound: There is no such file.
        ColumnNotFound: There is no such column.
        DamagedFile: A record is malformed (when it is read).
    """

    _blank_lines = True  # a record has several lines

    suffixes = (".fasta", ".fa", ".fna", ".ffn", ".faa")

    def __init__(
        self,
        paths: Paths,
        *,
        columns: Sequence[str] | None = None,
        on_error: OnError = "raise",
        name: str | None = None,
    ) -> None:
        require("Bio.SeqIO.FastaIO", extra="fasta", purpose="FastaSource")
        super().__init__(
            paths,
            columns=columns,
            on_error=on_error,
            name=name,
        )
        check_columns(self.columns or [], _NAMES, repr(self), "columns=")

    def _split(self) -> Split:
        return fasta_ends

    def _settle(self) -> ArrowSchema:
        return pa.schema([(name, pa.large_string()) for name in self.columns or _NAMES])

    def _parse(self, data: bytes, head: Any, schema: ArrowSchema) -> ArrowTable:
        if not data.startswith(b">"):
            raise ValueError("a record begins with a line that begins with '>'")
        fasta = require("Bio.SeqIO.FastaIO", extra="fasta", purpose="FastaSource")
        titles: list[str] = []
        sequences: list[str] = []
        for title, sequence in fasta.SimpleFastaParser(io.StringIO(data.decode())):
            titles.append(title)
            sequences.append(sequence)
        words = [title.split(None, 1) for title in titles]
        cells = {
            "id": [each[0] if each else "" for each in words],
            "description": [each[1] if len(each) > 1 else "" for each in words],
            "sequence": sequences,
        }
        return pa.table({name: cells[name] for name in schema.names}, schema=schema)
