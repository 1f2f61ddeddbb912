"""Record files that do not say what their columns are: it is inferred from the first records."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

from fireworks.errors import DamagedFile
from fireworks.sources import column_kinds, malformed
from fireworks.sources.column_kinds import ArrowSchema, ArrowTable
from fireworks.sources.record_files import RecordFileSource
from fireworks.sources.records import Block


class InferringSource(RecordFileSource):
    """Record files whose columns are found out from the first block. Abstract."""

    @abstractmethod
    def _infer(self, data: bytes, head: Any) -> ArrowTable:
        """Parse the first records with all their columns, the types of some declared."""

    def _settle(self) -> ArrowSchema:
        """Return the columns to read, from the first block of the files."""
        for file in self.files:
            for block in self._blocks_of(file):
                table = self._inferred(block)
                if table is not None:
                    names = table.column_names
                    column_kinds.check_columns(self.columns or [], names, file, "columns=")
                    column_kinds.check_columns(self._types, names, file, "types=")
                    return column_kinds.settled(table.select(self.columns or names), self._types)
        return self._settle_empty()

    def _settle_empty(self) -> ArrowSchema:
        """Return the columns to read where no file has a record."""
        raise DamagedFile(
            f"{self.files[0]}{' and the other files' if len(self.files) > 1 else ''}: no record, "
            "so the columns are not known."
        )

    def _inferred(self, block: Block) -> ArrowTable | None:
        """Parse the first block with all its columns; None where no record of it is any good."""
        block = block.without_blank_lines()
        _, _, head = self._head_of(block.file)
        good: set[int] = set(range(len(block.ends)))

        def convert(data: bytes, count: int) -> ArrowTable:
            data.decode(self.encoding)  # Arrow would take undecodable cells as bytes
            table = self._infer(self._as_utf8(data), head)
            malformed.check_count(table, count)
            return table

        def refuse(record: int, error: Exception) -> None:
            if self.on_error != "skip":
                reason = self._explained(block.part(record, record + 1), error)
                self._refuse(block.file, block.line_of(record), reason)
            good.discard(record)  # it is noted as skipped when it is read

        tables = malformed.sieve(block, convert, refuse)
        if len(tables) < 2:
            return tables[0] if tables else None
        whole = b"".join(block.part(record, record + 1) for record in sorted(good))
        try:
            return convert(whole, len(good))
        except malformed.BAD as error:
            raise DamagedFile(
                f"{block.file}, from line {block.line} on: {malformed.reason(error)}. The records "
                "contradict each other; declare the column's type with types=."
            ) from error
