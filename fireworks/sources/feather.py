"""Rows of Feather files (Arrow IPC)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pyarrow as pa

from fireworks.sources import column_kinds
from fireworks.sources.arrow_footer import batch_counts, first_nodes, node_count
from fireworks.sources.column_kinds import ArrowTable
from fireworks.sources.file_listing import DataFile
from fireworks.sources.row_groups import Footer, GroupedFileSource


class FeatherSource(GroupedFileSource):
    """The rows of Feather files, indexed; also of what `Message.save` writes.

    A record batch is read at a time. Announced rows (see `Source.will_need`) are fetched together,
    as by `ParquetSource`; columns come in the same kinds from every batch, and dictionaries as
    their values.

    Args:
        paths: A file, a glob, a folder (its ``.feather``, ``.arrow`` and ``.ipc`` files), or a
            list of these.
        columns: The columns to read, in this order; all by default. The others are not decoded.
        types: Types to convert columns to: ``{"age": "Int64", "x": "float32"}``.
        max_bytes: Bytes of decoded batches and announced rows to hold at the most, beside the
            batches (two at the most) that are being decoded.
        on_error: ``"raise"``, ``"skip"`` to leave damaged batches out (the source then streams),
            or ``Retry(n)`` for file systems that fail now and then.
        name: Tells this source from others of its class.

    Raises:
        FilesNotFound: There is no such file.
        ColumnNotFound: A column is not there (when the source is first used).
        SchemasDiffer: The files' columns do not agree (when the source is first used).
        DamagedFile: A file is empty, truncated or corrupt (when it is first used).
    """

    suffixes = (".feather", ".arrow", ".ipc")

    def _footer(self, file: DataFile, asked: Sequence[str] | None) -> Footer:
        with open(file.path, "rb") as opened:
            counts = batch_counts(opened)
        with pa.OSFile(file.path) as opened, pa.ipc.open_file(opened) as reader:
            schema = reader.schema
        gaps: dict[str, bool] = {}
        for field, first in zip(schema, first_nodes(schema), strict=True):
            if column_kinds.depends_on_nulls(field.type) and (asked is None or field.name in asked):
                nodes = slice(first, first + node_count(field.type))
                gaps[field.name] = any(nulls[nodes].any() for _, nulls in counts)
        return Footer(schema, [rows for rows, _ in counts], gaps)

    def _tables(self, file: DataFile, group: int, names: list[str]) -> Iterator[ArrowTable]:
        # Read, not mapped: a mapped file that is truncated meanwhile would kill the process.
        with pa.OSFile(file.path) as opened:
            with pa.ipc.open_file(opened) as reader:
                places = [reader.schema.get_field_index(name) for name in names]
            options = pa.ipc.IpcReadOptions(included_fields=places)
            with pa.ipc.open_file(opened, options=options) as reader:
                yield pa.Table.from_batches([reader.get_batch(group)])
