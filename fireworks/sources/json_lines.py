"""Rows of JSON lines."""

from __future__ import annotations

import json as standard_json
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.json as json

from fireworks.sources.column_kinds import ArrowSchema, ArrowTable
from fireworks.sources.inferred_columns import InferringSource
from fireworks.sources.records import Split, line_ends

_WORTH_THREADS = 2**18


class JSONLinesSource(InferringSource):
    """The rows of JSON lines files: a stream, and indexed once `prepare` has scanned them.

    Each line is an object, whose keys are the columns; empty lines are no rows. The types that are
    not declared are inferred from the first block (1 MiB) and hold for all files. A key that a line
    lacks is a missing value; one that the first block lacks is an error unless it is declared or
    ``columns`` leaves it out. Lists of numbers become ragged columns, other lists and objects stay
    Python objects.

    Args:
        paths: A file, a glob, a folder (its ``.jsonl`` and ``.ndjson`` files), or a list of these.
            They may be compressed (``.gz``, ``.zst``, ``.bz2``); then they only stream.
        columns: The columns to read, in this order; all by default. The others are not converted.
        types: Types of columns: ``{"age": "Int64", "x": "float32"}``.
        encoding: Of the text; one in which ASCII characters are single bytes.
        on_error: ``"raise"``, ``"skip"`` to leave malformed lines out (see ``skipped``; the source
            then streams), or ``Retry(n)`` for file systems that fail now and then.
        name: Tells this source from others of its class.

    Raises:
        FilesNotFound: There is no such file.
        WrongValue: An unknown encoding, a type that is none.
        ColumnNotFound: A column is not there (when the source is first used).
        DamagedFile: A line is malformed (when it is read).
    """

    suffixes = (".jsonl", ".ndjson")

    def _split(self) -> Split:
        return line_ends

    def _infer(self, data: bytes, head: Any) -> ArrowTable:
        declared = pa.schema([pa.field(field.name, field.type) for field in self._types.values()])
        return _table(data, json.ParseOptions(explicit_schema=declared))

    def _parse(self, data: bytes, head: Any, schema: ArrowSchema) -> ArrowTable:
        open_schema = pa.schema([pa.field(field.name, field.type) for field in schema])
        others = "error" if self.columns is None else "ignore"
        options = json.ParseOptions(explicit_schema=open_schema, unexpected_field_behavior=others)
        return _table(data, options)

    def _settle_empty(self) -> ArrowSchema:
        if not self._types:
            return super()._settle_empty()
        return pa.schema([self._types[name] for name in self.columns or self._types])

    def _explained(self, record: bytes, error: Exception) -> str:
        """Return what is wrong with a line; Python's parser tells it better than Arrow's."""
        try:
            found = standard_json.loads(record.decode(self.encoding))
        except UnicodeDecodeError:
            return super()._explained(record, error)
        except ValueError as problem:
            return f"it is no JSON: {problem}"
        if not isinstance(found, dict):
            return f"it is a {type(found).__name__}, not an object with a key for each column"
        schema = self._settled
        if schema is not None and self.columns is None:
            for key in found:
                if key not in schema.names:
                    return (
                        f"the key {key!r} is not among those of the first block of "
                        f"{self.files[0]}; declare it with types=, or choose columns="
                    )
        return super()._explained(record, error)


def _table(data: bytes, options: Any) -> ArrowTable:
    _check_objects(data)
    read = json.ReadOptions(use_threads=len(data) > _WORTH_THREADS, block_size=len(data) + 1)
    try:
        table = json.read_json(pa.BufferReader(data), read, options)
        table.validate(full=True)  # the parser takes any bytes as text
        return table
    except pa.ArrowException as error:
        raise ValueError(str(error)) from error


def _check_objects(data: bytes) -> None:
    """Refuse lines that are no objects, before Arrow sees them.

    It takes two objects in a line as two rows, and a line that says null ends the process (pyarrow
    26).
    """
    text = np.frombuffer(data, np.uint8)
    newlines = np.flatnonzero(text == 10)
    starts = np.append(0, newlines + 1)
    ends = np.append(newlines, len(text))
    keep = ends > starts
    starts, ends = starts[keep], ends[keep]
    plain = (text[starts] == ord("{")) & (text[ends - 1] == ord("}"))
    for i in np.flatnonzero(~plain).tolist():
        line = data[starts[i] : ends[i]].strip()
        if line and not (line.startswith(b"{") and line.endswith(b"}")):
            raise ValueError("it is no JSON object")
