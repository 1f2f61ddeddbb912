"""One small example of every source of memory, columns and text, for the conformance suite."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import torch
from sklearn.preprocessing import StandardScaler

from fireworks import Message, Source
from fireworks.sources import (
    BatchingSource,
    DeviceSource,
    EmbeddingSource,
    FrameSource,
    FunctionSource,
    IterableSource,
    LabelerSource,
    LabelSource,
    MapSource,
    MessageSource,
    OneHotSource,
    PadSource,
    ShufflerSource,
    SklearnSource,
    TensorSource,
    TokenizerSource,
)

WORDS = ["a", "cat", "sat", "on", "a", "mat", "and", "a", "dog", "ran", "off", "to", "sea"]


def table(num_rows: int = 23) -> MessageSource:
    """Rows with numbers, names, texts and lists of several lengths."""
    numbers = np.arange(num_rows)
    return MessageSource(
        {
            "i": numbers,
            "x": torch.as_tensor(numbers).float()[:, None] ** torch.arange(3),
            "animal": [("cat", "dog", "eel")[i % 3] for i in numbers],
            "text": [" ".join(WORDS[i % 9 : i % 9 + i % 5]) for i in numbers],
            "list": [list(range(i % 4)) for i in numbers],
        }
    )


def shuffled() -> Source:
    return table() >> ShufflerSource(1)


def chunks() -> Source:
    return IterableSource(some_messages)


def some_messages():
    message = table().message
    return (message[start : start + 4] for start in range(0, len(message), 4))


def squares(rows: np.ndarray) -> dict[str, object]:
    return {"i": rows, "square": torch.from_numpy(rows**2)}


def doubled(message: Message) -> Message:
    message["x"] = message["x"] * 2
    return message


def noisy(message, generators):
    message["x"] = message["x"] + generators.normal(size=3, dtype=torch.float32)
    message["drawn"] = generators.integers(10)
    return message


def letters(text: str) -> list[str]:
    return list(text)


def records() -> list[dict[str, object]]:
    return [{"i": i, "name": str(i)} for i in range(23)]


INDEXED: dict[str, Callable[[], Source]] = {
    "FrameSource": lambda: FrameSource(pd.DataFrame({"i": range(9), "s": list("abcdefghi")})),
    "FunctionSource": lambda: FunctionSource(squares, 23),
    "MapSource": lambda: shuffled() >> MapSource(doubled),
    "MapSource/seed": lambda: shuffled() >> MapSource(noisy, seed=1) >> BatchingSource(5),
    "MapSource/unshuffled": lambda: table() >> MapSource(noisy, seed=1),
    "LabelerSource": lambda: shuffled() >> LabelerSource("animal"),
    "LabelSource": lambda: LabelSource(
        inputs={"few": table(5) >> ShufflerSource(1), "none": table(0), "more": table(4)}
    ),
    "TensorSource": lambda: shuffled() >> TensorSource("i", dtype=torch.float32),
    "OneHotSource": lambda: shuffled() >> OneHotSource(["animal", "i"]),
    "SklearnSource": lambda: shuffled() >> SklearnSource(StandardScaler(), ["i", "x"]),
    "SklearnSource/tensor": lambda: shuffled() >> SklearnSource(StandardScaler(), "x", output="x"),
    "TokenizerSource": lambda: shuffled() >> TokenizerSource("text", begin="<bos>"),
    "EmbeddingSource": lambda: shuffled() >> EmbeddingSource(torch.arange(46.0).view(23, 2), "i"),
    "PadSource": lambda: shuffled() >> PadSource("list", max_length=2) >> BatchingSource(4),
    "DeviceSource": lambda: shuffled() >> DeviceSource("cpu"),
}

STREAMED: dict[str, Callable[[], Source]] = {
    "IterableSource": lambda: IterableSource(records(), chunk_rows=4),
    "IterableSource/function": lambda: IterableSource(records, chunk_rows=4),
    "IterableSource/messages": lambda: chunks() >> BatchingSource(5),
    "MapSource": lambda: chunks() >> MapSource(noisy, seed=1) >> BatchingSource(5),
    "LabelerSource": lambda: chunks() >> LabelerSource("animal") >> BatchingSource(5),
    "LabelSource": lambda: (
        LabelSource(inputs={"a": chunks(), "b": shuffled(), "c": chunks()}) >> BatchingSource(7)
    ),
    "SklearnSource": lambda: chunks() >> SklearnSource(StandardScaler(), ["i"]),
    "TokenizerSource": lambda: (
        chunks() >> TokenizerSource("text", by=letters) >> BatchingSource(3) >> PadSource("text")
    ),
}
