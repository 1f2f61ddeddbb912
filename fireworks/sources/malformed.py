"""Malformed records, found one by one in a block that cannot be converted as a whole."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TypeVar

import pyarrow as pa

from fireworks.sources.column_kinds import ArrowTable
from fireworks.sources.records import Block

T = TypeVar("T")

BAD = (pa.ArrowException, ValueError)
"""What converting malformed records raises; a text that cannot be decoded among it."""

_PREFIX = re.compile(
    r"^(CSV parse error: |JSON parse error: )?(In CSV column #\d+: )?(Row #\d+: )?"
    r"(CSV conversion error to )?"
)


def sieve(
    block: Block, convert: Callable[[bytes, int], T], refuse: Callable[[int, Exception], None]
) -> list[T]:
    """Convert the records of a block, those left out that cannot be converted.

    Args:
        block: The records.
        convert: Converts some of them, given as bytes and their number.
        refuse: Called with the number of each malformed record, in order, and what is wrong.
    """
    parts: list[T] = []

    def search(first: int, last: int) -> None:
        if first == last:
            return
        try:
            parts.append(convert(block.part(first, last), last - first))
        except BAD as error:
            if last - first == 1:
                refuse(first, error)
                return
            middle = (first + last) // 2
            search(first, middle)
            search(middle, last)

    search(0, len(block.ends))
    return parts


def check_count(table: ArrowTable, count: int) -> None:
    """Refuse records that are not a row each.

    Raises:
        ValueError: There are more or fewer rows than records.
    """
    if table.num_rows != count:
        raise ValueError(
            "one record gives several rows or none (does a carriage return stand alone?)"
        )


def reason(error: Exception) -> str:
    """Return what is wrong with one record, in one line, without Arrow's counting of rows."""
    if isinstance(error, UnicodeDecodeError):
        return (
            f"the text is not {error.encoding} (byte {error.object[error.start]:#04x}); pass the "
            'encoding it has, for example encoding="latin-1"'
        )
    line = (str(error).splitlines() or [type(error).__name__])[0]
    return _PREFIX.sub("", line)
