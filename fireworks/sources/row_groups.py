"""Files whose rows lie in groups that are decoded whole: the base of Parquet and Feather."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from fireworks.errors import DamagedFile, FileChanged, FireworksError, SchemasDiffer, WrongValue
from fireworks.message import Message, concat
from fireworks.source import OnError, Rows, Source
from fireworks.source.failures import check_on_error
from fireworks.sources import column_kinds, file_listing
from fireworks.sources.column_kinds import ArrowField, ArrowSchema, ArrowTable, Types
from fireworks.sources.file_listing import DataFile, Paths
from fireworks.sources.gathering import Gathering
from fireworks.sources.group_cache import GroupCache
from fireworks.sources.row_plan import RowPlan, Visit

_FOOTERS_AT_ONCE = 8
"""On disks far away a footer is a wait, not work."""


@dataclass(frozen=True)
class Footer:
    """What a file says of itself, without its rows.

    Attributes:
        schema: Its columns.
        group_rows: How many rows each of its groups has.
        gaps: For each column asked about, whether values are missing.
    """

    schema: ArrowSchema
    group_rows: Sequence[int]
    gaps: Mapping[str, bool]


@dataclass(frozen=True)
class _Layout:
    schema: pa.Schema  # settled: the columns that are read
    file_of: NDArray[np.int64]
    group_in_file: NDArray[np.int64]
    first_row: NDArray[np.int64]  # of each group, and behind the last

    def group_of(self, rows: Rows) -> NDArray[np.int64]:
        return np.searchsorted(self.first_row, rows, side="right") - 1


class GroupedFileSource(Source):
    """Rows of files that are made of row groups. Abstract.

    Args:
        paths: A file, a glob, a folder, or a list of these.
        columns: The columns to read; all by default. The others are not decoded.
        types: Types to convert columns to, by column.
        max_bytes: Bytes of decoded groups and announced rows to hold, beside two groups.
        on_error: What to do about a damaged group.
        name: Tells this source from others of its class.

    Attributes:
        suffixes: What the names of the files in a folder end in.
    """

    needs_inputs = False
    handles_errors = True
    suffixes: ClassVar[Sequence[str]] = ()

    def __init__(
        self,
        paths: Paths,
        *,
        columns: Sequence[str] | None = None,
        types: Types | None = None,
        max_bytes: int = 512 * 2**20,
        on_error: OnError = "raise",
        name: str | None = None,
    ) -> None:
        super().__init__(name=name)
        if max_bytes < 0:
            raise WrongValue(f"max_bytes is a number of bytes from 0; it is {max_bytes!r}.")
        self.columns = column_kinds.selected(columns)
        self.on_error: OnError = check_on_error(on_error)
        self.max_bytes = int(max_bytes)
        self._types = column_kinds.declared(types)
        self.files = file_listing.find_files(paths, self.suffixes)
        self._described = {
            **file_listing.described(self.files),
            "columns": self.columns,
            "types": {key: str(field) for key, field in self._types.items()},
        }
        self._layout_: _Layout | None = None
        self._row_bytes: float | None = None
        self._hold_nothing()

    # -- what a format implements -----------------------------------------------------------------

    @abstractmethod
    def _footer(self, file: DataFile, asked: Sequence[str] | None) -> Footer:
        """Read what a file says of itself.

        Args:
            file: The file.
            asked: The columns about whose missing values to tell; None for all.
        """

    @abstractmethod
    def _tables(self, file: DataFile, group: int, names: list[str]) -> Iterator[ArrowTable]:
        """Decode columns of one group of a file, some rows at a time where the format allows."""

    # -- what a source is -------------------------------------------------------------------------

    @property
    def indexed(self) -> bool:
        """Whether rows can be read by index: unless damaged groups are skipped."""
        return self.on_error != "skip"

    @property
    def num_rows(self) -> int:
        """Rows of all files together."""
        return int(self._layout.first_row[-1])

    def describe(self) -> dict[str, Any]:
        """Return names and sizes of the files, and how they are read."""
        return self._described

    def prepare(self) -> None:
        """Read the footers of all files and settle the columns."""
        _ = self._layout

    def read(self, rows: Rows) -> Message:
        """Return the rows asked for; each row group they lie in is decoded at the most once.

        Raises:
            DamagedFile: A row group cannot be decoded; file and row group are named.
            FileChanged: A file was written to, or has vanished, since the source was made.
        """
        return self._plan.read(rows, self._rows_at_once())

    def stream(self, start: Any = None) -> Iterator[tuple[Message, Any]]:
        """Yield the rows group by group; the position counts groups."""
        layout = self._layout
        for group in range(start or 0, len(layout.file_of)):
            try:
                yield self._decoded(group), group + 1
            except DamagedFile as error:
                if self.on_error != "skip":
                    raise
                where, _, reason = str(error).partition(": ")
                self._skip(where, reason)

    # -- hints ------------------------------------------------------------------------------------

    def expect(self, rows: Rows, deadline: float | None) -> Rows:
        """Note rows that will be asked for, to decode each of their groups once for them all."""
        if at_once := self._rows_at_once():
            self._plan.announce(np.asarray(rows) % self.num_rows, 4 * at_once)
        return rows[:0]

    def release(self, rows: Rows) -> None:
        """Forget announced rows."""
        if len(rows) and self.num_rows:
            self._plan.release(np.asarray(rows) % self.num_rows)

    def lookahead(self) -> int:
        """Return how many announced rows can be used: twice what is fetched at once."""
        return 2 * self._rows_at_once()

    @property
    def reads_together(self) -> bool:
        """Whether groups are decoded for many announced rows at once: unless all rows fit."""
        return self._rows_at_once() > 0

    def _rows_at_once(self) -> int:
        """Return how many announced rows fit into memory; 0 where all rows fit, or none are."""
        if not self.indexed or not self.num_rows:
            return 0
        if self._row_bytes is None:
            first = self._cache.get(0)
            self._row_bytes = max(1.0, first.nbytes / max(1, len(first)))
            if self._row_bytes * self.num_rows > self.max_bytes:
                self._cache.resize(self.max_bytes // 16)
        if self._row_bytes * self.num_rows <= self.max_bytes:
            return 0
        return int(self.max_bytes * 15 // 16 / self._row_bytes)

    # -- groups -----------------------------------------------------------------------------------

    def _visit(self, group: int, visit: Visit) -> None:
        """Give the rows of a group to a function, some at a time; from memory if they are held."""
        held = self._cache.peek(group)
        if held is None:
            self._decode(group, visit)
        else:
            visit(held, int(self._layout.first_row[group]))

    def _direct(self, rows: Rows) -> Message:
        layout = self._layout
        if not len(rows):
            return column_kinds.as_message(layout.schema.empty_table(), layout.schema)
        groups = layout.group_of(rows)
        order = np.argsort(groups, kind="stable")
        gathered = Gathering(len(rows))
        for part in np.split(order, np.flatnonzero(np.diff(groups[order])) + 1):
            group = int(groups[part[0]])
            gathered.put(self._cache.get(group), rows[part] - layout.first_row[group], part)
        return gathered.message()

    def _decoded(self, group: int) -> Message:
        parts: list[Message] = []
        self._decode(group, lambda message, _: parts.append(message))
        return concat(parts)

    def _decode(self, group: int, visit: Visit) -> None:
        layout = self._layout
        file = self.files[layout.file_of[group]]
        inside = int(layout.group_in_file[group])
        first, stop = layout.first_row[group : group + 2].tolist()
        row = first

        def decode() -> None:
            nonlocal row
            file.check()
            behind = first
            for table in self._tables(file, inside, layout.schema.names):
                if behind >= row:  # another try goes on where the last one failed
                    visit(column_kinds.as_message(table, layout.schema), behind)
                    row = behind + table.num_rows
                behind += table.num_rows
            file.check()
            if behind != stop:
                rows = f"it has {behind - first} rows where its footer says {stop - first}"
                raise ValueError(rows)

        try:
            file_listing.retried(self.on_error, decode)
        except FileChanged:
            raise
        except (pa.ArrowException, OSError, ValueError) as error:
            if file_listing.is_of_the_system(error):
                raise
            file.check()
            raise DamagedFile(
                f"{file}, row group {inside}: {_first_line(error)}. Write the file anew, or leave "
                'such groups out with on_error="skip".'
            ) from error

    # -- layout -----------------------------------------------------------------------------------

    @property
    def _layout(self) -> _Layout:
        layout = self._layout_
        if layout is None:
            with self._lock:
                if self._layout_ is None:
                    self._layout_ = self._laid_out()
                layout = self._layout_
        return layout

    def _laid_out(self) -> _Layout:
        merged: _MergedSchema | None = None
        file_of: list[int] = []
        group_in_file: list[int] = []
        group_rows: list[int] = []
        for number, (file, footer) in enumerate(zip(self.files, self._footers_read(), strict=True)):
            if footer is None:
                continue
            if merged is None:
                merged = _MergedSchema(file, footer, self.columns, self._types)
            else:
                merged.add(file, footer)
            filled = [each for each in range(len(footer.group_rows)) if footer.group_rows[each]]
            file_of.extend([number] * len(filled))
            group_in_file.extend(filled)
            group_rows.extend(footer.group_rows[each] for each in filled)
        if merged is None:
            raise DamagedFile(f"None of the {len(self.files)} files can be read; see skipped.")
        first_row = np.zeros(len(group_rows) + 1, np.int64)
        np.cumsum(group_rows, out=first_row[1:])
        return _Layout(
            merged.settled(), np.array(file_of, int), np.array(group_in_file, int), first_row
        )

    def _footers_read(self) -> Iterator[Footer | None]:
        """Yield the footer of each file, None for one left out; several are read at once."""

        def footer_of(file: DataFile) -> Footer | str:
            try:
                return self._read_footer(file)
            except DamagedFile as error:
                if self.on_error != "skip":
                    raise
                return str(error).partition(": ")[2]

        with ThreadPoolExecutor(_FOOTERS_AT_ONCE, thread_name_prefix="footers") as pool:
            for file, footer in zip(self.files, pool.map(footer_of, self.files), strict=True):
                if isinstance(footer, str):
                    self._skip(str(file), footer)
                yield None if isinstance(footer, str) else footer

    def _read_footer(self, file: DataFile) -> Footer:
        def read() -> Footer:
            file.check()
            if not file.size:
                raise ValueError("the file is empty (0 bytes)")
            return self._footer(file, self.columns)

        try:
            return file_listing.retried(self.on_error, read)
        except (pa.ArrowException, OSError, ValueError) as error:
            if isinstance(error, FireworksError) or file_listing.is_of_the_system(error):
                raise
            file.check()
            raise DamagedFile(
                f"{file}: {_first_line(error)}. It may be truncated, or of another format."
            ) from error

    # -- being an object --------------------------------------------------------------------------

    def _hold_nothing(self) -> None:
        self._cache = GroupCache(self._decoded, self.max_bytes)
        self._plan = RowPlan(self._group_of, self._visit, self._direct)

    def _group_of(self, rows: Rows) -> NDArray[np.int64]:
        return self._layout.group_of(rows)

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_cache": None, "_plan": None, "_row_bytes": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._hold_nothing()


class _MergedSchema:
    """The columns of several files, which must agree."""

    def __init__(
        self,
        file: DataFile,
        footer: Footer,
        columns: list[str] | None,
        types: Mapping[str, ArrowField],
    ) -> None:
        known = footer.schema.names
        column_kinds.check_columns(columns or [], known, file, "columns=")
        column_kinds.check_columns(types, known, file, "types=")
        self._file = file
        self._known = known
        self._types = types
        self._names = columns or known
        twice = next((name for name in self._names if known.count(name) > 1), None)
        if twice is not None:
            raise DamagedFile(f"{file}: it has two columns named {twice!r}.")
        self._kinds = {
            name: (column_kinds.plain(footer.schema.field(name).type), file) for name in self._names
        }
        self._gaps = {name: footer.gaps.get(name, False) for name in self._names}

    def add(self, file: DataFile, footer: Footer) -> None:
        """Take another file in.

        Raises:
            SchemasDiffer: Its columns are others; both files and the column are named.
        """
        here = footer.schema
        for name in self._known:
            if name not in here.names and name in self._kinds:
                raise SchemasDiffer(
                    f"{file} has no column {name!r}, which {self._file} has. Read files of one "
                    "schema, or choose the columns they share with columns=."
                )
        for name in here.names:
            if name not in self._known and self._names == self._known:
                raise SchemasDiffer(
                    f"{file} has a column {name!r}, which {self._file} lacks. Read files of one "
                    "schema, or choose the columns they share with columns=."
                )
        for name, (kind, where) in self._kinds.items():
            other = column_kinds.plain(here.field(name).type)
            if pa.types.is_null(kind):
                self._kinds[name] = (other, file)
                self._gaps[name] = True
            elif pa.types.is_null(other):
                self._gaps[name] = True
            elif other != kind and name not in self._types:
                raise SchemasDiffer(
                    f"Column {name!r} is {kind} in {where} and {other} in {file}. Convert it with "
                    f'types={{"{name}": …}}, or leave it out with columns=.'
                )
            self._gaps[name] |= footer.gaps.get(name, False)

    def settled(self) -> ArrowSchema:
        """Return the columns to read, with their types and whether values are missing."""
        return pa.schema(
            [
                self._types.get(name) or pa.field(name, kind, nullable=self._gaps[name])
                for name, (kind, _) in self._kinds.items()
            ]
        )


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
