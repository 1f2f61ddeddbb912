"""Lines of text files."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from fireworks.errors import WrongType
from fireworks.source import OnError
from fireworks.sources.column_kinds import ArrowSchema, ArrowTable
from fireworks.sources.file_listing import Paths
from fireworks.sources.record_files import RecordFileSource
from fireworks.sources.records import Split, line_ends


class LinesSource(RecordFileSource):
    r"""The lines of text files, one a row: a stream, and indexed once `prepare` has scanned them.

    The line's end (``\n`` or ``\r\n``) is left away; an empty line is a row.

    Args:
        paths: A file, a glob, a folder (its ``.txt`` and ``.text`` files), or a list of these. They
            may be compressed (``.gz``, ``.zst``, ``.bz2``); then they only stream.
        column: The name of the column.
        encoding: Of the text; one in which ASCII characters are single bytes.
        on_error: ``"raise"``, ``"skip"`` to leave lines out that cannot be decoded (see
            ``skipped``; the source then streams), or ``Retry(n)`` for file systems that fail now
            and then.
        name: Tells this source from others of its class.

    Raises:
        FilesNotFound: There is no such file.
        WrongValue: An unknown encoding.
        DamagedFile: A line cannot be decoded (when it is read).
    """

    _blank_lines = True

    suffixes = (".txt", ".text")

    def __init__(
        self,
        paths: Paths,
        *,
        column: str = "text",
        encoding: str = "utf-8",
        on_error: OnError = "raise",
        name: str | None = None,
    ) -> None:
        if not isinstance(column, str):
            raise WrongType(f"A column's name is a str, not {column!r}.")
        super().__init__(paths, encoding=encoding, on_error=on_error, name=name)
        self.column = column
        self._described["columns"] = [column]

    def _split(self) -> Split:
        return line_ends

    def _settle(self) -> ArrowSchema:
        return pa.schema([(self.column, pa.large_string())])

    def _parse(self, data: bytes, head: Any, schema: ArrowSchema) -> ArrowTable:
        if b"\r" in data:
            data = data.replace(b"\r\n", b"\n")
        text = pa.array([data.removesuffix(b"\n").decode()], pa.large_string())
        lines = pc.call_function("split_pattern", [text], pc.SplitPatternOptions("\n")).flatten()
        return pa.Table.from_arrays([lines], schema=schema)
