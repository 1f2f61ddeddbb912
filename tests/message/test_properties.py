"""Any sequence of operations on a Message agrees with the same on a list of rows."""

from __future__ import annotations

import copy
import subprocess
import sys
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fireworks import Message, concat
from fireworks.errors import FireworksError

Row = tuple[int, float, str | None, tuple[int, ...]]

ROWS = st.lists(
    st.tuples(
        st.integers(-3, 3),
        st.floats(width=32, allow_nan=False),
        st.none() | st.text(max_size=3),
        st.lists(st.integers(0, 9), max_size=3).map(tuple),
    ),
    max_size=8,
)
NUMBERS = st.lists(st.integers(-9, 9), max_size=6)
OPERATIONS = st.lists(
    st.one_of(
        st.tuples(st.just("take"), NUMBERS),
        st.tuples(st.just("slice"), st.tuples(*[st.none() | st.integers(-9, 9)] * 3)),
        st.tuples(st.just("mask"), st.integers(-3, 3)),
        st.tuples(st.just("append"), ROWS),
        st.tuples(st.just("assign"), st.tuples(NUMBERS, ROWS)),
        st.tuples(st.just("delete"), NUMBERS),
        st.tuples(st.just("sort"), st.booleans()),
        st.tuples(st.just("copy"), st.booleans()),
    ),
    max_size=8,
)


def message_of(rows: list[Row]) -> Message:
    return Message(
        {
            "t": torch.tensor([[row[0], -row[0]] for row in rows]).reshape(-1, 2),
            "i": np.array([row[0] for row in rows], np.int64),
            "f": np.array([row[1] for row in rows], np.float32),
            "s": Message({"s": ["", *(row[2] for row in rows)]})["s"][1:],
            "r": Message({"r": [[0], *(list(row[3]) for row in rows)]})[1:]["r"].to_numpy(),
        }
    )


def rows_of(message: Message) -> list[Row]:
    assert torch.equal(message["t"][:, 0], torch.from_numpy(message.array("i").copy()))
    strings = message.array("s").to_pylist()
    cells = [tuple(cell.tolist()) for cell in message["r"]]
    return list(zip(message["i"].tolist(), message["f"].tolist(), strings, cells, strict=True))


@settings(max_examples=150, deadline=None)
@given(ROWS.filter(bool), OPERATIONS)
def test_any_operations(rows: list[Row], operations: list[tuple[str, Any]]) -> None:
    message = message_of(rows)
    for name, given_ in operations:
        before, model = rows_of(message), list(rows)
        untouched = message[:]
        try:
            changed = apply(name, given_, message, rows)
        except FireworksError:
            assert rows_of(message) == before
            rows = model
            continue
        assert rows_of(untouched) == before
        message, rows = changed
        assert rows_of(message) == rows
        assert len(message) == len(rows)


def apply(name: str, given: Any, message: Message, rows: list[Row]) -> tuple[Message, list[Row]]:
    if name == "take":
        return message[given], [rows[each] for each in given]
    if name == "slice":
        span = slice(given[0], given[1], given[2] or None)
        return message[span], rows[span]
    if name == "mask":
        return message[message["t"][:, 0] > given], [row for row in rows if row[0] > given]
    if name == "append":
        return message.append(message_of(given)), rows + given
    if name == "assign":
        numbers, new = given
        numbers = numbers[: len(new)]
        message[numbers] = message_of(new[: len(numbers)])
        rows = list(rows)
        for each, row in zip(numbers, new, strict=False):
            rows[each] = row
        return message, rows
    if name == "delete":
        del message[given]
        gone = {range(len(rows))[each] for each in given}
        return message, [row for k, row in enumerate(rows) if k not in gone]
    if name == "sort":
        return message.sort("i", given), sorted(rows, key=lambda r: r[0] if given else -r[0])
    return (copy.deepcopy if given else copy.copy)(message), rows


@settings(max_examples=60, deadline=None)
@given(ROWS.filter(bool), st.lists(st.integers(0, 8), max_size=4))
def test_split_and_concat(rows: list[Row], cuts: list[int]) -> None:
    message = message_of(rows)
    bounds = [0, *sorted(cuts), len(rows) + 8]
    parts = [message[a:b] for a, b in pairwise(bounds)]
    assert concat(parts) == message


def test_the_import_starts_no_thread() -> None:
    """What a fork server preloads must not have threads, but for those of BLAS."""
    script = (
        "import fireworks.message, os\n"
        "tasks = os.listdir('/proc/self/task')\n"
        "names = [open(f'/proc/self/task/{task}/comm').read() for task in tasks]\n"
        "assert not any('jemalloc' in name for name in names), names"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
