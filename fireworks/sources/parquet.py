"""Rows of Parquet files."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any

import pyarrow as pa
import pyarrow.parquet as parquet

from fireworks.sources import column_kinds
from fireworks.sources.column_kinds import ArrowField, ArrowTable, ArrowType
from fireworks.sources.file_listing import DataFile
from fireworks.sources.row_groups import Footer, GroupedFileSource

_FOOTERS_KEPT = 16
_ROWS_DECODED = 8_192


class ParquetSource(GroupedFileSource):
    """The rows of Parquet files, indexed.

    A row group is decoded at a time. Announced rows (see `Source.will_need`) are fetched together,
    so that a shuffled epoch decodes each row group once in as many rows as fit into ``max_bytes``,
    not once a batch.

    Columns come in the same kinds from every group: whole numbers of which some are missing are
    nullable throughout, and dictionaries come as their values.

    Args:
        paths: A file, a glob, a folder (its ``.parquet`` and ``.pq`` files), or a list of these.
        columns: The columns to read, in this order; all by default. The others are not decoded.
        types: Types to convert columns to: ``{"age": "Int64", "x": "float32"}``.
        max_bytes: Bytes of decoded row groups and announced rows to hold at the most, beside the
            groups (two at the most) that are being decoded.
        on_error: ``"raise"``, ``"skip"`` to leave damaged row groups out (the source then streams),
            or ``Retry(n)`` for file systems that fail now and then.
        name: Tells this source from others of its class.

    Raises:
        FilesNotFound: There is no such file.
        ColumnNotFound: A column is not there (when the source is first used).
        SchemasDiffer: The files' columns do not agree (when the source is first used).
        DamagedFile: A file is empty, truncated or corrupt (when it is first used).
    """

    suffixes = (".parquet", ".pq")

    def _footer(self, file: DataFile, asked: Sequence[str] | None) -> Footer:
        with parquet.ParquetFile(file.path) as opened:
            metadata, schema = opened.metadata, opened.schema_arrow
            self._footers[file.path] = metadata
            while len(self._footers) > _FOOTERS_KEPT:
                self._footers.popitem(last=False)
            groups = [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)]
            gaps: dict[str, bool] = {}
            leaf = 0
            for field in schema:
                if (asked is None or field.name in asked) and field.name not in self._types:
                    gaps[field.name] = _has_gaps(opened, field, leaf)
                leaf += _leaves(field.type)
        return Footer(schema, groups, gaps)

    def _tables(self, file: DataFile, group: int, names: list[str]) -> Iterator[ArrowTable]:
        with parquet.ParquetFile(
            file.path,
            metadata=self._footers.get(file.path),
            page_checksum_verification=True,
        ) as opened:
            # As fast as decoding the group at once, in half the memory.
            for batch in opened.iter_batches(_ROWS_DECODED, row_groups=[group], columns=names):
                yield pa.Table.from_batches([batch])

    @cached_property
    def _footers(self) -> OrderedDict[str, Any]:
        """The footers read last, so that a group can be read without reading one again."""
        return OrderedDict()

    def __getstate__(self) -> dict[str, Any]:
        state = super().__getstate__()
        state.pop("_footers", None)
        return state


def _has_gaps(opened: parquet.ParquetFile, field: ArrowField, leaf: int) -> bool:
    """Whether a column, whose first leaf is ``leaf``, lacks values somewhere in the file.

    The footer's statistics say it of plain columns. They may be missing, and those of lists count
    empty lists too: then the column is read, up to the first group that lacks a value.
    """
    if not column_kinds.depends_on_nulls(field.type):
        return False
    metadata = opened.metadata
    if metadata.schema.column(leaf).max_definition_level == 0:
        return False
    doubtful: list[int] = []
    for group in range(metadata.num_row_groups):
        statistics = metadata.row_group(group).column(leaf).statistics
        count = statistics.null_count if statistics and statistics.has_null_count else None
        if count and not pa.types.is_nested(field.type):
            return True
        if count != 0:
            doubtful.append(group)
    return any(
        column_kinds.has_nulls(opened.read_row_group(group, columns=[field.name]).column(0))
        for group in doubtful
    )


def _leaves(kind: ArrowType) -> int:
    """Return how many Parquet columns hold a type."""
    if isinstance(kind, pa.BaseExtensionType):
        return _leaves(kind.storage_type)
    if isinstance(kind, pa.DictionaryType) or not kind.num_fields:
        return 1
    return sum(_leaves(kind.field(i).type) for i in range(kind.num_fields))
